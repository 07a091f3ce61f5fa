/* The C encoder on a pipe: one command a line in, what it puts on the line out, in hexadecimal.
 *
 *     sender ID FRAMES HIGHEST
 *     begin | beat CODE  UPTIME INTERVAL RATE QUEUE PASS PASSES
 *     object NUMBER SYMBOL_SIZE K N PASSES DEPTH ANNOUNCE COMPACT TIME|- NAME CONTENT [FAILS_AT]
 *     frames SENT | send [MOST] | announce VOID | symbol BLOCK SYMBOL
 *     reading TOPIC PAYLOAD SEQUENCE REPEATS QUALITY RETAIN TIME|-
 *     records STREAM GROUP EVERY                  with the readings since the last time
 *     cobs FRAME | crc BYTES
 *
 * A CONTENT of the form zeros:SIZE is what it says. Each answer is bytes, a space and a status. `send` stops after MOST frames, or a million.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diode.h"

enum { WORDS = 16, LONGEST = 1 << 20, READINGS = 64 };

struct content {
    uint8_t *bytes;
    uint32_t size, fails_at;
};

static void write_hex(void *port, const uint8_t *bytes, uint16_t length) {
    (void)port;
    while (length--) {
        printf("%02x", *bytes++);
    }
}

/* Exactly what was asked for is touched, so that the sanitizers see every byte too many. */
static bool read_content(void *source, uint32_t offset, uint8_t *out, uint16_t length) {
    const struct content *c = source;
    if (offset > c->size || length > c->size - offset) {
        abort();
    }
    if (c->bytes) {
        memcpy(out, c->bytes + offset, length);
    } else {
        memset(out, 0, length);
    }
    return offset + length <= c->fails_at;
}

static uint8_t *from_hex(const char *text, uint32_t *length) {
    const size_t digits = text[0] == '-' ? 0 : strlen(text);
    uint8_t *bytes = malloc(digits / 2 + (digits == 0));
    *length = (uint32_t)(digits / 2);
    for (uint32_t i = 0; i < *length; i++) {
        unsigned value;
        if (!bytes || sscanf(text + 2 * i, "%2x", &value) != 1) {
            abort();
        }
        bytes[i] = (uint8_t)value;
    }
    return bytes;
}

static uint64_t number(const char *text) {
    return strtoull(text, NULL, 10);
}

static struct diode_sender sender;
static struct diode_object object;
static struct content content;
static uint8_t *name;
static struct diode_record readings[READINGS];
static uint8_t *held[2 * READINGS];
static uint8_t count;

static struct diode_counts counts(char **w) {
    const struct diode_counts c = {(uint32_t)number(w[0]), (uint32_t)number(w[1]), (uint32_t)number(w[2]),
                                   (uint32_t)number(w[3]), (uint16_t)number(w[4]), (uint16_t)number(w[5])};
    return c;
}

static void new_sender(char **w) {
    memset(&sender, 0xA5, sizeof sender); /* what was there before must not matter */
    sender.id = (uint32_t)number(w[1]);
    sender.frames = number(w[2]);
    sender.highest = (uint32_t)number(w[3]);
    sender.write = write_hex;
    sender.port = NULL;
}

static enum diode_status new_object(char **w, int words) {
    uint32_t length;
    free(name);
    free(content.bytes);
    memset(&object, 0xA5, sizeof object);
    object.number = (uint32_t)number(w[1]);
    object.symbol_size = (uint16_t)number(w[2]);
    object.k = (uint16_t)number(w[3]);
    object.n = (uint16_t)number(w[4]);
    object.passes = (uint16_t)number(w[5]);
    object.depth = (uint16_t)number(w[6]);
    object.announce = (uint16_t)number(w[7]);
    object.compact = number(w[8]) != 0;
    object.has_time = w[9][0] != '-';
    object.time = number(w[9]);
    object.name = name = from_hex(w[10], &length);
    object.name_length = (uint16_t)length;
    content.bytes = NULL;
    content.size = (uint32_t)number(w[11] + 6);
    if (strncmp(w[11], "zeros:", 6) != 0) {
        content.bytes = from_hex(w[11], &content.size);
    }
    content.fails_at = words > 12 ? (uint32_t)number(w[12]) : UINT32_MAX;
    object.size = content.size;
    object.read = read_content;
    object.source = &content;
    const uint32_t fails_at = content.fails_at;
    content.fails_at = fails_at ? UINT32_MAX : 0; /* 0: at the first reading; else while it is sent */
    const enum diode_status status = diode_open(&sender, &object);
    content.fails_at = fails_at;
    return status;
}

