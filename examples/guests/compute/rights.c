// Level compute: checks that its descriptors can do one thing each and nothing else.
// Writes "ok" and returns 0, or returns the number of the check that failed.
#include "stream.h"

#define RIGHT_READ (1ull << 1)
#define RIGHT_WRITE (1ull << 6)

struct about {
    uint8_t kind;
    uint16_t flags;
    uint64_t rights, inheriting;
};

WASI(fd_fdstat_get) int fd_fdstat_get(int fd, struct about *about);
WASI(fd_close) int fd_close(int fd);

EXPORT_COMPUTE int compute(int in, int out) {
    struct about about;
    uint8_t byte = 'x';
    struct span span = {&byte, 1};
    size_t count = 0;
    if (fd_fdstat_get(in, &about) != 0) return 1;
    if (about.rights != RIGHT_READ) return 2;
    if (about.inheriting != 0) return 3;
    if (fd_fdstat_get(out, &about) != 0) return 4;
    if (about.rights != RIGHT_WRITE) return 5;
    if (about.inheriting != 0) return 6;
    // What the rights forbid fails, and fails without an effect.
    if (fd_write(in, &span, 1, &count) == 0) return 7;
    if (fd_read(out, &span, 1, &count) == 0) return 8;
    // No other descriptor is open, the standard streams first.
    for (int fd = 0; fd < 1100; fd++) {
        if (fd != in && fd != out && fd_fdstat_get(fd, &about) == 0) return 9;
    }
    if (!write_fully(out, (const uint8_t *)"ok\n", 3)) return 10;
    // What is closed is gone.
    if (fd_close(in) != 0) return 11;
    if (fd_read(in, &span, 1, &count) == 0) return 12;
    if (fd_close(in) == 0) return 13;
    return 0;
}
