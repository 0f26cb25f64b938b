// Ways to end: return, exit with handlers, _Exit, abort, assert, a null call, a
// division by zero, memory out of bounds, a stack without end.
// Assertions count in this guest, however it is built.
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void handler(void) {
    puts("handler");
}

static int deep(volatile int *n) {
    volatile char frame[256];
    frame[0] = (char)*n;
    (*n)++;
    return deep(n) + frame[0];
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    int code = argc > 2 ? atoi(argv[2]) : 0;
    atexit(handler);
    printf("%s %d\n", how, code);
    void (*volatile nothing)(void) = NULL;
    volatile int zero = argc > 99, least = -2147483647 - 1;
    if (strcmp(how, "return") == 0) return code;
    if (strcmp(how, "exit") == 0) exit(code);
    fflush(stdout);
    if (strcmp(how, "now") == 0) _Exit(code);
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "assert") == 0) assert(zero);
    if (strcmp(how, "divide") == 0) return least / zero;
    if (strcmp(how, "overflow") == 0) return least / (zero - 1);
    if (strcmp(how, "null") == 0) nothing();
    if (strcmp(how, "bounds") == 0) return *(volatile char *)0xfffffff0;
    if (strcmp(how, "stack") == 0) return deep((int[]){0});
    return 99;
}
