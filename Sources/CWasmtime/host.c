// Licensed under the Apache License 2.0; see LICENSE.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "cwasm_host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

typedef struct {
    void (*body)(void *);
    void *context;
    char name[16];
} start_t;

static void *begin_thread(void *raw) {
    start_t start = *(start_t *)raw;
    free(raw);
    pthread_setname_np(pthread_self(), start.name);
    start.body(start.context);
    return NULL;
}

bool cwasm_start_thread(const char *name, size_t stack_bytes, void (*body)(void *), void *context) {
    start_t *start = calloc(1, sizeof *start);
    if (!start) return false;
    start->body = body;
    start->context = context;
    snprintf(start->name, sizeof start->name, "%s", name);
    // A trap in a guest arrives as a signal of the faulting thread; all others belong to the daemon's own thread.
    sigset_t blocked, before;
    sigfillset(&blocked);
    const int needed[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
    for (size_t index = 0; index < sizeof needed / sizeof *needed; index++) sigdelset(&blocked, needed[index]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int result = pthread_create(&thread, &attributes, begin_thread, start);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) free(start);
    return result == 0;
}

// MARK: Children

static int spawn(const char *path, char *const argv[], int standard_error, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, standard_error, 2);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, usual;
    sigemptyset(&none);
    sigfillset(&usual);
    sigdelset(&usual, SIGKILL);
    sigdelset(&usual, SIGSTOP);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char *const environment[] = {NULL};
    int result = posix_spawn(pid, path, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

// Reads until the child has closed its end. False when the time is over first.
static bool drain(int descriptor, uint64_t deadline, const cwasm_flag_t *flag, char *text, size_t text_count) {
    size_t used = 0;
    while (cwasm_monotonic() < deadline && !(flag && cwasm_flag_is_raised(flag))) {
        struct pollfd wanted = {descriptor, POLLIN, 0};
        if (poll(&wanted, 1, 20) <= 0) continue;
        char bytes[512];
        ssize_t count = read(descriptor, bytes, sizeof bytes);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (count <= 0) return true;
        size_t left = text_count - 1 - used, taken = (size_t)count < left ? (size_t)count : left;
        memcpy(text + used, bytes, taken);
        used += taken;
        text[used] = 0;
    }
    return false;
}

enum cwasm_child cwasm_run_child(
    const char *path, char *const argv[], uint64_t timeout_ms, const cwasm_flag_t *flag, char *text,
    size_t text_count) {
    text[0] = 0;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        snprintf(text, text_count, "no pipe could be made: %s", strerror(errno));
        return CWASM_CHILD_NOT_BEGUN;
    }
    pid_t pid = 0;
    int result = spawn(path, argv, ends[1], &pid);
    close(ends[1]);
    if (result != 0) {
        close(ends[0]);
        snprintf(text, text_count, "%s could not be started: %s", path, strerror(result));
        return CWASM_CHILD_NOT_BEGUN;
    }
    uint64_t deadline = cwasm_monotonic() + timeout_ms * 1000000u;
    bool in_time = drain(ends[0], deadline, flag, text, text_count);
    close(ends[0]);
    if (!in_time) kill(pid, SIGKILL);
    int status = 0;
    pid_t ended;
    while ((ended = waitpid(pid, &status, in_time ? WNOHANG : 0)) == 0 || (ended < 0 && errno == EINTR)) {
        if (in_time && cwasm_monotonic() >= deadline) {
            in_time = false;
            kill(pid, SIGKILL);
        }
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    if (!in_time) return CWASM_CHILD_OVERRAN;
    // Somebody else in the process may have collected it; what it wrote is then checked all the same.
    if (ended < 0) return CWASM_CHILD_DONE;
    if (WIFEXITED(status)) return WEXITSTATUS(status) == 0 ? CWASM_CHILD_DONE : CWASM_CHILD_REFUSED;
    return CWASM_CHILD_KILLED;
}

static bool limit(int what, uint64_t value) {
    struct rlimit both = {value, value};
    return setrlimit((__rlimit_resource_t)what, &both) == 0;
}

bool cwasm_become_child(const char *name, uint64_t memory_bytes_max, uint64_t cpu_seconds_max) {
    prctl(PR_SET_NAME, name);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return limit(RLIMIT_CORE, 0) && limit(RLIMIT_AS, memory_bytes_max) && limit(RLIMIT_CPU, cpu_seconds_max);
}

void cwasm_cpu(char *text, size_t text_count) {
    struct utsname names;
    const char *machine = uname(&names) == 0 ? names.machine : "unknown";
    unsigned first[4] = {0}, second[4] = {0};
#if defined(__x86_64__)
    __get_cpuid(1, &first[0], &first[1], &first[2], &first[3]);
    __get_cpuid_count(7, 0, &second[0], &second[1], &second[2], &second[3]);
    // EBX of leaf 1 names the core that answered and differs from core to core.
    first[0] = first[1] = second[0] = 0;
#elif defined(__aarch64__)
    first[0] = (unsigned)getauxval(AT_HWCAP);
    second[0] = (unsigned)getauxval(AT_HWCAP2);
#endif
    snprintf(
        text, text_count, "%s %x.%x.%x %x.%x.%x", machine, first[0], first[2], first[3], second[1], second[2],
        second[0] | second[3]);
}

bool cwasm_can_reserve(uint64_t bytes) {
    void *place = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) return false;
    munmap(place, bytes);
    return true;
}
