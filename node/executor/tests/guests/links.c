// Symbolic links: made, read, followed, dangling, in loops, out of the tree; realpath.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void try(const char *what, int result) {
    printf("%s: %s\n", what, result == 0 ? "ok" : strerror(errno));
}

static void target(const char *path) {
    char text[64];
    ssize_t n = readlink(path, text, sizeof text);
    if (n < 0) printf("%s: %s\n", path, strerror(errno));
    else printf("%s -> %.*s\n", path, (int)n, text);
}

static void follow(const char *path) {
    char text[16];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (n < 0) printf("%s: %s\n", path, strerror(errno));
    else printf("%s: %.*s\n", path, (int)n, text);
    if (fd >= 0) close(fd);
}

static void real(const char *path) {
    char *found = realpath(path, NULL);
    printf("realpath %s: %s\n", path, found ? found : strerror(errno));
    free(found);
}

int main(void) {
    mkdir("/d", 0755);
    mkdir("/d/e", 0755);
    int fd = open("/d/file", O_CREAT | O_WRONLY, 0644);
    if (write(fd, "text", 4) != 4) return 1;
    close(fd);
    try("to a file", symlink("file", "/d/to_file"));
    try("up and down", symlink("../../d/file", "/d/e/up"));
    try("to a folder", symlink("d/e", "/to_folder"));
    try("dangling", symlink("nothing", "/dangling"));
    try("loop one", symlink("loop2", "/loop1"));
    try("loop two", symlink("loop1", "/loop2"));
    try("absolute", symlink("/d/file", "/absolute"));
    try("outside", symlink("../../../etc/passwd", "/outside"));
    try("over a file", symlink("x", "/d/file"));
    target("/d/to_file");
    target("/to_folder");
    target("/d/file");
    char two[2];
    printf("cut to %zd\n", readlink("/d/to_file", two, sizeof two));
    const char *paths[] = {"/d/to_file", "/d/e/up", "/to_folder/up", "/to_folder/../file", "/dangling",
                           "/loop1",     "/absolute", "/outside",    "/d/file/",           "/d/./e/../file"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) follow(paths[i]);
    struct stat s;
    printf("lstat link %d\n", lstat("/dangling", &s) == 0 && S_ISLNK(s.st_mode) && s.st_size == 7);
    printf("not followed: %s\n", open("/d/to_file", O_RDONLY | O_NOFOLLOW) < 0 ? strerror(errno) : "ok");
    fd = open("/dangling", O_CREAT | O_WRONLY, 0644);
    printf("create through a link: %s\n", fd < 0 ? strerror(errno) : stat("/nothing", &s) == 0 ? "made" : "not there");
    if (fd >= 0) close(fd);
    real("/d/e/../to_file");
    real("/none");
    const char *all[] = {"/d/to_file", "/d/e/up", "/to_folder", "/dangling", "/nothing",
                         "/loop1",     "/loop2",  "/absolute",  "/outside",  "/d/file"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (unlink(all[i]) != 0) printf("unlink %s: %s\n", all[i], strerror(errno));
    }
    try("rmdir", rmdir("/d/e"));
    try("rmdir", rmdir("/d"));
    return 0;
}