static enum diode_status send(uint64_t most) {
    enum diode_status status = DIODE_MORE;
    for (uint64_t frames = 0; status == DIODE_MORE && frames < most; frames++) {
        status = diode_step(&sender, &object);
    }
    return status;
}

static void new_reading(char **w) {
    struct diode_record *r = readings + count;
    uint32_t length;
    memset(r, 0xA5, sizeof *r);
    r->topic = held[2 * count] = from_hex(w[1], &length);
    r->topic_length = (uint8_t)length;
    r->payload = held[2 * count + 1] = from_hex(w[2], &length);
    r->payload_length = (uint16_t)length;
    r->sequence = (uint32_t)number(w[3]);
    r->repeats = (uint8_t)number(w[4]);
    r->quality = (uint8_t)number(w[5]);
    r->retain = number(w[6]) != 0;
    r->has_time = strcmp(w[7], "-") != 0;
    r->time = (uint64_t)strtoll(w[7], NULL, 10);
    count++;
}

static enum diode_status send_readings(char **w) {
    struct diode_stream stream = {(uint32_t)number(w[1]), (uint32_t)number(w[2]), number(w[3]) != 0};
    const enum diode_status status = diode_records(&sender, &stream, readings, count);
    while (count) {
        count--;
        free(held[2 * count]);
        free(held[2 * count + 1]);
    }
    return status;
}

static int obey(char **w, int words) {
    if (strcmp(w[0], "sender") == 0) {
        new_sender(w);
    } else if (strcmp(w[0], "begin") == 0) {
        const struct diode_counts c = counts(w + 1);
        diode_begin(&sender, &c);
    } else if (strcmp(w[0], "beat") == 0) {
        const struct diode_counts c = counts(w + 2);
        diode_heartbeat(&sender, (uint8_t)number(w[1]), &c);
    } else if (strcmp(w[0], "object") == 0) {
        return (int)new_object(w, words);
    } else if (strcmp(w[0], "frames") == 0) {
        sender.frames = number(w[1]);
    } else if (strcmp(w[0], "send") == 0) {
        return (int)send(words > 1 ? number(w[1]) : 1000000);
    } else if (strcmp(w[0], "announce") == 0) {
        diode_announce(&sender, &object, number(w[1]) != 0);
    } else if (strcmp(w[0], "symbol") == 0) {
        return !diode_symbol(&sender, &object, (uint32_t)number(w[1]), (uint16_t)number(w[2]));
    } else if (strcmp(w[0], "reading") == 0) {
        new_reading(w);
    } else if (strcmp(w[0], "records") == 0) {
        return (int)send_readings(w);
    } else {
        uint32_t length;
        uint8_t *bytes = from_hex(w[1], &length);
        if (strcmp(w[0], "cobs") == 0) {
            diode_cobs(write_hex, NULL, bytes, (uint16_t)length);
        } else if (strcmp(w[0], "crc") == 0) {
            printf("%04x%08" PRIx32 "%016" PRIx64, diode_crc16(0, bytes, (uint16_t)length),
                   diode_crc32c(0, bytes, (uint16_t)length), diode_crc64(0, bytes, (uint16_t)length));
        } else {
            abort();
        }
        free(bytes);
    }
    return 0;
}

int main(void) {
    static char line[LONGEST];
    while (fgets(line, sizeof line, stdin)) {
        char *w[WORDS], *rest = line;
        int words = 0;
        while (words < WORDS && (w[words] = strtok(rest, " \n")) != NULL) {
            rest = NULL;
            words++;
        }
        /* the status is known last, so it stands behind the bytes */
        const int status = obey(w, words);
        printf(" %d\n", status);
    }
    free(name);
    free(content.bytes);
    return 0;
}
