// Memory: much of it, given back and taken again, more than there is, and grown in place.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Through here no compiler can tell that a piece is never used.
static void *(*volatile give)(size_t) = malloc;

int main(void) {
    // 64 MiB in one piece, zero, and written to at every page.
    size_t size = (size_t)64 << 20;
    unsigned char *big = calloc(1, size);
    if (!big) return 1;
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i += 4096) {
        sum += big[i];
        big[i] = (unsigned char)(i >> 12);
    }
    for (size_t i = 0; i < size; i += 4096) sum += big[i];
    printf("sum %llu\n", (unsigned long long)sum);
    size_t pages = __builtin_wasm_memory_size(0);
    free(big);
    big = malloc(size);
    printf("taken again without growing: %d\n", big && __builtin_wasm_memory_size(0) == pages);
    big = realloc(big, size + 4096);
    printf("grown: %d\n", big != NULL && big[4096] == 1);
    free(big);

    errno = 0;
    void *huge = give((size_t)0x50000000);
    printf("a quarter over 1 GiB: %s\n", huge ? "given" : strerror(errno));

    // A hundred thousand small pieces of many sizes, freed in another order.
    enum { PIECES = 100000 };
    static unsigned char *pieces[PIECES];
    uint32_t state = 1;
    for (int i = 0; i < PIECES; i++) {
        state = state * 1664525 + 1013904223;
        size_t length = 1 + (state >> 24);
        pieces[i] = malloc(length);
        if (!pieces[i]) return 1;
        memset(pieces[i], i & 255, length);
    }
    int wrong = 0;
    for (int i = 0; i < PIECES; i++) {
        int at = (int)((uint64_t)i * 7919 % PIECES);
        wrong += pieces[at][0] != (at & 255);
        free(pieces[at]);
    }
    printf("wrong %d\n", wrong);
    void *aligned = aligned_alloc(4096, 8192);
    printf("aligned %d\n", aligned && (uintptr_t)aligned % 4096 == 0);
    free(aligned);

    // As much as the limits give, 16 MiB at a time.
    int blocks = 0;
    while (blocks < 300 && give((size_t)16 << 20)) blocks++;
    printf("bounded: %d\n", blocks < 300);
    printf("page after the last: %s\n", __builtin_wasm_memory_grow(0, 65536) == (size_t)-1 ? "refused" : "given");
    return 0;
}
