// Counts lines, words and bytes of files, or of standard input, as wc does.
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct count {
    uint64_t lines, words, bytes;
};

// What separates words: the white space of the C locale.
static bool blank(unsigned char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool count(FILE *in, struct count *n) {
    static unsigned char buffer[1 << 16];
    bool word = false;
    size_t got;
    while ((got = fread(buffer, 1, sizeof buffer, in)) > 0) {
        n->bytes += got;
        for (size_t i = 0; i < got; i++) {
            n->lines += buffer[i] == '\n';
            n->words += !word && !blank(buffer[i]);
            word = !blank(buffer[i]);
        }
    }
    return !ferror(in);
}

static void print(const struct count *n, const char *name) {
    printf("%8llu %8llu %8llu%s%s\n", (unsigned long long)n->lines, (unsigned long long)n->words,
           (unsigned long long)n->bytes, *name ? " " : "", name);
}

int main(int argc, char **argv) {
    struct count total = {0};
    int status = 0;
    if (argc < 2) {
        if (!count(stdin, &total)) {
            fprintf(stderr, "wc: standard input: %s\n", strerror(errno));
            return 1;
        }
        print(&total, "");
    }
    for (int i = 1; i < argc; i++) {
        struct count one = {0};
        bool standard = strcmp(argv[i], "-") == 0;
        FILE *in = standard ? stdin : fopen(argv[i], "rb");
        if (!in || !count(in, &one)) {
            fprintf(stderr, "wc: %s: %s\n", argv[i], strerror(errno));
            status = 1;
        } else {
            print(&one, argv[i]);
        }
        if (in && !standard) fclose(in);
        total.lines += one.lines;
        total.words += one.words;
        total.bytes += one.bytes;
    }
    if (argc > 2) print(&total, "total");
    return fflush(stdout) ? 1 : status;
}
