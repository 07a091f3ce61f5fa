/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers such as "wire 3.2" are sections of ../wire-format.md. From top to bottom: checks, SHA-256,
 * the field of the code, line, frames, blocks and symbols, announcements, records, the order on air.
 */

#include "diode.h"

enum { VERSION = 0x10, DATA = 1, COMPACT = 2, MANIFEST = 3, HEARTBEAT = 4, RECORD = 5 };
enum { REPEAT = 0, ZFEC = 1, NUMBERS = 256 };
enum { COMPLETE = 0, VOID = 2 };

static void zero(uint8_t *bytes, uint16_t length) {
    while (length--) {
        *bytes++ = 0;
    }
}

static void put(uint8_t *out, uint64_t value, uint8_t length) {
    while (length--) {
        *out++ = (uint8_t)value;
        value >>= 8;
    }
}

static uint8_t *copied(uint8_t *out, const uint8_t *bytes, uint16_t length) {
    while (length--) {
        *out++ = *bytes++;
    }
    return out;
}

/* For cores without a divider: the compiler's library would take five times the room. */
static uint32_t divided(uint32_t value, uint32_t by, uint32_t *rest) {
    uint32_t quotient = 0;
    *rest = 0;
    for (uint8_t bit = 32; bit-- > 0;) {
        *rest = *rest << 1 | (value >> bit & 1u);
        quotient <<= 1;
        if (*rest >= by) {
            *rest -= by;
            quotient |= 1;
        }
    }
    return quotient;
}

/* Checks ------------------------------------------------------------------------------------------
 *
 * The reflected ones go by four bits at a time with 16 constants each, or bit by bit. */

uint16_t diode_crc16(uint16_t crc, const uint8_t *bytes, uint16_t length) {
    while (length--) {
        crc = (uint16_t)(crc ^ ((unsigned)*bytes++ << 8));
        for (uint8_t bit = 0; bit < 8; bit++) {
            crc = (uint16_t)(((unsigned)crc << 1) ^ ((crc & 0x8000u) ? 0x1021u : 0u));
        }
    }
    return crc;
}

#if DIODE_TABLES
static const uint32_t crc32c_of[16] = {
    0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
    0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
};
static const uint64_t crc64_of[16] = {
    0x0000000000000000, 0x7D9BA13851336649, 0xFB374270A266CC92, 0x86ACE348F355AADB,
    0x64B62BCAEBC387A1, 0x192D8AF2BAF0E1E8, 0x9F8169BA49A54B33, 0xE21AC88218962D7A,
    0xC96C5795D7870F42, 0xB4F7F6AD86B4690B, 0x325B15E575E1C3D0, 0x4FC0B4DD24D2A599,
    0xADDA7C5F3C4488E3, 0xD041DD676D77EEAA, 0x56ED3E2F9E224471, 0x2B769F17CF112238,
};
#endif

uint32_t diode_crc32c(uint32_t crc, const uint8_t *bytes, uint16_t length) {
    crc = ~crc;
    while (length--) {
        crc ^= *bytes++;
#if DIODE_TABLES
        crc = (crc >> 4) ^ crc32c_of[crc & 15u];
        crc = (crc >> 4) ^ crc32c_of[crc & 15u];
#else
        for (uint8_t bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1u) ? 0x82F63B78u : 0u);
        }
#endif
    }
    return ~crc;
}

uint64_t diode_crc64(uint64_t crc, const uint8_t *bytes, uint16_t length) {
    crc = ~crc;
    while (length--) {
        crc ^= *bytes++;
#if DIODE_TABLES
        crc = (crc >> 4) ^ crc64_of[crc & 15u];
        crc = (crc >> 4) ^ crc64_of[crc & 15u];
#else
        for (uint8_t bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1u) ? 0xC96C5795D7870F42u : 0u);
        }
#endif
    }
    return ~crc;
}

/* SHA-256 (FIPS 180-4) ----------------------------------------------------------------------------
 *
 * The message schedule is kept as a ring of 16 words: word t becomes word t + 16 in its place. */

