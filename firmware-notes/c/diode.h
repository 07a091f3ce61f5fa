/* A sender of records and small files for microcontrollers: ../wire-format.md in C99.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *     object ── blocks ── symbols ── frames ── cobs ── your `write`
 *
 * No heap, no floating point, no recursion, no writable data but what you give: one `diode_sender`
 * and one `diode_object` for each file under way. Contents are read through a callback, in any order
 * and more than once, so they can stand in flash, in a FRAM or in an array. Parity is computed
 * when its turn comes; nothing is stored for it.
 *
 *     diode_begin(&sender, &counts);             the first heartbeat
 *     diode_open(&sender, &object);              reads the content once, for its SHA-256
 *     while (diode_step(&sender, &object) == DIODE_MORE) { }       one frame each
 *     diode_records(&sender, &stream, readings, count);            readings, without an object
 *     diode_heartbeat(&sender, DIODE_LAST, &counts);
 *
 * Two things are yours to keep, and the receiver relies on both (../firmware.md says how): an id that
 * no other sender has, and object numbers that are never used twice.
 *
 * What is not here: signatures, encryption, tagged frames (wire 3.9), the line `rs`, parity of records
 * (wire 11.3), and announcements of several frames (so names end at DIODE_PAYLOAD_MAX - 67 bytes).
 */

#ifndef DIODE_H
#define DIODE_H

#include <stdbool.h>
#include <stdint.h>

#ifndef DIODE_PAYLOAD_MAX
#define DIODE_PAYLOAD_MAX 210u /* longest symbol or announcement, bytes; both buffers are that long */
#endif
#ifndef DIODE_PARITY
#define DIODE_PARITY 1 /* 0: only source symbols (code `repeat`), some 500 bytes of code less */
#endif
#ifndef DIODE_TABLES
#define DIODE_TABLES 1 /* 0: checks bit by bit, 192 bytes of constants less and three times slower */
#endif

#define DIODE_HEADER 20u
#define DIODE_COMPACT_HEADER 8u
#define DIODE_CHECK 4u
#define DIODE_BLOCK_CHECK 8u
#define DIODE_DIGEST 32u

/* Codes of a heartbeat (wire 3.1). */
enum { DIODE_GOING_ON = 0, DIODE_LAST = 1, DIODE_FIRST = 2 };

enum diode_status {
    DIODE_DONE,     /* every pass is out */
    DIODE_MORE,     /* call again */
    DIODE_NAME,     /* the name is empty, has a zero byte, or is too long for one announcement */
    DIODE_GEOMETRY, /* k, n, symbol_size and size do not go together (wire 4.1) */
    DIODE_NUMBER,   /* object number 0 */
    DIODE_SOURCE,   /* `read` failed: the object has been announced void and will never be delivered */
    DIODE_RECORD,   /* a record was left out: it has no topic, or does not fit into a frame */
};

/* Bytes for the line, in order. Blocks until they are taken: nothing is tried again. */
typedef void diode_write(void *port, const uint8_t *bytes, uint16_t length);

/* Bytes [offset, offset + length) of a content, which must not change while it is sent. */
typedef bool diode_read(void *source, uint32_t offset, uint8_t *out, uint16_t length);

struct diode_sender {
    uint32_t id;      /* not 0 (wire 2) */
    uint32_t highest; /* object number used last; `diode_open` counts it up */
    uint64_t frames;  /* frames ever sent under this id; its low half is the sequence */
    diode_write *write;
    void *port;
    uint8_t frame[DIODE_HEADER + DIODE_PAYLOAD_MAX + DIODE_CHECK]; /* the frame being made */
    uint8_t scratch[DIODE_PAYLOAD_MAX];                            /* one symbol of the source */
};

/* What a heartbeat tells of the sender; zeros where it is not known (wire 3.4). */
struct diode_counts {
    uint32_t uptime;   /* seconds since this run began */
    uint32_t interval; /* milliseconds in which the next heartbeat is due */
    uint32_t rate;     /* line rate, bytes per second */
    uint32_t queue;    /* objects waiting or on air */
    uint16_t pass;     /* on air, from 1 */
    uint16_t passes;   /* planned, 0: until stopped */
};

