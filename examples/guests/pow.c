// Proof of work: the first nonce for which sha256(PREFIX then the nonce in decimal)
// starts with BITS zero bits. A search is cut into ranges, one for each workunit.
//
//   pow PREFIX START COUNT BITS      exit 0 when found, 1 when not in this range
#include "args.h"
#include <string.h>

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t x, int by) {
    return x >> by | x << (32 - by);
}

static void block(uint32_t state[8], const uint8_t *data) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++, data += 4)
        w[i] = (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t a = s[0], e = s[4];
        uint32_t t1 = s[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + K[i] + w[i];
        uint32_t t2 = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, sizeof *s * 7);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

static void sha256(const uint8_t *data, size_t length, uint32_t state[8]) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t last[128] = {0};
    size_t whole = length / 64 * 64, rest = length - whole, end = rest < 56 ? 64 : 128;
    memcpy(state, start, sizeof start);
    for (size_t i = 0; i < whole; i += 64) block(state, data + i);
    memcpy(last, data + whole, rest);
    last[rest] = 0x80;
    uint64_t bits = (uint64_t)length * 8;
    for (size_t i = 0; i < 8; i++) last[end - 1 - i] = (uint8_t)(bits >> (8 * i));
    for (size_t i = 0; i < end; i += 64) block(state, last + i);
}

static unsigned zero_bits(const uint32_t hash[8]) {
    unsigned bits = 0;
    for (int i = 0; i < 8; i++, bits += 32) {
        if (hash[i]) return bits + (unsigned)__builtin_clz(hash[i]);
    }
    return bits;
}

int main(int argc, char **argv) {
    if (argc != 5) usage("pow PREFIX START COUNT BITS");
    uint8_t text[512];
    size_t prefix = strlen(argv[1]);
    if (prefix > sizeof text - 24) usage("pow PREFIX START COUNT BITS, with a PREFIX of at most 488 bytes");
    uint64_t start = number("START", argv[2], 0, UINT64_MAX / 2);
    uint64_t count = number("COUNT", argv[3], 1, UINT64_MAX / 2);
    unsigned bits = (unsigned)number("BITS", argv[4], 0, 256);
    memcpy(text, argv[1], prefix);
    for (uint64_t nonce = start; nonce < start + count; nonce++) {
        uint32_t hash[8];
        int digits = snprintf((char *)text + prefix, sizeof text - prefix, "%llu", (unsigned long long)nonce);
        sha256(text, prefix + (size_t)digits, hash);
        if (zero_bits(hash) < bits) continue;
        printf("%s\n", text);
        for (int i = 0; i < 8; i++) printf("%08x", hash[i]);
        putchar('\n');
        return fflush(stdout) ? 1 : 0;
    }
    fprintf(stderr, "no nonce from %llu on, among %llu\n", (unsigned long long)start, (unsigned long long)count);
    return 1;
}
