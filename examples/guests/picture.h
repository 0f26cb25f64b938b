// Writes pictures of three bytes a pixel: PPM, and PNG without compression.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static inline void write_ppm(FILE *out, uint32_t width, uint32_t height, const uint8_t *pixels) {
    fprintf(out, "P6\n%u %u\n255\n", width, height);
    fwrite(pixels, 3, (size_t)width * height, out);
}

// A PNG under way: sums over the chunk and over the picture's bytes.
struct png {
    FILE *out;
    uint32_t crc, adler_a, adler_b;
    // What is left of the current block of the deflate stream, and of all of it.
    uint32_t block;
    uint64_t left;
};

static inline void png_put(struct png *png, const uint8_t *bytes, size_t count) {
    fwrite(bytes, 1, count, png->out);
    for (size_t i = 0; i < count; i++) {
        png->crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) png->crc = png->crc >> 1 ^ (png->crc & 1 ? 0xedb88320 : 0);
    }
}

static inline void png_number(struct png *png, uint32_t value) {
    png_put(png, (uint8_t[]){(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value}, 4);
}

static inline void png_chunk(struct png *png, uint32_t length, const char *name) {
    png_number(png, length);
    png->crc = 0xffffffff;
    png_put(png, (const uint8_t *)name, 4);
}

static inline void png_end_chunk(struct png *png) {
    png_number(png, ~png->crc);
}

// Bytes of the picture, in stored blocks of at most 65535.
static inline void png_data(struct png *png, const uint8_t *bytes, size_t count) {
    for (; count > 0; count--, bytes++) {
        if (png->block == 0) {
            png->block = png->left < 65535 ? (uint32_t)png->left : 65535;
            png->left -= png->block;
            uint32_t n = png->block;
            png_put(png, (uint8_t[]){png->left == 0, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)~n, (uint8_t)(~n >> 8)}, 5);
        }
        png->block--;
        png->adler_a = (png->adler_a + *bytes) % 65521;
        png->adler_b = (png->adler_b + png->adler_a) % 65521;
        png_put(png, bytes, 1);
    }
}

static inline void write_png(FILE *out, uint32_t width, uint32_t height, const uint8_t *pixels) {
    size_t row = (size_t)width * 3;
    struct png png = {.out = out, .adler_a = 1, .left = (uint64_t)(row + 1) * height};
    uint64_t blocks = (png.left + 65534) / 65535;
    png_put(&png, (const uint8_t *)"\x89PNG\r\n\x1a\n", 8);
    png_chunk(&png, 13, "IHDR");
    png_number(&png, width);
    png_number(&png, height);
    // Eight bits, red green blue, nothing special.
    png_put(&png, (uint8_t[]){8, 2, 0, 0, 0}, 5);
    png_end_chunk(&png);
    png_chunk(&png, (uint32_t)(png.left + 5 * blocks + 6), "IDAT");
    png_put(&png, (uint8_t[]){0x78, 0x01}, 2);
    for (uint32_t y = 0; y < height; y++) {
        // Each row starts with its filter: none.
        png_data(&png, (uint8_t[]){0}, 1);
        png_data(&png, pixels + y * row, row);
    }
    png_number(&png, png.adler_b << 16 | png.adler_a);
    png_end_chunk(&png);
    png_chunk(&png, 0, "IEND");
    png_end_chunk(&png);
}