struct sha256 {
    uint32_t state[8];
    uint8_t chunk[64];
    uint32_t length; /* bytes taken */
};

static const uint32_t round_constant[64] = {
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
};

static uint32_t turned(uint32_t x, unsigned n) {
    return (x >> n) | (x << (32u - n));
}

static void sha256_begin(struct sha256 *h) {
    static const uint32_t initial[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                        0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
    for (uint8_t i = 0; i < 8; i++) {
        h->state[i] = initial[i];
    }
    h->length = 0;
}

static void sha256_chunk(struct sha256 *h) {
    uint32_t w[16], v[8];
    for (uint8_t i = 0; i < 16; i++) {
        const uint8_t *b = h->chunk + 4 * i;
        w[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    }
    for (uint8_t i = 0; i < 8; i++) {
        v[i] = h->state[i];
    }
    for (uint8_t t = 0; t < 64; t++) {
        const uint32_t sum1 = turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25);
        const uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        const uint32_t one = v[7] + sum1 + choice + round_constant[t] + w[t & 15];
        const uint32_t sum0 = turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22);
        const uint32_t two = sum0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        for (uint8_t i = 7; i > 0; i--) {
            v[i] = v[i - 1];
        }
        v[4] += one;
        v[0] = one + two;
        const uint32_t a = w[(t + 1) & 15], b = w[(t + 14) & 15];
        w[t & 15] += (turned(a, 7) ^ turned(a, 18) ^ (a >> 3)) + w[(t + 9) & 15] +
                     (turned(b, 17) ^ turned(b, 19) ^ (b >> 10));
    }
    for (uint8_t i = 0; i < 8; i++) {
        h->state[i] += v[i];
    }
}

static void sha256_take(struct sha256 *h, uint8_t byte) {
    h->chunk[h->length++ & 63u] = byte;
    if ((h->length & 63u) == 0) {
        sha256_chunk(h);
    }
}

