// Level compute: speaks what it reads, as a WAV file, with the flite engine and its
// voice kal. scripts/guests says where the engine's sources come from.
#include "../stream.h"
#include <flite.h>

#define MAX_TEXT (1u << 20)

cst_voice *register_cmu_us_kal(const char *folder);

// The libc asks for folders before anything else. There are none at this level, and no
// call to ask: this takes the place of its import. 8 is EBADF.
int32_t __imported_wasi_snapshot_preview1_fd_prestat_get(int32_t fd, int32_t about) {
    (void)fd, (void)about;
    return 8;
}

static void put(uint8_t *at, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static bool write_wav(int out, const cst_wave *wave) {
    uint32_t rate = (uint32_t)wave->sample_rate, channels = (uint32_t)wave->num_channels;
    uint32_t bytes = (uint32_t)wave->num_samples * channels * 2;
    uint8_t head[44] = "RIFF....WAVEfmt ................data....";
    put(head + 4, bytes + 36, 4);
    put(head + 16, 16, 4);
    put(head + 20, 1, 2);
    put(head + 22, channels, 2);
    put(head + 24, rate, 4);
    put(head + 28, rate * channels * 2, 4);
    put(head + 32, channels * 2, 2);
    put(head + 34, 16, 2);
    put(head + 40, bytes, 4);
    for (int i = 0; i < 4; i++) head[36 + i] = (uint8_t) "data"[i];
    return write_fully(out, head, sizeof head) && write_fully(out, (const uint8_t *)wave->samples, bytes);
}

EXPORT_COMPUTE int compute(int in, int out) {
    static uint8_t text[MAX_TEXT + 1];
    ptrdiff_t got = read_fully(in, text, MAX_TEXT + 1);
    if (got < 0) return 1;
    if (got > (ptrdiff_t)MAX_TEXT) return 3;
    text[got] = 0;
    flite_init();
    cst_voice *voice = register_cmu_us_kal(NULL);
    cst_wave *wave = voice ? flite_text_to_wave((const char *)text, voice) : NULL;
    if (!wave) return 4;
    return write_wav(out, wave) ? 0 : 2;
}
