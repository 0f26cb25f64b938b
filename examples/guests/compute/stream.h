// The level compute: two descriptors, four calls, no libc behind them.
//
// A guest exports compute(in, out). `in` can be read and nothing else, `out` written
// and nothing else; there are no arguments, files, clock or randomness.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT_COMPUTE __attribute__((export_name("compute")))
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))

struct span {
    const void *bytes;
    size_t length;
};

WASI(fd_read) int fd_read(int fd, const struct span *spans, size_t count, size_t *got);
WASI(fd_write) int fd_write(int fd, const struct span *spans, size_t count, size_t *wrote);

// Reads up to `length` bytes: fewer only at the end. Returns -1 on an error.
static inline ptrdiff_t read_fully(int in, uint8_t *bytes, size_t length) {
    size_t done = 0;
    while (done < length) {
        size_t got = 0;
        struct span span = {bytes + done, length - done};
        if (fd_read(in, &span, 1, &got) != 0) return -1;
        if (got == 0) break;
        done += got;
    }
    return (ptrdiff_t)done;
}

static inline bool write_fully(int out, const uint8_t *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        size_t wrote = 0;
        struct span span = {bytes + done, length - done};
        if (fd_write(out, &span, 1, &wrote) != 0 || wrote == 0) return false;
        done += wrote;
    }
    return true;
}
