// Monte Carlo estimate of pi: how many of N random points of a square lie in its circle.
//
//   pi N          seeds the generator from the world's randomness
//   pi N SEED     seeds it from the number
#include "args.h"
#include "random.h"

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) usage("pi POINTS [SEED]");
    uint64_t points = number("POINTS", argv[1], 1, 1000000000000);
    uint64_t state = argc == 3 ? number("SEED", argv[2], 0, UINT64_MAX) : world_seed();
    printf("seed %llu\n", (unsigned long long)state);
    uint64_t inside = 0;
    for (uint64_t i = 0; i < points; i++) {
        uint64_t point = next_random(&state);
        // Coordinates are whole numbers, so that no rounding decides.
        uint64_t x = point & 0x7fffffff, y = (point >> 32) & 0x7fffffff;
        inside += x * x + y * y < (1ull << 62);
    }
    // Six digits: 4 inside / points, in whole numbers.
    unsigned __int128 scaled = (unsigned __int128)inside * 4000000 / points;
    uint64_t pi = (uint64_t)scaled;
    printf("%llu of %llu points inside\n", (unsigned long long)inside, (unsigned long long)points);
    printf("pi is about %llu.%06llu\n", (unsigned long long)(pi / 1000000), (unsigned long long)(pi % 1000000));
    return fflush(stdout) ? 1 : 0;
}
