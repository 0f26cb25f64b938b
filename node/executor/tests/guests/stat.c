// stat, times set and read back, truncate, allocate, access, and modes of opening.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void try(const char *what, int result) {
    printf("%s: %s\n", what, result == 0 ? "ok" : strerror(errno));
}

static void about(const char *path) {
    struct stat s;
    if (stat(path, &s) != 0) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    printf("%s: %s of %lld bytes\n", path, S_ISDIR(s.st_mode) ? "folder" : S_ISREG(s.st_mode) ? "file" : "other",
           S_ISREG(s.st_mode) ? (long long)s.st_size : 0);
}

int main(void) {
    int fd = open("/f", O_CREAT | O_RDWR | O_EXCL, 0600);
    if (fd < 0) return 1;
    struct stat s;
    fstat(fd, &s);
    time_t made = s.st_mtim.tv_sec;
    // The world's clock starts in November 2023.
    printf("made in 2023: %d\n", made >= 1699999999 && made < 1700100000);
    about("/");
    try("ftruncate", ftruncate(fd, 1000));
    about("/f");
    try("posix_fallocate", (errno = posix_fallocate(fd, 0, 2000)) ? -1 : 0);
    fstat(fd, &s);
    printf("size after allocating: %s\n", s.st_size == 2000 ? "2000" : s.st_size == 1000 ? "1000" : "other");
    try("ftruncate to less", ftruncate(fd, 5));
    about("/f");
    printf("pwrite %zd\n", pwrite(fd, "abc", 3, 8));
    char text[16] = "";
    printf("pread %zd %c%c%c\n", pread(fd, text, sizeof text, 8), text[0], text[1], text[2]);
    printf("offset stays %lld\n", (long long)lseek(fd, 0, SEEK_CUR));
    printf("beyond the end %lld, read %zd\n", (long long)lseek(fd, 100, SEEK_SET), read(fd, text, 4));
    printf("negative offset: %s\n", lseek(fd, -1, SEEK_SET) < 0 ? strerror(errno) : "ok");
    try("futimens", futimens(fd, (struct timespec[]){{1, 2}, {3, 4}}));
    fstat(fd, &s);
    printf("times %lld.%09ld %lld.%09ld\n", (long long)s.st_atim.tv_sec, s.st_atim.tv_nsec, (long long)s.st_mtim.tv_sec,
           s.st_mtim.tv_nsec);
    try("utimensat now and omitted",
        utimensat(AT_FDCWD, "/f", (struct timespec[]){{0, UTIME_OMIT}, {0, UTIME_NOW}}, 0));
    stat("/f", &s);
    printf("omitted %lld, now %d\n", (long long)s.st_atim.tv_sec, s.st_mtim.tv_sec >= made);
    close(fd);
    printf("closed twice: %s\n", close(fd) ? strerror(errno) : "ok");

    try("access", access("/f", R_OK | W_OK));
    try("access of nothing", access("/none", F_OK));
    fd = open("/f", O_RDONLY);
    printf("write to what is open for reading: %s\n", write(fd, "x", 1) < 0 ? strerror(errno) : "ok");
    try("fsync", fsync(fd));
    close(fd);
    fd = open("/f", O_WRONLY | O_APPEND);
    printf("read from what is open for writing: %s\n", read(fd, text, 1) < 0 ? strerror(errno) : "ok");
    lseek(fd, 0, SEEK_SET);
    printf("append %zd\n", write(fd, "end", 3));
    printf("flags %d\n", (fcntl(fd, F_GETFL) & O_APPEND) != 0);
    close(fd);
    about("/f");
    printf("folder for writing: %s\n", open("/", O_WRONLY) < 0 ? strerror(errno) : "ok");
    printf("file as folder: %s\n", open("/f", O_RDONLY | O_DIRECTORY) < 0 ? strerror(errno) : "ok");
    printf("again exclusively: %s\n", open("/f", O_CREAT | O_EXCL | O_RDWR, 0600) < 0 ? strerror(errno) : "ok");
    fd = open("/f", O_RDWR | O_TRUNC);
    close(fd);
    about("/f");
    try("unlink", unlink("/f"));
    return 0;
}
