// Level compute: compresses what it reads into a gzip file (RFC 1952), with matches
// found through a hash of three bytes and the fixed codes of deflate (RFC 1951).
#include "stream.h"

#define WINDOW 32768u
#define MASK (WINDOW - 1)
#define INPUT (1u << 24)
#define HASHES (1u << 15)
#define CHAIN 64

static uint8_t input[INPUT];
static uint32_t heads[HASHES], previous[WINDOW];
static uint8_t buffer[1 << 16];
static size_t filled;
static uint64_t pending;
static unsigned pending_bits;
static int target;
static bool failed;

static void put(uint8_t byte) {
    buffer[filled++] = byte;
    if (filled == sizeof buffer) {
        failed = failed || !write_fully(target, buffer, filled);
        filled = 0;
    }
}

static void put_bits(uint32_t value, unsigned count) {
    pending |= (uint64_t)value << pending_bits;
    for (pending_bits += count; pending_bits >= 8; pending_bits -= 8, pending >>= 8) put((uint8_t)pending);
}

// Huffman codes go out with their highest bit first.
static void put_code(uint32_t code, unsigned count) {
    uint32_t turned = 0;
    for (unsigned i = 0; i < count; i++) turned |= (code >> i & 1) << (count - 1 - i);
    put_bits(turned, count);
}

static void put_symbol(unsigned symbol) {
    if (symbol < 144) put_code(0x30 + symbol, 8);
    else if (symbol < 256) put_code(0x190 + symbol - 144, 9);
    else if (symbol < 280) put_code(symbol - 256, 7);
    else put_code(0xc0 + symbol - 280, 8);
}

// The code of a length or distance, given what is left of it after the least one, where
// each `group` codes have one extra bit more than the group before. Returns the code.
static unsigned split(unsigned value, unsigned group_bits, unsigned *extra, unsigned *extra_bits) {
    unsigned top = 31 - (unsigned)__builtin_clz(value | 1);
    *extra_bits = top > group_bits ? top - group_bits : 0;
    *extra = value & ((1u << *extra_bits) - 1);
    return (*extra_bits << group_bits) + (value >> *extra_bits);
}

static void put_match(unsigned length, unsigned distance) {
    unsigned extra, bits;
    if (length == 258) {
        put_symbol(285);
    } else {
        put_symbol(257 + split(length - 3, 2, &extra, &bits));
        put_bits(extra, bits);
    }
    put_code(split(distance - 1, 1, &extra, &bits), 5);
    put_bits(extra, bits);
}

static uint32_t hash(const uint8_t *at) {
    return ((uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2]) * 2654435761u >> 17;
}

static void remember(uint32_t at) {
    uint32_t h = hash(input + at);
    previous[at & MASK] = heads[h];
    heads[h] = at + 1;
}

static unsigned longest(uint32_t at, uint32_t end, unsigned *distance) {
    unsigned best = 0, most = end - at < 258 ? end - at : 258;
    uint32_t next = heads[hash(input + at)];
    for (int tries = 0; tries < CHAIN && next != 0 && at - (next - 1) <= WINDOW - 1; tries++) {
        uint32_t from = next - 1;
        unsigned length = 0;
        while (length < most && input[from + length] == input[at + length]) length++;
        if (length > best) {
            best = length;
            *distance = at - from;
        }
        next = previous[from & MASK];
        if (next > from) break;
    }
    return best;
}

static void put_u32(uint32_t value) {
    for (int i = 0; i < 4; i++) put((uint8_t)(value >> (8 * i)));
}

EXPORT_COMPUTE int compute(int in, int out) {
    target = out;
    ptrdiff_t got = read_fully(in, input, sizeof input);
    if (got < 0) return 1;
    uint32_t end = (uint32_t)got, sum = 0xffffffff;
    if (end == INPUT) return 3;
    static const uint8_t head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    for (int i = 0; i < 10; i++) put(head[i]);
    // One block, the last, with fixed codes.
    put_bits(3, 3);
    for (uint32_t at = 0; at < end;) {
        unsigned distance = 0, length = end - at >= 3 ? longest(at, end, &distance) : 0, step = length < 3 ? 1 : length;
        if (length < 3) put_symbol(input[at]);
        else put_match(length, distance);
        for (; step > 0; step--, at++) {
            if (end - at >= 3) remember(at);
        }
    }
    put_symbol(256);
    put_bits(0, (8 - pending_bits) & 7);
    for (uint32_t i = 0; i < end; i++) {
        sum ^= input[i];
        for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (sum & 1 ? 0xedb88320 : 0);
    }
    put_u32(~sum);
    put_u32(end);
    return failed || !write_fully(out, buffer, filled) ? 2 : 0;
}
