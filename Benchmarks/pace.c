// Licensed under the Apache License 2.0; see LICENSE.
//
// A load generator that keeps its own time. With a rate it is an open loop: request k is due at start + k / rate whatever became
// of those before, and its latency counts from when it was due, so that a stall is charged to every request it held up. With
// rate 0 it is a closed loop: each connection sends the next request when it has its answer.
//
// Usage: pace PORT REQUEST-FILE CONNECTIONS RATE SECONDS
// The file holds the bytes of one HTTP request. Prints one line of JSON, latencies in microseconds. Answers must be of
// status 200, of the length of the first one, and framed by Content-Length.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 256, SAMPLES_MAX = 4 << 20, HEAD_MAX = 16 << 10 };

struct lane {
    int fd;
    bool busy;
    int64_t due;
    size_t sent, got, want;  // of the request; of the answer; of the whole answer, 0 until its head is complete
    char head[HEAD_MAX];
};

static struct lane lanes[CONNECTIONS_MAX];
static char *request;
static size_t request_count;
static uint32_t *samples;
static size_t sample_count, failures, answer_count;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void give_up(const char *why) {
    fprintf(stderr, "pace: %s\n", why);
    exit(1);
}

static void push(struct lane *lane) {
    while (lane->sent < request_count) {
        ssize_t sent = send(lane->fd, request + lane->sent, request_count - lane->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0) give_up("the connection was closed under a request");
        lane->sent += (size_t)sent;
    }
}

static void start(struct lane *lane, int64_t due) {
    lane->busy = true;
    lane->due = due;
    lane->sent = lane->got = lane->want = 0;
    push(lane);
}

static void look_at_head(struct lane *lane) {
    char *stop = memmem(lane->head, lane->got, "\r\n\r\n", 4);
    if (!stop) {
        if (lane->got == HEAD_MAX) give_up("the head of an answer is too long");
        return;
    }
    size_t length = SIZE_MAX;
    for (char *line = lane->head; line < stop; line = (char *)memmem(line, (size_t)(stop + 2 - line), "\r\n", 2) + 2)
        if (strncasecmp(line, "content-length:", 15) == 0) length = strtoul(line + 15, NULL, 10);
    if (length == SIZE_MAX) give_up("an answer has no Content-Length");
    lane->want = (size_t)(stop + 4 - lane->head) + length;
    if (strncmp(lane->head + 8, " 200", 4) != 0) failures++;
    if (!answer_count) answer_count = length;
    if (length != answer_count) failures++;
}

// Reads what there is; true when the answer is complete.
static bool pull(struct lane *lane) {
    static char rest[1 << 20];
    for (;;) {
        bool in_head = lane->want == 0;
        char *place = in_head ? lane->head + lane->got : rest;
        size_t room = in_head ? HEAD_MAX - lane->got : sizeof rest;
        ssize_t got = recv(lane->fd, place, room, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) return false;
        if (got <= 0) give_up("the connection was closed under an answer");
        lane->got += (size_t)got;
        if (in_head) look_at_head(lane);
        if (lane->want && lane->got >= lane->want) return true;
    }
}

static int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static double at(double part) {
    size_t index = (size_t)(part * (double)(sample_count - 1) + 0.5);
    return samples[index] / 1000.0;
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) give_up("cannot read the request file");
    fseek(file, 0, SEEK_END);
    request_count = (size_t)ftell(file);
    rewind(file);
    request = malloc(request_count);
    if (!request || fread(request, 1, request_count, file) != request_count) give_up("cannot read the request file");
    fclose(file);
}

static void connect_all(int epoll, int count, int port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int index = 0; index < count; index++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
        if (connect(fd, (struct sockaddr *)&address, sizeof address)) give_up("nobody listens at the port");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        lanes[index].fd = fd;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = (uint32_t)index};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    if (argc != 6) return fprintf(stderr, "usage: pace PORT REQUEST-FILE CONNECTIONS RATE SECONDS\n"), 64;
    int count = atoi(argv[3]);
    double rate = atof(argv[4]), seconds = atof(argv[5]);
    if (count < 1 || count > CONNECTIONS_MAX) give_up("between 1 and 256 connections");
    read_request(argv[2]);
    samples = malloc(SAMPLES_MAX * sizeof *samples);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    connect_all(epoll, count, atoi(argv[1]));

    // The timer fires at each due time; a request that finds no free connection waits in `due_next` until one is free.
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
    int64_t gap = rate > 0 ? (int64_t)(1e9 / rate) : 0;
    int64_t begin = now() + 1000000, end = begin + (int64_t)(seconds * 1e9), due_next = begin;
    if (gap) {
        struct itimerspec beat = {{0, gap}, {begin / 1000000000, begin % 1000000000}};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &beat, NULL);
    }
    for (int index = 0; index < count && !gap; index++) start(&lanes[index], now());

    int busy = gap ? 0 : count;
    int64_t deadline = end + 10000000000LL, done_at = end;
    while (now() < deadline) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll, events, 64, 100);
        for (int index = 0; index < ready; index++) {
            if (events[index].data.u32 == UINT32_MAX) {
                uint64_t ticks;
                if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) give_up("the timer is broken");
                continue;
            }
            struct lane *lane = &lanes[events[index].data.u32];
            if (!lane->busy) continue;
            push(lane);
            if (!pull(lane)) continue;
            int64_t took = now() - lane->due;
            if (sample_count < SAMPLES_MAX) samples[sample_count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
            lane->busy = false;
            busy--;
            if (!gap && now() < end) start(lane, now()), busy++;
        }
        for (int index = 0; gap && index < count && due_next <= now() && due_next < end; index++) {
            if (lanes[index].busy) continue;
            start(&lanes[index], due_next);
            busy++;
            due_next += gap;
        }
        done_at = now();
        if (busy == 0 && done_at >= end) break;
    }
    size_t missing = (size_t)busy + (gap && due_next < end ? (size_t)((end - due_next) / gap) : 0);
    if (!sample_count) give_up("no request was answered");
    qsort(samples, sample_count, sizeof *samples, by_size);
    printf(
        "{\"answered\":%zu,\"failed\":%zu,\"missing\":%zu,\"rate\":%.1f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,"
        "\"p999\":%.2f,\"max\":%.2f}\n",
        sample_count, failures, missing, (double)sample_count / ((double)(done_at - begin) / 1e9), at(0.5), at(0.9), at(0.99),
        at(0.999), at(1));
    return 0;
}
