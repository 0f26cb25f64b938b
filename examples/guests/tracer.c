// Path tracer: one tile of a picture of spheres on a plane, as PPM or PNG.
//
//   tracer WIDTH HEIGHT X Y W H SAMPLES OUT.ppm|OUT.png
//
// The picture has WIDTH x HEIGHT pixels; the tile starts at X, Y and has W x H.
// Every pixel has its own random numbers, so tiles fit together whatever their cut.
// Only + - * / and the square root are used, which are exact everywhere.
#include "args.h"
#include "picture.h"
#include "random.h"
#include <stdbool.h>
#include <string.h>

typedef struct {
    double x, y, z;
} vec;

static vec v(double x, double y, double z) { return (vec){x, y, z}; }
static vec add(vec a, vec b) { return v(a.x + b.x, a.y + b.y, a.z + b.z); }
static vec sub(vec a, vec b) { return v(a.x - b.x, a.y - b.y, a.z - b.z); }
static vec scale(vec a, double by) { return v(a.x * by, a.y * by, a.z * by); }
static vec times(vec a, vec b) { return v(a.x * b.x, a.y * b.y, a.z * b.z); }
static double dot(vec a, vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static vec unit(vec a) { return scale(a, 1 / __builtin_sqrt(dot(a, a))); }

enum surface { MATT, METAL, GLASS };

static const struct sphere {
    vec centre;
    double radius;
    vec colour;
    enum surface surface;
} scene[] = {
    {{0, -1000, 0}, 1000, {0.42, 0.42, 0.38}, MATT}, {{0, 1, 0}, 1, {0.95, 0.95, 0.95}, GLASS},
    {{-2.3, 1, -0.6}, 1, {0.75, 0.25, 0.2}, MATT},  {{2.2, 1, 0.4}, 1, {0.85, 0.75, 0.5}, METAL},
    {{-0.9, 0.4, 1.7}, 0.4, {0.2, 0.5, 0.75}, MATT}, {{0.9, 0.35, 1.9}, 0.35, {0.9, 0.9, 0.9}, METAL},
    {{0.1, 0.25, 2.4}, 0.25, {0.3, 0.65, 0.3}, MATT},
};

// From 0 up to, not including, 1.
static double chance(uint64_t *state) {
    return (double)(next_random(state) >> 11) / 9007199254740992.0;
}

// A direction, every one as likely as any other.
static vec anywhere(uint64_t *state) {
    for (;;) {
        vec p = v(chance(state) * 2 - 1, chance(state) * 2 - 1, chance(state) * 2 - 1);
        double square = dot(p, p);
        if (square > 0.0001 && square < 1) return unit(p);
    }
}

static const struct sphere *hit(vec from, vec to, double *distance) {
    const struct sphere *found = NULL;
    *distance = 1e9;
    for (size_t i = 0; i < sizeof scene / sizeof *scene; i++) {
        vec away = sub(from, scene[i].centre);
        double half = dot(away, to), inside = half * half - dot(away, away) + scene[i].radius * scene[i].radius;
        if (inside < 0) continue;
        double depth = __builtin_sqrt(inside), near = -half - depth;
        if (near < 0.001) near = -half + depth;
        if (near < 0.001 || near >= *distance) continue;
        *distance = near;
        found = &scene[i];
    }
    return found;
}

static vec mirror(vec to, vec normal) {
    return sub(to, scale(normal, 2 * dot(to, normal)));
}

static vec through_glass(vec to, vec normal, bool entering, uint64_t *state) {
    double ratio = entering ? 1 / 1.5 : 1.5, cosine = -dot(to, normal);
    double sine_square = ratio * ratio * (1 - cosine * cosine);
    double r0 = 0.04, c = 1 - cosine, reflectance = r0 + (1 - r0) * c * c * c * c * c;
    if (sine_square > 1 || chance(state) < reflectance) return mirror(to, normal);
    return unit(add(scale(to, ratio), scale(normal, ratio * cosine - __builtin_sqrt(1 - sine_square))));
}

static vec sky(vec to) {
    double up = 0.5 * (to.y + 1);
    vec light = add(scale(v(0.8, 0.77, 0.72), 1 - up), scale(v(0.36, 0.52, 0.8), up));
    // The sun, wide and warm.
    return dot(to, unit(v(-0.5, 0.8, 0.45))) > 0.93 ? add(light, v(3.2, 2.8, 2.1)) : light;
}

static vec trace(vec from, vec to, uint64_t *state) {
    vec light = v(1, 1, 1);
    for (int bounce = 0; bounce < 24; bounce++) {
        double distance;
        const struct sphere *sphere = hit(from, to, &distance);
        if (!sphere) return times(light, sky(to));
        from = add(from, scale(to, distance));
        vec normal = scale(sub(from, sphere->centre), 1 / sphere->radius);
        bool entering = dot(to, normal) < 0;
        if (!entering) normal = scale(normal, -1);
        light = times(light, sphere->colour);
        if (sphere->surface == GLASS) to = through_glass(to, normal, entering, state);
        else if (sphere->surface == METAL) to = unit(add(mirror(to, normal), scale(anywhere(state), 0.05)));
        else to = unit(add(normal, scale(anywhere(state), 0.999)));
    }
    return v(0, 0, 0);
}

static uint8_t byte(double light) {
    double shown = __builtin_sqrt(light < 0 ? 0 : light > 1 ? 1 : light);
    return (uint8_t)(shown * 255 + 0.5);
}

static void pixel(uint32_t width, uint32_t height, uint32_t x, uint32_t y, uint32_t samples, uint8_t out[3]) {
    vec eye = v(0, 2.2, 7.5), ahead = unit(sub(v(0, 0.8, 0), eye));
    vec right = unit(v(-ahead.z, 0, ahead.x));
    vec up = v(right.y * ahead.z - right.z * ahead.y, right.z * ahead.x - right.x * ahead.z,
               right.x * ahead.y - right.y * ahead.x);
    uint64_t state = (uint64_t)y << 32 | x;
    vec sum = v(0, 0, 0);
    for (uint32_t i = 0; i < samples; i++) {
        double sx = (2 * (x + chance(&state)) - width) / height, sy = (height - 2 * (y + chance(&state))) / height;
        vec to = unit(add(ahead, add(scale(right, sx * 0.42), scale(up, sy * 0.42))));
        sum = add(sum, trace(eye, to, &state));
    }
    sum = scale(sum, 1.0 / samples);
    out[0] = byte(sum.x);
    out[1] = byte(sum.y);
    out[2] = byte(sum.z);
}

int main(int argc, char **argv) {
    const char *help = "tracer WIDTH HEIGHT X Y W H SAMPLES OUT.ppm|OUT.png";
    if (argc != 9) usage(help);
    uint32_t width = (uint32_t)number("WIDTH", argv[1], 1, 16384), height = (uint32_t)number("HEIGHT", argv[2], 1, 16384);
    uint32_t left = (uint32_t)number("X", argv[3], 0, width - 1), top = (uint32_t)number("Y", argv[4], 0, height - 1);
    uint32_t w = (uint32_t)number("W", argv[5], 1, width - left), h = (uint32_t)number("H", argv[6], 1, height - top);
    uint32_t samples = (uint32_t)number("SAMPLES", argv[7], 1, 65536);
    const char *end = strrchr(argv[8], '.');
    bool png = end && strcmp(end, ".png") == 0;
    if (!png && !(end && strcmp(end, ".ppm") == 0)) usage(help);
    uint8_t *tile = malloc((size_t)w * h * 3);
    if (!tile) {
        fprintf(stderr, "error: no memory for a tile of %u x %u pixels\n", w, h);
        return 1;
    }
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++)
            pixel(width, height, left + x, top + y, samples, tile + ((size_t)y * w + x) * 3);
    FILE *out = fopen(argv[8], "wb");
    if (!out) {
        perror(argv[8]);
        return 1;
    }
    if (png) write_png(out, w, h, tile);
    else write_ppm(out, w, h, tile);
    if (ferror(out) | fclose(out)) {
        perror(argv[8]);
        return 1;
    }
    printf("%s: %u x %u pixels at %u, %u of %u x %u\n", argv[8], w, h, left, top, width, height);
    return fflush(stdout) ? 1 : 0;
}
