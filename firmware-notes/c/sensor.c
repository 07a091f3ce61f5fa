/* A simulated instrument on a terminal: what a microcontroller's `main` looks like, on POSIX.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *     cc -std=c99 -o sensor sensor.c diode.c
 *     ./sensor /dev/ttyS0 STATE COUNT              send COUNT small files of readings
 *     ./sensor /dev/ttyS0 STATE COUNT records      or so many rounds of records
 *
 * STATE is a file of 16 bytes that stands for the flash page of a device: sender id, object number,
 * frames sent, starts. The number is written there, and is durable, before it is first used on air (wire 2).
 * The terminal is opened for writing only and set up by whoever starts this.
 */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diode.h"

enum { SYMBOL = 64, READINGS = 20 };

struct state {
    uint32_t id, number, frames, starts;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void write_all(void *port, const uint8_t *bytes, uint16_t length) {
    const int fd = *(const int *)port;
    while (length) {
        const ssize_t taken = write(fd, bytes, length);
        if (taken < 0) {
            fail("line");
        }
        bytes += taken;
        length = (uint16_t)(length - taken);
    }
}

static bool read_log(void *source, uint32_t offset, uint8_t *out, uint16_t length) {
    memcpy(out, (const uint8_t *)source + offset, length);
    return true;
}

/* The state of a device that has none yet begins with an id drawn at random. */
static struct state load(const char *path) {
    struct state s = {0, 0, 0, 0};
    const int fd = open(path, O_RDONLY);
    if (fd >= 0) {
        if (read(fd, &s, sizeof s) != (ssize_t)sizeof s) {
            s.id = 0;
        }
        close(fd);
    }
    const int noise = open("/dev/urandom", O_RDONLY);
    while (s.id == 0) {
        s.number = s.frames = s.starts = 0;
        if (read(noise, &s.id, sizeof s.id) != (ssize_t)sizeof s.id) {
            fail("/dev/urandom");
        }
    }
    close(noise);
    return s;
}

static void save(const char *path, const struct state *s) {
    char beside[4096];
    snprintf(beside, sizeof beside, "%s.new", path);
    const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, s, sizeof *s) != (ssize_t)sizeof *s || fsync(fd) || close(fd) ||
        rename(beside, path)) {
        fail(path);
    }
}

/* Some twenty lines such as "3;19;2118": number of the file, of the reading, what was read. */
static uint32_t measure(uint32_t number, char *log, uint32_t room) {
    uint32_t at = 0;
    for (int i = 0; i < READINGS; i++) {
        const int value = 2100 + (int)((number * 7919u + (uint32_t)i * 104729u) % 100u);
        at += (uint32_t)snprintf(log + at, room - at, "%u;%d;%d\n", (unsigned)number, i, value);
    }
    return at;
}

/* COUNT files. Whether all of them are out. */
static bool send_files(struct diode_sender *sender, struct state *kept, const char *path,
                       struct diode_counts *counts) {
    for (; counts->queue; counts->queue--) {
        char log[1024], name[32];
        kept->number++;
        kept->frames = (uint32_t)sender->frames + 1000; /* more than this file takes: it may leap */
        save(path, kept);
        struct diode_object file = {.number = kept->number, .symbol_size = SYMBOL, .k = 8, .n = 10,
                                    .passes = 2, .announce = 8, .compact = true, .read = read_log};
        file.size = measure(kept->number, log, sizeof log);
        file.name_length =
            (uint16_t)snprintf(name, sizeof name, "readings-%05u.csv", (unsigned)kept->number);
        file.name = (const uint8_t *)name;
        file.source = log;
        enum diode_status status = diode_open(sender, &file);
        while (status == DIODE_MORE) {
            status = diode_step(sender, &file);
        }
        if (status != DIODE_DONE) {
            fprintf(stderr, "%s: status %d\n", name, (int)status);
            return false;
        }
        diode_heartbeat(sender, DIODE_GOING_ON, counts);
    }
    return true;
}

static struct diode_record reading(const char *topic, const char *value, uint32_t sequence) {
    struct diode_record r = {.topic = (const uint8_t *)topic, .payload = (const uint8_t *)value};
    r.topic_length = (uint8_t)strlen(topic);
    r.payload_length = (uint16_t)strlen(value);
    r.sequence = sequence;
    return r;
}

/* COUNT rounds: temperature and pressure, of which the newest value matters, and a log, of which every
 * line does. Everything is sent twice, the second time a round later. The stream is the number of
 * starts: sequences begin at 1 again then (wire 11.2). */
static void send_rounds(struct diode_sender *sender, struct state *kept, struct diode_counts *counts) {
    struct diode_stream latest = {kept->starts, 0, false}, every = {kept->starts, 0, true};
    for (uint32_t round = 1; round <= counts->queue + 1; round++) {
        for (uint8_t repeats = 0; repeats < 2; repeats++) {
            const uint32_t sequence = round - repeats;
            char values[3][32];
            snprintf(values[0], sizeof values[0], "%u.%u", 20 + (unsigned)sequence % 7, (unsigned)sequence % 10);
            snprintf(values[1], sizeof values[1], "%u", 1000 + (unsigned)sequence);
            snprintf(values[2], sizeof values[2], "round %u", (unsigned)sequence);
            struct diode_record now[3] = {reading("plant/boiler/temperature", values[0], sequence),
                                          reading("plant/boiler/pressure", values[1], sequence),
                                          reading("plant/log", values[2], sequence)};
            now[0].repeats = now[1].repeats = now[2].repeats = repeats;
            if (sequence >= 1 && sequence <= counts->queue) {
                diode_records(sender, &latest, now, 2);
                diode_records(sender, &every, now + 2, 1);
            }
        }
        diode_heartbeat(sender, DIODE_GOING_ON, counts);
    }
}

int main(int argc, char **argv) {
    if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "records") != 0)) {
        fprintf(stderr, "usage: %s TERMINAL STATE COUNT [records]\n", argv[0]);
        return 2;
    }
    int line = open(argv[1], O_WRONLY | O_NOCTTY);
    if (line < 0) {
        fail(argv[1]);
    }
    struct state kept = load(argv[2]);
    struct diode_counts counts = {0, 1000, 11520, (uint32_t)atoi(argv[3]), 0, 2};
    static struct diode_sender sender;
    sender.id = kept.id;
    sender.highest = kept.number;
    sender.frames = kept.frames;
    sender.write = write_all;
    sender.port = &line;
    kept.starts++;
    save(argv[2], &kept);
    diode_begin(&sender, &counts);
    bool sent = true;
    if (argc == 5) {
        send_rounds(&sender, &kept, &counts);
    } else {
        sent = send_files(&sender, &kept, argv[2], &counts);
    }
    diode_heartbeat(&sender, DIODE_LAST, &counts);
    kept.frames = (uint32_t)sender.frames;
    save(argv[2], &kept);
    return sent ? 0 : 1;
}
