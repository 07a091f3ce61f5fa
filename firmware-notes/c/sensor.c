/* A simulated instrument on a terminal: what a microcontroller's `main` looks like, on POSIX.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *     cc -std=c99 -o sensor sensor.c diode.c
 *     ./sensor /dev/ttyS0 STATE COUNT      send COUNT small files of readings
 *
 * STATE is a file of 12 bytes that stands for the flash page of a device: sender id, object number,
 * frames sent. The number is written there, and is durable, before it is first used on air (wire 2).
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
    uint32_t id, number, frames;
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
    struct state s = {0, 0, 0};
    const int fd = open(path, O_RDONLY);
    if (fd >= 0) {
        if (read(fd, &s, sizeof s) != (ssize_t)sizeof s) {
            s.id = 0;
        }
        close(fd);
    }
    const int noise = open("/dev/urandom", O_RDONLY);
    while (s.id == 0) {
        s.number = s.frames = 0;
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

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s TERMINAL STATE COUNT\n", argv[0]);
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
    diode_begin(&sender, &counts);
    for (; counts.queue; counts.queue--) {
        char log[1024], name[32];
        kept.number++;
        kept.frames = (uint32_t)sender.frames + 1000; /* more than this file takes: it may leap */
        save(argv[2], &kept);
        struct diode_object file = {.number = kept.number, .symbol_size = SYMBOL, .k = 8, .n = 10,
                                    .passes = 2, .announce = 8, .compact = true, .read = read_log};
        file.size = measure(kept.number, log, sizeof log);
        file.name_length = (uint16_t)snprintf(name, sizeof name, "readings-%05u.csv", (unsigned)kept.number);
        file.name = (const uint8_t *)name;
        file.source = log;
        enum diode_status status = diode_open(&sender, &file);
        while (status == DIODE_MORE) {
            status = diode_step(&sender, &file);
        }
        if (status != DIODE_DONE) {
            fprintf(stderr, "%s: status %d\n", name, (int)status);
            return 1;
        }
        diode_heartbeat(&sender, DIODE_GOING_ON, &counts);
    }
    diode_heartbeat(&sender, DIODE_LAST, &counts);
    kept.frames = (uint32_t)sender.frames;
    save(argv[2], &kept);
    return 0;
}
