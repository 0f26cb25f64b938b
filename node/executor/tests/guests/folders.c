// opendir, readdir, seekdir, scandir, mkdir, rmdir, nested removal, and what fails.
#include <dirent.h>
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

static void touch(const char *path) {
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    if (fd < 0) printf("touch %s: %s\n", path, strerror(errno));
    else close(fd);
}

static const char *kind(int type) {
    return type == DT_DIR ? "folder" : type == DT_REG ? "file" : type == DT_LNK ? "link" : "other";
}

int main(void) {
    try("mkdir", mkdir("/d", 0755));
    try("mkdir again", mkdir("/d", 0755));
    try("mkdir below nothing", mkdir("/x/y", 0755));
    char path[64];
    for (int i = 20; i > 0; i--) {
        snprintf(path, sizeof path, "/d/file%02d", i);
        touch(path);
    }
    mkdir("/d/sub", 0755);
    mkdir("/d/sub/deeper", 0755);
    try("symlink", symlink("file01", "/d/link"));
    touch("/d/file01/below");
    touch("/d/");

    DIR *dir = opendir("/d");
    if (!dir) return 1;
    long third = 0;
    char after[64] = "";
    int entries = 0;
    for (struct dirent *e; (e = readdir(dir)); entries++) {
        printf("%s %s%s", kind(e->d_type), e->d_name, e->d_ino || e->d_name[0] == '.' ? "\n" : " has no inode\n");
        if (entries == 2) third = telldir(dir);
        if (entries == 3) strcpy(after, e->d_name);
    }
    printf("entries %d\n", entries);
    seekdir(dir, third);
    struct dirent *e = readdir(dir);
    printf("after going back: %s\n", e && strcmp(e->d_name, after) == 0 ? "the same" : "another");
    rewinddir(dir);
    e = readdir(dir);
    printf("first again: %s\n", e ? e->d_name : "none");
    closedir(dir);

    struct dirent **list;
    int count = scandir("/d", &list, NULL, alphasort);
    printf("scandir %d, last %s\n", count, count > 0 ? list[count - 1]->d_name : "");
    printf("opendir of a file: %s\n", opendir("/d/file01") ? "ok" : strerror(errno));
    printf("opendir of nothing: %s\n", opendir("/none") ? "ok" : strerror(errno));

    // Removing while listing shows every entry once.
    dir = opendir("/d");
    int removed = 0;
    while ((e = readdir(dir))) {
        if (e->d_type != DT_REG) continue;
        snprintf(path, sizeof path, "/d/%s", e->d_name);
        if (unlink(path) == 0) removed++;
    }
    closedir(dir);
    printf("removed %d\n", removed);
    try("rmdir of a full folder", rmdir("/d"));
    try("rmdir of a link", rmdir("/d/link"));
    try("unlink of a folder", unlink("/d/sub"));
    try("rmdir deeper", rmdir("/d/sub/deeper"));
    try("rmdir sub", rmdir("/d/sub"));
    try("unlink link", unlink("/d/link"));
    try("rmdir", rmdir("/d"));
    try("rmdir again", rmdir("/d"));
    return 0;
}
