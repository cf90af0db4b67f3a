// Licensed under the Apache License 2.0; see LICENSE.
//
// The gateway's side of a start.
#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Descriptors handed over are first moved up here, so that putting them on 0 to 3 in the keeper cannot overwrite one
// that still has to be moved. A gateway whose standard streams are closed would otherwise get pipes on 0 to 2.
#define LOWEST_SOURCE 16

enum { CONTROL, INPUT, OUTPUT, ERRORS, PAIRS };
enum { OURS, THEIRS, ENDS };

static void close_all(int ends[PAIRS][ENDS]) {
    for (int pair = 0; pair < PAIRS; pair++) {
        for (int end = 0; end < ENDS; end++) {
            if (ends[pair][end] >= 0) close(ends[pair][end]);
        }
    }
}

static int raise_descriptor(int *descriptor) {
    if (*descriptor >= LOWEST_SOURCE) return 0;
    int raised = fcntl(*descriptor, F_DUPFD_CLOEXEC, LOWEST_SOURCE);
    if (raised < 0) return errno;
    close(*descriptor);
    *descriptor = raised;
    return 0;
}

static int open_pairs(int ends[PAIRS][ENDS]) {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends[CONTROL]) != 0) return errno;
    for (int pair = INPUT; pair < PAIRS; pair++) {
        int both[2];
        if (pipe2(both, O_CLOEXEC) != 0) return errno;
        int we_write = pair == INPUT;
        ends[pair][OURS] = both[we_write ? 1 : 0];
        ends[pair][THEIRS] = both[we_write ? 0 : 1];
    }
    for (int pair = 0; pair < PAIRS; pair++) {
        for (int end = 0; end < ENDS; end++) {
            int problem = raise_descriptor(&ends[pair][end]);
            if (problem != 0) return problem;
        }
    }
    return 0;
}

// The keeper gets an empty signal mask and default handlers whatever the gateway blocks, the child's environment as
// its own, and exactly four descriptors: 0 to 2 are the child's, 3 is the control socket.
static int spawn(
    const char *executable, char **arguments, char *const *environment, int ends[PAIRS][ENDS], pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int problem = posix_spawn_file_actions_init(&actions);
    if (problem != 0) return problem;
    problem = posix_spawnattr_init(&attributes);
    if (problem != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return problem;
    }
    if (problem == 0) problem = posix_spawn_file_actions_adddup2(&actions, ends[INPUT][THEIRS], 0);
    if (problem == 0) problem = posix_spawn_file_actions_adddup2(&actions, ends[OUTPUT][THEIRS], 1);
    if (problem == 0) problem = posix_spawn_file_actions_adddup2(&actions, ends[ERRORS][THEIRS], 2);
    if (problem == 0) problem = posix_spawn_file_actions_adddup2(&actions, ends[CONTROL][THEIRS], 3);
    if (problem == 0) problem = posix_spawnattr_setsigmask(&attributes, &none);
    if (problem == 0) problem = posix_spawnattr_setsigdefault(&attributes, &all);
    if (problem == 0) {
        problem = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    if (problem == 0) problem = posix_spawn(pid, executable, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return problem;
}

int csystem_keeper_start(const struct csystem_keeper_order *order, struct csystem_keeper_handles *handles) {
    size_t words = 0;
    while (order->command[words] != NULL) words++;
    char **arguments = calloc(words + 5, sizeof *arguments);
    if (arguments == NULL) return ENOMEM;
    char input_grace[16], terminate_grace[16];
    snprintf(input_grace, sizeof input_grace, "%u", order->end_of_input_grace_ms);
    snprintf(terminate_grace, sizeof terminate_grace, "%u", order->terminate_grace_ms);
    arguments[0] = (char *)CSYSTEM_KEEPER_NAME;
    arguments[1] = input_grace;
    arguments[2] = terminate_grace;
    arguments[3] = (char *)order->directory;
    memcpy(arguments + 4, order->command, words * sizeof *arguments);

    int ends[PAIRS][ENDS] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    pid_t pid = 0;
    int problem = open_pairs(ends);
    if (problem == 0) problem = spawn(order->executable, arguments, order->environment, ends, &pid);
    free(arguments);
    if (problem != 0) {
        close_all(ends);
        return problem;
    }
    for (int pair = 0; pair < PAIRS; pair++) close(ends[pair][THEIRS]);
    *handles = (struct csystem_keeper_handles){
        .pid = pid,
        .control = ends[CONTROL][OURS],
        .standard_input = ends[INPUT][OURS],
        .standard_output = ends[OUTPUT][OURS],
        .standard_error = ends[ERRORS][OURS],
    };
    return 0;
}
