// Reads arguments: decimal numbers within bounds, or the guest ends with a message.
#pragma once
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// Exit code of wrong arguments.
#define USAGE 2

static inline _Noreturn void usage(const char *text) {
    fprintf(stderr, "usage: %s\n", text);
    exit(USAGE);
}

static inline uint64_t number(const char *what, const char *text, uint64_t min, uint64_t max) {
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value < min || value > max) {
        fprintf(stderr, "error: %s is %s, not a number from %llu to %llu\n", what, text, (unsigned long long)min,
                (unsigned long long)max);
        exit(USAGE);
    }
    return value;
}
