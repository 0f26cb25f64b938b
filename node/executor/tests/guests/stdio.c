// printf, scanf, seeking and pushing back, buffering, and files through stdio.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    printf("[%5d|%-5d|%05d|%x|%o|%+d|%'d]\n", 42, 42, 42, 255, 8, 1, 1234);
    printf("[%8.3f|%e|%g|%a]\n", 3.14159, 12345.678, 1e-10, 1.0);
    printf("[%10.3s|%-6s|%c|%%|%" PRId64 "]\n", "abcdef", "ab", 'z', INT64_MIN);
    int day, got, used = 0;
    char month[8];
    double value;
    got = sscanf("20 Nov 2.5e1 rest", "%d %7s %lf%n", &day, month, &value, &used);
    printf("%d %d %s %.2f %d\n", got, day, month, value, used);
    got = sscanf("x", "%d", &day);
    printf("%d\n", got);

    int line = 0;
    char text[64];
    while (fgets(text, sizeof text, stdin)) printf("%d: %s%s", ++line, text, strchr(text, '\n') ? "" : "<no newline>\n");
    printf("eof %d error %d\n", !!feof(stdin), !!ferror(stdin));

    FILE *f = fopen("/stdio.txt", "w+");
    if (!f) return 1;
    setvbuf(f, NULL, _IOFBF, 16);
    for (int i = 0; i < 10; i++) fprintf(f, "line %d\n", i);
    printf("tell %ld\n", ftell(f));
    fseek(f, 14, SEEK_SET);
    printf("%s", fgets(text, sizeof text, f));
    fseek(f, -7, SEEK_END);
    printf("%s", fgets(text, sizeof text, f));
    fseek(f, -14, SEEK_CUR);
    int c = fgetc(f);
    ungetc('L', f);
    printf("%c %s", c, fgets(text, sizeof text, f));
    printf("before the start: %d\n", fseek(f, -1, SEEK_SET));
    fseek(f, 100, SEEK_SET);
    fputs("end\n", f);
    rewind(f);
    size_t zeros = 0, bytes = 0;
    while ((c = fgetc(f)) != EOF) {
        bytes++;
        zeros += c == 0;
    }
    printf("bytes %zu zeros %zu\n", bytes, zeros);
    printf("close %d\n", fclose(f));

    f = fopen("/stdio.txt", "a+");
    fputs("more", f);
    fseek(f, 0, SEEK_SET);
    fputs("again", f);
    fseek(f, -9, SEEK_END);
    printf("%s\n", fgets(text, sizeof text, f));
    fclose(f);
    printf("exclusive: %s\n", fopen("/stdio.txt", "wx") ? "opened" : "refused");
    printf("remove %d\n", remove("/stdio.txt"));
    fprintf(stderr, "to standard error\n");
    return fflush(stdout) ? 1 : 0;
}
