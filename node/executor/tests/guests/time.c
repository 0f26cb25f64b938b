// Clocks, sleeping, poll, calendar: time passes only as the world lets it.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long now(clockid_t id) {
    struct timespec t;
    return clock_gettime(id, &t) ? -1 : t.tv_sec * 1000000000ll + t.tv_nsec;
}

int main(void) {
    long long before = now(CLOCK_MONOTONIC), wall = now(CLOCK_REALTIME);
    printf("2023: %d\n", wall >= 1700000000000000000ll && wall < 1700000001000000000ll);
    printf("goes on: %d\n", now(CLOCK_MONOTONIC) > before);
    struct timespec resolution;
    printf("resolution %d\n", clock_getres(CLOCK_MONOTONIC, &resolution) == 0 && resolution.tv_nsec > 0);

    // A day passes at once.
    printf("sleep %u\n", sleep(86400));
    printf("a day: %lld\n", (now(CLOCK_MONOTONIC) - before) / 86400000000000);
    printf("wall too: %lld\n", (now(CLOCK_REALTIME) - wall) / 86400000000000);
    usleep(1000);
    struct timespec rest, wait = {0, 500000000};
    printf("nanosleep %d\n", nanosleep(&wait, &rest));
    wait = (struct timespec){now(CLOCK_REALTIME) / 1000000000 + 10, 0};
    printf("until %d\n", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &wait, NULL));
    printf("reached %d\n", now(CLOCK_REALTIME) / 1000000000 >= wait.tv_sec);

    struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = 1, .events = POLLOUT}};
    int ready = poll(fds, 2, 1000);
    printf("poll %d in %d out %d\n", ready, !!(fds[0].revents & POLLIN), !!(fds[1].revents & POLLOUT));
    before = now(CLOCK_MONOTONIC);
    ready = poll(fds, 0, 250);
    printf("poll for time %d: %s\n", ready, ready < 0 ? strerror(errno) : "ok");
    printf("quarter of a second: %d\n", ready < 0 || now(CLOCK_MONOTONIC) - before >= 250000000);

    struct timeval tv;
    gettimeofday(&tv, NULL);
    time_t t = 1700000000;
    struct tm *utc = gmtime(&t);
    char text[64];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ %A %j", utc);
    printf("%s\n", text);
    printf("back %lld, local the same: %d\n", (long long)timegm(utc), mktime(localtime(&t)) == t);
    printf("day two: %d\n", tv.tv_sec >= 1700086400 && tv.tv_sec < 1700172800);
    return 0;
}