static void sha256_end(struct sha256 *h, uint8_t *digest) {
    const uint32_t length = h->length;
    sha256_take(h, 0x80);
    while ((h->length & 63u) != 56) {
        sha256_take(h, 0);
    }
    zero(h->chunk + 56, 3);
    h->chunk[59] = (uint8_t)(length >> 29);
    for (uint8_t i = 0; i < 4; i++) {
        h->chunk[60 + i] = (uint8_t)((length << 3) >> (24 - 8 * i));
    }
    sha256_chunk(h);
    for (uint8_t i = 0; i < 32; i++) {
        digest[i] = (uint8_t)(h->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

/* The field and the code (wire 4.2) ---------------------------------------------------------------
 *
 * Row i of V is the powers of a point, 0 or alpha^(i-1), so source symbols are the values of a
 * polynomial at points 0 … k-1 and any other symbol is its value at another point. Lagrange's formula
 * gives each coefficient alone, and no matrix is ever stored or inverted. */

#if DIODE_PARITY
static uint8_t doubled(uint8_t a) {
    return (uint8_t)(((unsigned)a << 1) ^ ((a & 0x80u) ? 0x11Du : 0u));
}

static uint8_t times(uint8_t a, uint8_t b) {
    uint8_t product = 0;
    for (; b; b >>= 1) {
        product = (uint8_t)(product ^ ((b & 1u) ? a : 0u));
        a = doubled(a);
    }
    return product;
}

static uint8_t inverse(uint8_t a) { /* a^254 */
    uint8_t power = 1;
    for (uint8_t i = 0; i < 7; i++) {
        a = times(a, a);
        power = times(power, a);
    }
    return power;
}

static uint8_t point(uint16_t i) {
    uint8_t x = i ? 1 : 0;
    for (; i > 1; i--) {
        x = doubled(x);
    }
    return x;
}

/* The share of source symbol `column` in symbol `row`, row >= k. */
static uint8_t coefficient(uint16_t k, uint16_t row, uint16_t column) {
    const uint8_t at = point(row), own = point(column);
    uint8_t above = 1, below = 1, other = 0;
    for (uint16_t j = 0; j < k; j++) {
        if (j != column) {
            above = times(above, at ^ other);
            below = times(below, own ^ other);
        }
        other = j ? doubled(other) : 1;
    }
    return times(above, inverse(below));
}

/* out += c * in, by halves of a byte. */
static void add_multiple(uint8_t *out, const uint8_t *in, uint16_t length, uint8_t c) {
    uint8_t low[16], high[16];
    for (uint8_t i = 0; i < 16; i++) {
        low[i] = times(c, i);
        high[i] = times(c, (uint8_t)(i << 4));
    }
    for (; length--; in++, out++) {
        *out = (uint8_t)(*out ^ low[*in & 15] ^ high[*in >> 4]);
    }
}
#endif

/* Line (wire 6.1) --------------------------------------------------------------------------------- */

void diode_cobs(diode_write *write, void *port, const uint8_t *frame, uint16_t length) {
    static const uint8_t delimiter = 0;
    uint16_t at = 0;
    bool more = true;
    while (more) {
        uint8_t run = 0;
        while (at + run < length && run < 254 && frame[at + run]) {
            run++;
        }
        const uint8_t code = (uint8_t)(run + 1);
        write(port, &code, 1);
        if (run) {
            write(port, frame + at, run);
        }
        at = (uint16_t)(at + run);
        more = at < length;
        if (more && run < 254) { /* the zero that the code byte stands for; behind it comes a group */
            at++;
        }
    }
    write(port, &delimiter, 1);
}

/* Frames (wire 3) --------------------------------------------------------------------------------- */

static uint8_t *payload(struct diode_sender *s) {
    return s->frame + DIODE_HEADER;
}

/* Close the frame that begins `skip` bytes into the buffer and send it. */
static void finish(struct diode_sender *s, uint16_t skip, uint16_t content) {
    uint8_t *frame = s->frame + skip;
    const uint16_t length = (uint16_t)(DIODE_HEADER - skip + content);
    put(frame + length, diode_crc32c(0, frame, length), 4);
    diode_cobs(s->write, s->port, frame, (uint16_t)(length + DIODE_CHECK));
    s->frames++;
}

struct header {
    uint32_t number, block;
    uint16_t symbol;
    uint8_t kind, code;
};

static void send_full(struct diode_sender *s, const struct header *h, uint16_t content) {
    uint8_t *f = s->frame;
    f[0] = (uint8_t)(VERSION | h->kind);
    f[1] = h->code;
    put(f + 2, s->frames, 2);
    put(f + 4, s->id, 4);
    put(f + 8, h->number, 4);
    put(f + 12, h->block, 4);
    put(f + 16, h->symbol, 4);
    finish(s, 0, content);
}

static void send_compact(struct diode_sender *s, const struct header *h, uint16_t content) {
    uint8_t *f = s->frame + DIODE_HEADER - DIODE_COMPACT_HEADER, key[8];
    put(key, s->id, 4);
    put(key + 4, h->number, 4);
    f[0] = VERSION | COMPACT;
    put(f + 1, s->frames, 1);
    put(f + 2, diode_crc16(0, key, 8), 2);
    f[4] = (uint8_t)h->symbol;
    put(f + 5, h->block, 3);
    finish(s, DIODE_HEADER - DIODE_COMPACT_HEADER, content);
}

void diode_heartbeat(struct diode_sender *s, uint8_t code, const struct diode_counts *c) {
    const struct header h = {.kind = HEARTBEAT, .code = code, .number = s->highest};
    uint8_t *p = payload(s);
    put(p, s->frames, 8);
    put(p + 8, c->uptime, 4);
    put(p + 12, c->interval, 4);
    put(p + 16, c->rate, 4);
    put(p + 20, c->queue, 4);
    put(p + 24, c->pass, 2);
    put(p + 26, c->passes, 2);
    send_full(s, &h, 28);
}

void diode_begin(struct diode_sender *s, const struct diode_counts *counts) {
    static const uint8_t delimiter = 0;
    s->write(s->port, &delimiter, 1);
    diode_heartbeat(s, DIODE_FIRST, counts);
}

/* Blocks and symbols (wire 4) --------------------------------------------------------------------- */

static uint32_t block_data(const struct diode_object *o) {
    return (uint32_t)o->k * o->symbol_size - DIODE_BLOCK_CHECK;
}

static uint32_t block_length(const struct diode_object *o, uint32_t block) {
    const uint32_t left = o->size - block * block_data(o);
    return left < block_data(o) ? left : block_data(o);
}

/* Source symbols of that block that are not zero by definition. */
static uint16_t source_symbols(const struct diode_object *o, uint32_t block) {
    const uint32_t whole = block_length(o, block) + DIODE_BLOCK_CHECK;
    uint32_t rest;
    return (uint16_t)divided(whole + o->symbol_size - 1u, o->symbol_size, &rest);
}

/* Source symbol `symbol` of a block into `out`, which serves to compute the check before. */
static bool source_symbol(const struct diode_object *o, uint32_t block, uint16_t symbol, uint8_t *out) {
    const uint32_t begin = block * block_data(o), length = block_length(o, block);
    const uint32_t from = (uint32_t)symbol * o->symbol_size, to = from + o->symbol_size;
    uint64_t check = 0;
    if (to > length && from < length + DIODE_BLOCK_CHECK) {
        for (uint32_t at = 0; at < length; at += o->symbol_size) {
            const uint32_t left = length - at;
            const uint16_t part = (uint16_t)(left < o->symbol_size ? left : o->symbol_size);
            if (!o->read(o->source, begin + at, out, part)) {
                return false;
            }
            check = diode_crc64(check, out, part);
        }
    }
    zero(out, o->symbol_size);
    if (from < length) {
        const uint16_t part = (uint16_t)((to < length ? to : length) - from);
        if (!o->read(o->source, begin + from, out, part)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < DIODE_BLOCK_CHECK; i++, check >>= 8) {
        if (from <= length + i && length + i < to) {
            out[length + i - from] = (uint8_t)check;
        }
    }
    return true;
}

static bool any_symbol(struct diode_sender *s, const struct diode_object *o, uint32_t block, uint16_t symbol) {
    uint8_t *out = payload(s);
    if (symbol < o->k) {
        return source_symbol(o, block, symbol, out);
    }
#if DIODE_PARITY
    zero(out, o->symbol_size);
    for (uint16_t i = 0; i < source_symbols(o, block); i++) {
        if (!source_symbol(o, block, i, s->scratch)) {
            return false;
        }
        add_multiple(out, s->scratch, o->symbol_size, coefficient(o->k, symbol, i));
    }
    return true;
#else
    return false;
#endif
}

bool diode_symbol(struct diode_sender *s, const struct diode_object *o, uint32_t block, uint16_t symbol) {
    const struct header h = {.kind = DATA, .code = DIODE_PARITY ? ZFEC : REPEAT, .number = o->number,
                             .block = block, .symbol = symbol};
    if (block >= o->blocks || symbol >= (DIODE_PARITY ? NUMBERS : o->k) || !any_symbol(s, o, block, symbol)) {
        return false;
    }
    if (o->compact && symbol < 256 && block < (uint32_t)1 << 24) {
        send_compact(s, &h, o->symbol_size);
    } else {
        send_full(s, &h, o->symbol_size);
    }
    return true;
}

/* Announcements (wire 5.1, 5.2) ------------------------------------------------------------------- */

/* An integer as MessagePack has it at its shortest; where the next byte goes. */
static uint8_t *pack(uint8_t *out, uint64_t value) {
    uint8_t width = 1, mark = 0xCC;
    if (value < 128) {
        *out = (uint8_t)value;
        return out + 1;
    }
    for (uint64_t most = 0xFF; value > most; width = (uint8_t)(2 * width)) {
        most = width == 4 ? UINT64_MAX : (width == 2 ? UINT32_MAX : 0xFFFF);
        mark++;
    }
    *out++ = mark;
    for (uint8_t i = width; i-- > 0; value >>= 8) {
        out[i] = (uint8_t)value;
    }
    return out + width;
}

static uint8_t *pack_bytes(uint8_t *out, const uint8_t *bytes, uint16_t length) {
    *out++ = length < 256 ? 0xC4 : 0xC5;
    if (length >= 256) {
        *out++ = (uint8_t)(length >> 8);
    }
    *out++ = (uint8_t)length;
    return copied(out, bytes, length);
}

void diode_announce(struct diode_sender *s, const struct diode_object *o, bool is_void) {
    struct header h = {.kind = MANIFEST, .code = 1, .number = o->number};
    uint8_t *p = payload(s), *at = p + 2;
    *at++ = 0x9B; /* an array of eleven */
    at = pack(at, is_void ? VOID : COMPLETE);
    at = pack(at, 0); /* a file */
    at = pack_bytes(at, o->name, o->name_length);
    at = pack(at, o->size);
    at = pack_bytes(at, o->digest, DIODE_DIGEST);
    at = pack(at, DIODE_PARITY ? ZFEC : REPEAT);
    at = pack(at, o->k);
    at = pack(at, o->n);
    at = pack(at, o->symbol_size);
    at = pack(at, o->passes);
    if (o->has_time) {
        at = pack(at, o->time);
    } else {
        *at++ = 0xC0;
    }
    const uint16_t length = (uint16_t)(at - p);
    put(p, length - 2u, 2);
    h.block = diode_crc32c(0, p, length); /* the tag */
    send_full(s, &h, length);
}

/* Records (wire 11) -------------------------------------------------------------------------------
 *
 * Each frame is a group of its own. In it a topic leaves out what it has in common with the one before,
 * up to its last `/`. */

static uint8_t shared(const struct diode_record *a, const struct diode_record *b) {
    uint8_t same = 0, level = 0;
    while (same < a->topic_length && same < b->topic_length && a->topic[same] == b->topic[same]) {
        if (b->topic[same++] == '/') {
            level = same;
        }
    }
    return level;
}

static void send_records(struct diode_sender *s, struct diode_stream *stream, uint16_t length) {
    const struct header h = {.kind = RECORD, .number = stream->number, .block = stream->group++,
                             .symbol = stream->every ? 0x100 : 0};
    send_full(s, &h, length);
}

enum diode_status diode_records(struct diode_sender *s, struct diode_stream *stream,
                                const struct diode_record *records, uint8_t count) {
    enum diode_status status = DIODE_DONE;
    const struct diode_record *before = 0; /* in this frame */
    uint16_t used = 0;
    for (const struct diode_record *r = records; r < records + count; r++) {
        const uint32_t length = (r->has_time ? 17u : 9u) + r->topic_length + r->payload_length;
        if (r->topic_length == 0 || length > DIODE_PAYLOAD_MAX) {
            status = DIODE_RECORD;
            continue;
        }
        uint8_t common = before ? shared(before, r) : 0;
        if (used + length - common > DIODE_PAYLOAD_MAX) {
            send_records(s, stream, used);
            used = common = 0;
        }
        uint8_t *out = payload(s) + used;
        const unsigned sent = r->repeats < 7 ? r->repeats : 7u;
        out[0] = (uint8_t)(0x80u | sent << 4 | (r->quality & 3u) << 1 | (r->retain ? 1u : 0u));
        out[1] = common;
        out[2] = (uint8_t)(r->topic_length - common);
        put(out + 3, r->payload_length, 2);
        put(out + 5, r->sequence, 4);
        if (r->has_time) {
            out[0] |= 8u;
            put(out + 9, r->time, 8);
        }
        out = copied(out + (r->has_time ? 17 : 9), r->topic + common, out[2]);
        used = (uint16_t)(copied(out, r->payload, r->payload_length) - payload(s));
        before = r;
    }
    if (used) {
        send_records(s, stream, used);
    }
    return status;
}

/* The order on air (wire 4.4) ---------------------------------------------------------------------
 *
 * An announcement at both ends of a pass and between every so many frames; groups of `depth` blocks
 * whose symbols take turns, so that an outage takes from all of them; in each pass symbols that no
 * earlier one has sent, for as long as the code has any. */

static enum diode_status refused(const struct diode_object *o) {
    const uint32_t widest = DIODE_PARITY ? 255 : 65535;
    if (o->number == 0) {
        return DIODE_NUMBER;
    }
    if (o->name_length == 0 || o->name_length > DIODE_PAYLOAD_MAX - 67u) {
        return DIODE_NAME;
    }
    for (uint16_t i = 0; i < o->name_length; i++) {
        if (o->name[i] == 0) {
            return DIODE_NAME;
        }
    }
    if (o->symbol_size < 1 || o->symbol_size > DIODE_PAYLOAD_MAX || o->k < 1 || o->k > widest ||
        (uint32_t)o->k * o->symbol_size <= DIODE_BLOCK_CHECK || o->n < o->k ||
        o->n > (DIODE_PARITY ? NUMBERS : o->k)) {
        return DIODE_GEOMETRY;
    }
    return DIODE_MORE;
}

enum diode_status diode_open(struct diode_sender *s, struct diode_object *o) {
    struct sha256 hash;
    const enum diode_status status = refused(o);
    if (status != DIODE_MORE) {
        return status;
    }
    o->pass = o->sent = o->first = 0;
    o->turn = o->place = o->since = 0;
    o->announced = false;
    uint32_t rest;
    o->blocks = divided(o->size, block_data(o), &rest);
    o->blocks += rest != 0;
    sha256_begin(&hash);
    for (uint32_t at = 0; at < o->size;) {
        const uint32_t left = o->size - at;
        const uint16_t part = (uint16_t)(left < DIODE_PAYLOAD_MAX ? left : DIODE_PAYLOAD_MAX);
        if (!o->read(o->source, at, s->scratch, part)) {
            return DIODE_SOURCE; /* nothing of it has been said yet */
        }
        for (uint16_t i = 0; i < part; i++) {
            sha256_take(&hash, s->scratch[i]);
        }
        at += part;
    }
    sha256_end(&hash, o->digest);
    if (s->highest < o->number) {
        s->highest = o->number;
    }
    return DIODE_MORE;
}

/* The number of the symbol that is this turn of this pass. */
static uint16_t symbol_number(const struct diode_object *o, uint32_t block, uint16_t turn) {
    const uint16_t known = (uint16_t)(o->k - source_symbols(o, block)), count = (uint16_t)(o->n - known);
    const uint16_t there = (uint16_t)((DIODE_PARITY ? NUMBERS : o->k) - known);
    uint32_t walk;
    divided(o->pass, there, &walk); /* passes repeat after `there` of them: a small product */
    divided(walk * count + turn, there, &walk);
    return (uint16_t)(walk < (uint32_t)(o->k - known) ? walk : walk + known);
}

/* Go to the next place of the group, or the next turn, or the next group. */
static void move_on(struct diode_object *o, uint16_t width) {
    if (++o->place < width) {
        return;
    }
    o->place = 0;
    if (++o->turn < o->n) {
        return;
    }
    o->turn = 0;
    o->first += width;
}

static void announce_again(struct diode_sender *s, struct diode_object *o) {
    diode_announce(s, o, false);
    o->since = 0;
}

enum diode_status diode_step(struct diode_sender *s, struct diode_object *o) {
    if (o->passes && o->pass >= o->passes) {
        return DIODE_DONE;
    }
    if (!o->announced || (o->announce && o->since >= o->announce)) {
        o->announced = true;
        announce_again(s, o);
        return DIODE_MORE;
    }
    while (o->first < o->blocks) {
        const uint32_t left = o->blocks - o->first, depth = o->depth ? o->depth : 1u;
        const uint16_t width = (uint16_t)(left < depth ? left : depth), turn = o->turn;
        const uint32_t block = o->first + o->place;
        move_on(o, width);
        if (turn < o->n - (o->k - source_symbols(o, block))) { /* a short block has fewer */
            if (!diode_symbol(s, o, block, symbol_number(o, block, turn))) {
                diode_announce(s, o, true);
                return DIODE_SOURCE;
            }
            o->sent++;
            o->since++;
            return DIODE_MORE;
        }
    }
    announce_again(s, o);
    o->pass++;
    o->sent = o->first = 0;
    o->announced = false;
    return DIODE_MORE;
}
