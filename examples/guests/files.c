// Works on many files: makes them in folders, writes, reads back, renames, lists, removes.
//
//   files DIR COUNT BYTES
//
// What stays in DIR: one half of the files, renamed, and a file "sum" with what was read.
#include "args.h"
#include "random.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER 256
#define PATH 1024

static _Noreturn void fail(const char *what, const char *path) {
    fprintf(stderr, "error: cannot %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static const char *path_of(char *path, const char *dir, uint64_t file, const char *ending) {
    snprintf(path, PATH, "%s/%llu/%llu%s", dir, (unsigned long long)(file / FOLDER), (unsigned long long)file, ending);
    return path;
}

static void write_file(const char *path, const uint8_t *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0) fail("create", path);
    for (size_t done = 0; done < count;) {
        ssize_t wrote = write(fd, bytes + done, count - done);
        if (wrote <= 0) fail("write", path);
        done += (size_t)wrote;
    }
    if (close(fd) != 0) fail("close", path);
}

// FNV-1a, eight bytes at a time.
static uint64_t hash(uint64_t sum, const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i + 8 <= count; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        sum = (sum ^ word) * 0x100000001b3;
    }
    return sum;
}

static uint64_t read_file(const char *path, uint8_t *bytes, size_t count, uint64_t sum) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) fail("open", path);
    struct stat about;
    if (fstat(fd, &about) != 0 || (uint64_t)about.st_size != count) fail("measure", path);
    for (size_t done = 0; done < count;) {
        ssize_t got = read(fd, bytes + done, count - done);
        if (got <= 0) fail("read", path);
        done += (size_t)got;
    }
    close(fd);
    return hash(sum, bytes, count);
}

static uint64_t list(const char *dir, uint64_t *sum) {
    DIR *open_dir = opendir(dir);
    if (!open_dir) fail("list", dir);
    uint64_t entries = 0;
    for (struct dirent *entry; (entry = readdir(open_dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        entries++;
        // The order of a listing is not part of the sum.
        *sum += hash(0xcbf29ce484222325, (const uint8_t *)entry->d_name, strlen(entry->d_name) / 8 * 8) + strlen(entry->d_name);
    }
    closedir(open_dir);
    return entries;
}

int main(int argc, char **argv) {
    if (argc != 4) usage("files DIR COUNT BYTES");
    const char *dir = argv[1];
    if (strlen(dir) > PATH - 64) usage("files DIR COUNT BYTES, with a DIR of at most 960 bytes");
    uint64_t count = number("COUNT", argv[2], 1, 50000), bytes = number("BYTES", argv[3], 0, 1 << 24);
    uint8_t *data = malloc(bytes + 8);
    if (!data) fail("have memory for", "a file");
    uint64_t state = 1, sum = 0xcbf29ce484222325, listed = 0;
    char path[PATH], other[PATH];

    for (uint64_t i = 0; i < count; i++) {
        if (i % FOLDER == 0) {
            snprintf(path, sizeof path, "%s/%llu", dir, (unsigned long long)(i / FOLDER));
            if (mkdir(path, 0755) != 0) fail("make", path);
        }
        for (uint64_t at = 0; at < bytes; at += 8) {
            uint64_t word = next_random(&state);
            memcpy(data + at, &word, 8);
        }
        write_file(path_of(path, dir, i, ""), data, bytes);
    }
    for (uint64_t i = 0; i < count; i++) {
        sum = read_file(path_of(path, dir, i, ""), data, bytes, sum);
        if (rename(path, path_of(other, dir, i, ".done")) != 0) fail("rename", path);
    }
    for (uint64_t i = 0; i < count; i += FOLDER) {
        snprintf(path, sizeof path, "%s/%llu", dir, (unsigned long long)(i / FOLDER));
        listed += list(path, &sum);
    }
    for (uint64_t i = 1; i < count; i += 2)
        if (unlink(path_of(path, dir, i, ".done")) != 0) fail("remove", path);
    snprintf(path, sizeof path, "%s/sum", dir);
    snprintf(other, sizeof other, "%llu files listed, sum %016llx\n", (unsigned long long)listed, (unsigned long long)sum);
    write_file(path, (const uint8_t *)other, strlen(other));
    fputs(other, stdout);
    return fflush(stdout) ? 1 : listed != count;
}
