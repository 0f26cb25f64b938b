// Floating point and its edges: NaN, infinities, rounding, conversions, libm, sorting.
#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void bits(const char *what, double value) {
    uint64_t raw;
    memcpy(&raw, &value, 8);
    printf("%s %016" PRIx64 "\n", what, raw);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(void) {
    volatile double zero = 0, one = 1, huge = 1e308;
    bits("0/0", zero / zero);
    bits("inf-inf", one / zero - one / zero);
    bits("sqrt(-1)", sqrt(-one));
    bits("nan of a payload", fabs(nan("0x123")) + one);
    bits("-0", -zero);
    bits("overflow", huge * 10);
    bits("least", 5e-324);
    bits("0.1+0.2", 0.1 + one * 0.2);
    bits("sin", sin(one * 1e22));
    bits("exp", exp(one));
    bits("pow", pow(one * 1.0000001, 1e7));
    bits("fma", fma(one * 0.1, 10, -1));
    bits("cbrt", cbrt(one * 2));
    bits("tgamma", tgamma(one * 5.5));
    printf("rint %g %g %g %g\n", rint(0.5), rint(1.5), rint(-2.5), nearbyint(2.5));
    printf("round %ld floor %g ceil %g trunc %g\n", lround(-2.5), floor(-0.5), ceil(-0.5), trunc(-1.7));
    printf("fmod %g remainder %g\n", fmod(-5.5, 3), remainder(5.5, 3));
    printf("strtod %a %a %a\n", strtod("0x1.8p3", NULL), strtod("1e-320", NULL), strtod("nan", NULL));
    printf("strtol %ld %ld\n", strtol("-0x7f", NULL, 16), strtol("999999999999", NULL, 10));
    printf("%.17g %.0f %g\n", 0.1, 2.5, 1e100);
    long double wide = 1.0L / 3;
    printf("%.30Lf\n", wide);
    double list[8] = {3, -1, INFINITY, 0.5, -INFINITY, 2, 1e-300, -0.25};
    qsort(list, 8, sizeof *list, by_value);
    for (int i = 0; i < 8; i++) printf("%g ", list[i]);
    printf("\nrounding mode %d\n", fegetround() == FE_TONEAREST);
    int exponent;
    double fraction = frexp(10, &exponent);
    printf("frexp %g %d ilogb %d\n", fraction, exponent, ilogb(1e10));
    return 0;
}
