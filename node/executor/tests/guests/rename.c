// rename over files and folders, into itself, across folders; hard links; what fails.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void try(const char *what, int result) {
    printf("%s: %s\n", what, result == 0 ? "ok" : strerror(errno));
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) printf("put %s: %s\n", path, strerror(errno));
    close(fd);
}

static void show(const char *path) {
    char text[32] = "";
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    ssize_t got = read(fd, text, sizeof text - 1);
    struct stat about;
    fstat(fd, &about);
    printf("%s: %.*s, %d links\n", path, (int)(got < 0 ? 0 : got), text, (int)about.st_nlink);
    close(fd);
}

int main(void) {
    put("/a", "one");
    put("/b", "two");
    try("file over file", rename("/a", "/b"));
    show("/a");
    show("/b");
    try("onto itself", rename("/b", "/b"));
    try("nothing", rename("/none", "/c"));
    mkdir("/d", 0755);
    mkdir("/d/e", 0755);
    mkdir("/f", 0755);
    try("file over folder", rename("/b", "/d"));
    try("folder over file", rename("/d", "/b"));
    try("folder into itself", rename("/d", "/d/e/g"));
    try("over a full folder", rename("/f", "/d"));
    try("over an empty folder", rename("/d", "/f"));
    try("file into folder", rename("/b", "/f/e/b"));
    show("/f/e/b");
    try("to a name with a slash", rename("/f/e/b", "/f/e/c/"));
    try("hard link", link("/f/e/b", "/h"));
    show("/h");
    put("/h", "through the link");
    show("/f/e/b");
    try("one link over the other", rename("/h", "/f/e/b"));
    show("/h");
    try("link to a folder", link("/f", "/g"));
    try("link over a file", link("/f/e/b", "/h"));

    // An open file lives on without its name.
    int fd = open("/f/e/b", O_RDWR);
    try("unlink open", unlink("/f/e/b"));
    char text[32] = "";
    ssize_t got = read(fd, text, 7);
    struct stat about;
    printf("still there: %.*s, %d\n", (int)got, text, fstat(fd, &about));
    printf("links %d\n", (int)about.st_nlink);
    close(fd);
    unlink("/h");
    rmdir("/f/e");
    rmdir("/f");
    return 0;
}
