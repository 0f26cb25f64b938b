// Randomness: the same for equal runs, not constant within one, and of any length.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    unsigned char a[256], b[256];
    if (getentropy(a, sizeof a) != 0 || getentropy(b, sizeof b) != 0) return 1;
    printf("differ %d\n", memcmp(a, b, sizeof a) != 0);
    for (int i = 0; i < 16; i++) printf("%02x", a[i]);
    printf("\ntoo much at once: %d\n", getentropy(a, 257));
    unsigned counts[16] = {0}, low = 0;
    for (int i = 0; i < 4096; i++) {
        uint32_t word = arc4random();
        counts[word >> 28]++;
    }
    for (int i = 0; i < 16; i++) low += counts[i] < 150 || counts[i] > 370;
    printf("uneven %u\n", low);
    srand(1);
    printf("rand %d\n", rand());
    return 0;
}