struct diode_object {
    /* Set by you. */
    uint32_t number;      /* never used before under this id */
    uint32_t size;        /* bytes */
    const uint8_t *name;  /* relative, `/` between parts, no zero byte */
    uint16_t name_length;
    uint16_t symbol_size; /* 1 … DIODE_PAYLOAD_MAX */
    uint16_t k;           /* source symbols of a block: up to 255, without parity 65535 */
    uint16_t n;           /* symbols of a block in each pass: k and more; without parity k */
    uint16_t passes;      /* 0: until you stop */
    uint16_t depth;       /* blocks that are interleaved, 0 like 1 */
    uint16_t announce;    /* data frames between two announcements, 0: one at each end of a pass */
    bool compact;         /* short headers: 12 bytes a frame less */
    bool has_time;        /* `time` is known */
    uint64_t time;        /* nanoseconds since 1970 */
    diode_read *read;
    void *source;

    /* Set by diode_open. `pass` and `sent` tell how far it is. */
    uint8_t digest[DIODE_DIGEST];
    uint32_t blocks;
    uint32_t pass;  /* whole passes that are out */
    uint32_t sent;  /* data frames of this pass that are out */
    uint32_t first; /* first block of the group on air */
    uint16_t turn;  /* which symbol of each of its blocks */
    uint16_t place; /* which of its blocks is next */
    uint16_t since; /* data frames since the last announcement */
    bool announced; /* this pass has begun */
};

/* Begin a run: a zero byte for the line, then the first heartbeat. */
void diode_begin(struct diode_sender *s, const struct diode_counts *counts);

/* Send a heartbeat: DIODE_GOING_ON once a second or so, DIODE_LAST when nothing follows. */
void diode_heartbeat(struct diode_sender *s, uint8_t code, const struct diode_counts *counts);

/* Check an object and read it through once. DIODE_MORE when it can be sent. */
enum diode_status diode_open(struct diode_sender *s, struct diode_object *o);

/* Send its next frame. DIODE_DONE when there was none left; DIODE_SOURCE is the end too. */
enum diode_status diode_step(struct diode_sender *s, struct diode_object *o);

/* A reading (wire 11.1). One for each topic: its sequence counts up with every new value. */
struct diode_record {
    const uint8_t *topic; /* UTF-8, levels parted by `/`; no `+`, no `#`, no control characters */
    uint8_t topic_length;
    uint8_t quality;      /* 0 good, 1 uncertain, 2 bad */
    uint8_t repeats;      /* how often this value was sent before */
    bool retain;          /* to be given to whoever asks later */
    bool has_time;        /* `time` is known */
    uint16_t payload_length;
    const uint8_t *payload;
    uint32_t sequence;    /* from 1 on, of this topic */
    uint64_t time;        /* nanoseconds since 1970 */
};

/* What records of one class go on in (wire 11.2). */
struct diode_stream {
    uint32_t number; /* higher after each start; 0 where nothing is kept over a restart */
    uint32_t group;  /* frames sent in it */
    bool every;      /* each record matters; else only the newest of a topic */
};

/* Send records, as many in a frame as fit. DIODE_RECORD when one was left out that never fits. */
enum diode_status diode_records(struct diode_sender *s, struct diode_stream *stream,
                                const struct diode_record *records, uint8_t count);

/* Single frames, for a schedule of your own. false: no such symbol, or `read` failed; nothing was sent. */
void diode_announce(struct diode_sender *s, const struct diode_object *o, bool is_void);
bool diode_symbol(struct diode_sender *s, const struct diode_object *o, uint32_t block, uint16_t symbol);

/* One frame to the line: COBS and the zero behind it (wire 6.1). */
void diode_cobs(diode_write *write, void *port, const uint8_t *frame, uint16_t length);

/* The checks. Each goes on from the value returned for what came before; begin with 0. */
uint16_t diode_crc16(uint16_t crc, const uint8_t *bytes, uint16_t length);  /* CRC-16/XMODEM, wire 3.2 */
uint32_t diode_crc32c(uint32_t crc, const uint8_t *bytes, uint16_t length); /* CRC-32C, wire 3.6 */
uint64_t diode_crc64(uint64_t crc, const uint8_t *bytes, uint16_t length);  /* CRC-64/XZ, wire 4.3 */

#endif
