// Level compute: writes what it reads with the letters a to z in upper case.
#include "stream.h"

EXPORT_COMPUTE int compute(int in, int out) {
    static uint8_t buffer[1 << 16];
    for (;;) {
        ptrdiff_t got = read_fully(in, buffer, sizeof buffer);
        if (got < 0) return 1;
        if (got == 0) return 0;
        for (ptrdiff_t i = 0; i < got; i++) buffer[i] -= buffer[i] >= 'a' && buffer[i] <= 'z' ? 32 : 0;
        if (!write_fully(out, buffer, (size_t)got)) return 2;
    }
}
