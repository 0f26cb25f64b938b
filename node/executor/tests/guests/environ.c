// Arguments, environment, and what a program may ask about itself.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
    printf("%d arguments\n", argc);
    for (int i = 1; i < argc; i++) printf("[%s]\n", argv[i]);
    int count = 0;
    for (char **e = environ; e && *e; e++, count++) printf("%s\n", *e);
    printf("%d variables\n", count);
    printf("A is %s\n", getenv("A") ? getenv("A") : "not set");
    printf("EMPTY is %s\n", getenv("EMPTY") ? *getenv("EMPTY") ? "something" : "empty" : "not set");
    setenv("A", "changed", 1);
    setenv("NEW", "1", 1);
    unsetenv("EMPTY");
    printf("%s %s %s\n", getenv("A"), getenv("NEW"), getenv("EMPTY") ? "set" : "gone");
    char path[64];
    printf("folder %s\n", getcwd(path, sizeof path) ? path : strerror(errno));
    for (int fd = 0; fd < 3; fd++) printf("terminal %d: %d\n", fd, isatty(fd));
    return 0;
}
