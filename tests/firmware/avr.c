/* The encoder on an ATmega328P, for simavr: the frames of one object in hexadecimal on the serial port,
 * then what some of its work takes, a line `T cycles` each, and a sleep from which nothing wakes it.
 */

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <string.h>

#include "diode.h"

static struct diode_sender sender;
static struct diode_object object;
static uint8_t content[504];
static bool quiet;
static volatile uint16_t overflows;

ISR(TIMER1_OVF_vect) {
    overflows++;
}

static void out(char c) {
    while (!(UCSR0A & (1 << UDRE0))) { }
    UDR0 = (uint8_t)c;
}

static void write_hex(void *port, const uint8_t *bytes, uint16_t length) {
    static const char digits[] = "0123456789abcdef";
    (void)port;
    for (; length-- && !quiet; bytes++) {
        out(digits[*bytes >> 4]);
        out(digits[*bytes & 15]);
        if (*bytes == 0) {
            out('\n');
        }
    }
}

static bool read_content(void *source, uint32_t offset, uint8_t *into, uint16_t length) {
    memcpy(into, (const uint8_t *)source + offset, length);
    return true;
}

static uint32_t now(void) {
    cli();
    const uint16_t low = TCNT1;
    const uint16_t high = (uint16_t)(overflows + ((TIFR1 & 1) && low < 0x8000 ? 1 : 0));
    sei();
    return (uint32_t)high << 16 | low;
}

static void tell(uint32_t cycles) {
    char text[12];
    int i = 0;
    out('T');
    do {
        text[i++] = (char)('0' + cycles % 10);
        cycles /= 10;
    } while (cycles);
    while (i) {
        out(text[--i]);
    }
    out('\n');
}

static void timed_symbol(uint16_t k, uint16_t symbol) {
    object.k = k;
    object.n = (uint16_t)(k + 2);
    diode_open(&sender, &object);
    const uint32_t before = now();
    diode_symbol(&sender, &object, 0, symbol);
    tell(now() - before);
}

int main(void) {
    static const uint8_t name[] = "log.csv";
    static const struct diode_counts counts = {1, 2, 3, 4, 5, 6};
    UCSR0B = 1 << TXEN0; /* RXEN0 stays clear: the port cannot hear */
    TCCR1B = 1;
    TIMSK1 = 1;
    sei();
    for (unsigned i = 0; i < sizeof content; i++) {
        content[i] = (uint8_t)(i * 7);
    }
    sender.id = 219209223;
    sender.write = write_hex;
    diode_begin(&sender, &counts);
    object = (struct diode_object){.number = 1, .size = 300, .name = name, .name_length = 7,
                                   .symbol_size = 48, .k = 5, .n = 7, .passes = 2, .depth = 2, .announce = 3,
                                   .compact = true, .has_time = true, .time = 1700000000123456789,
                                   .read = read_content, .source = content};
    if (diode_open(&sender, &object) == DIODE_MORE) {
        while (diode_step(&sender, &object) == DIODE_MORE) { }
    }
    quiet = true;
    object.size = sizeof content; /* a full block of 8 symbols of 64 bytes */
    const uint32_t before = now();
    diode_open(&sender, &object);
    tell(now() - before);
    object.symbol_size = 64;
    timed_symbol(8, 0);
    timed_symbol(4, 4);
    timed_symbol(8, 8);
    object.symbol_size = 9;
    timed_symbol(32, 32);
    cli();
    sleep_mode();
}
