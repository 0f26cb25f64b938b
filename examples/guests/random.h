// A small generator of numbers (splitmix64): one seed, one sequence, everywhere.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static inline uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

// The world's own randomness, to start a generator from.
static inline uint64_t world_seed(void) {
    uint64_t seed;
    if (getentropy(&seed, sizeof seed) != 0) abort();
    return seed;
}
