// Travelling salesman: a short round trip through N cities of a square map.
//
//   tsp rand N [SEED]   random cities
//   tsp read FILE       one city a line: X Y
//
// The nearest unvisited city comes next; then 2-opt (turn a stretch around) and
// Or-opt (move a city elsewhere) until neither shortens the trip. Distances are
// whole numbers (rounded roots), so that the answer is the same everywhere.
#include "args.h"
#include "random.h"
#include <stdbool.h>
#include <string.h>

#define MAX_CITIES 5000
#define MAP 10000

static int32_t xs[MAX_CITIES], ys[MAX_CITIES];
static int tour[MAX_CITIES];
static int cities;

static int64_t apart(int a, int b) {
    int64_t dx = xs[a] - xs[b], dy = ys[a] - ys[b];
    return (int64_t)(__builtin_sqrt((double)(dx * dx + dy * dy)) + 0.5);
}

static int at(int place) {
    return tour[place % cities];
}

static int64_t length(void) {
    int64_t sum = 0;
    for (int i = 0; i < cities; i++) sum += apart(at(i), at(i + 1));
    return sum;
}

static void nearest_neighbour(void) {
    for (int i = 0; i < cities; i++) tour[i] = i;
    for (int i = 1; i < cities; i++) {
        int best = i;
        for (int j = i + 1; j < cities; j++) {
            if (apart(tour[i - 1], tour[j]) < apart(tour[i - 1], tour[best])) best = j;
        }
        int swap = tour[i];
        tour[i] = tour[best];
        tour[best] = swap;
    }
}

static void reverse(int from, int to) {
    for (; from < to; from++, to--) {
        int swap = tour[from];
        tour[from] = tour[to];
        tour[to] = swap;
    }
}

// One pass of 2-opt; whether it shortened the trip.
static bool two_opt(void) {
    bool better = false;
    for (int i = 0; i < cities - 1; i++) {
        for (int j = i + 2; j < cities; j++) {
            int a = at(i), b = at(i + 1), c = at(j), d = at(j + 1);
            if (a == d) continue;
            if (apart(a, c) + apart(b, d) < apart(a, b) + apart(c, d)) {
                reverse(i + 1, j);
                better = true;
            }
        }
    }
    return better;
}

static void move(int from, int to) {
    int city = tour[from];
    if (from < to) memmove(tour + from, tour + from + 1, sizeof *tour * (size_t)(to - from));
    else memmove(tour + to + 1, tour + to, sizeof *tour * (size_t)(from - to));
    tour[to] = city;
}

// One pass of Or-opt with single cities; whether it shortened the trip.
static bool or_opt(void) {
    bool better = false;
    for (int i = 1; i < cities - 1; i++) {
        int before = at(i - 1), city = at(i), after = at(i + 1);
        int64_t gain = apart(before, city) + apart(city, after) - apart(before, after);
        for (int j = 0; j < cities; j++) {
            if (j == i || j == i - 1) continue;
            int a = at(j), b = at(j + 1);
            if (apart(a, city) + apart(city, b) - apart(a, b) < gain) {
                move(i, j < i ? j + 1 : j);
                better = true;
                break;
            }
        }
    }
    return better;
}

static void random_cities(int count, uint64_t seed) {
    cities = count;
    for (int i = 0; i < count; i++) {
        xs[i] = (int32_t)(next_random(&seed) % MAP);
        ys[i] = (int32_t)(next_random(&seed) % MAP);
    }
}

static void read_cities(const char *path) {
    FILE *in = fopen(path, "r");
    if (!in) {
        perror(path);
        exit(1);
    }
    int x, y, got;
    while ((got = fscanf(in, "%d %d", &x, &y)) == 2) {
        if (cities == MAX_CITIES || x < 0 || y < 0 || x >= MAP || y >= MAP) {
            fprintf(stderr, "error: %s: at most %d cities with coordinates from 0 to %d\n", path, MAX_CITIES, MAP - 1);
            exit(1);
        }
        xs[cities] = x;
        ys[cities++] = y;
    }
    if (got != EOF || cities < 3) {
        fprintf(stderr, "error: %s: at least 3 lines of two numbers are needed\n", path);
        exit(1);
    }
    fclose(in);
}

int main(int argc, char **argv) {
    const char *help = "tsp rand CITIES [SEED] | tsp read FILE";
    if (argc < 3) usage(help);
    if (strcmp(argv[1], "rand") == 0 && argc <= 4) {
        int count = (int)number("CITIES", argv[2], 3, MAX_CITIES);
        random_cities(count, argc == 4 ? number("SEED", argv[3], 0, UINT64_MAX) : 1);
    } else if (strcmp(argv[1], "read") == 0 && argc == 3) {
        read_cities(argv[2]);
    } else {
        usage(help);
    }
    nearest_neighbour();
    int64_t first = length();
    int passes = 0;
    for (bool better = true; better; passes++) {
        better = two_opt();
        better = or_opt() || better;
    }
    printf("cities %d\nnearest neighbour %lld\nafter %d passes %lld\ntour", cities, (long long)first, passes,
           (long long)length());
    for (int i = 0; i < cities; i++) printf(" %d", tour[i]);
    putchar('\n');
    return fflush(stdout) ? 1 : 0;
}
