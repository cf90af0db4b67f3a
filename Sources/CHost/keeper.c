// Licensed under the Apache License 2.0; see LICENSE.
//
// The keeper's side: one child, one poll loop, no heap of its own.
#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "descendants.h"

#define CONTROL 3
// Nothing that can be killed outlives this many milliseconds of SIGKILL; what does hangs in the kernel.
#define KILL_MS 5000
#define KILL_ROUND_MS 20

// The phases of a child's life, in the only order they can have.
enum phase { RUNNING, INPUT_ENDED, TERMINATING, KILLING };

struct keeper {
    int64_t input_grace;
    int64_t terminate_grace;
    enum phase phase;
    int64_t deadline;
    // Descriptors, -1 once they have nothing more to say: the gateway, our signals, how the child's exec went.
    int control;
    int signals;
    int verdict;
    pid_t child;
    int child_is_reaped;
    int was_refused;
};

struct verdict {
    int32_t problem;
    int32_t step;
};

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// The gateway may be gone; then nobody needs the report.
static void report(int32_t kind, int32_t first, int32_t second) {
    struct csystem_keeper_report message = {.kind = kind, .first = first, .second = second};
    ssize_t sent = send(CONTROL, &message, sizeof message, MSG_NOSIGNAL);
    (void)sent;
}

int csystem_is_keeper(int argc, char **argv) {
    return argc > 0 && argv != NULL && argv[0] != NULL && strcmp(argv[0], CSYSTEM_KEEPER_NAME) == 0;
}

static _Noreturn void refuse(int verdict, int step) {
    struct verdict message = {.problem = errno, .step = step};
    ssize_t sent = write(verdict, &message, sizeof message);
    (void)sent;
    _exit(127);
}

// What runs between fork and exec. Being killed with the keeper is a second net: should the keeper itself be killed,
// the child at least does not stay behind.
static _Noreturn void become_child(pid_t keeper, const char *directory, char **command, int verdict) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != keeper) _exit(127);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (directory[0] != 0 && chdir(directory) != 0) refuse(verdict, CSYSTEM_KEEPER_STEP_DIRECTORY);
    execvp(command[0], command);
    refuse(verdict, CSYSTEM_KEEPER_STEP_EXECUTE);
}

// The keeper must not hold the child's pipes open, or nobody would see their end.
static void let_go_of_streams(void) {
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int stream = 0; stream < 3; stream++) {
        if (nothing < 0 || dup2(nothing, stream) < 0) close(stream);
    }
    if (nothing > 2) close(nothing);
}

static int start_child(struct keeper *keeper, const char *directory, char **command) {
    int verdict[2];
    if (pipe2(verdict, O_CLOEXEC) != 0) return -1;
    pid_t self = getpid();
    keeper->child = fork();
    if (keeper->child < 0) return -1;
    if (keeper->child == 0) become_child(self, directory, command, verdict[1]);
    // Done on both sides, so that the group exists whoever comes first; refused here once the child has called exec.
    setpgid(keeper->child, keeper->child);
    close(verdict[1]);
    keeper->verdict = verdict[0];
    return 0;
}

// End of file means that exec closed the pipe, that is, worked.
static void read_verdict(struct keeper *keeper) {
    struct verdict message;
    ssize_t count;
    do {
        count = read(keeper->verdict, &message, sizeof message);
    } while (count < 0 && errno == EINTR);
    close(keeper->verdict);
    keeper->verdict = -1;
    if (count == (ssize_t)sizeof message) {
        keeper->was_refused = 1;
        report(CSYSTEM_KEEPER_REFUSED, message.problem, message.step);
    } else {
        report(CSYSTEM_KEEPER_STARTED, keeper->child, 0);
    }
}

static void enter(struct keeper *keeper, enum phase phase) {
    if (keeper->phase >= phase) return;
    keeper->phase = phase;
    switch (phase) {
    case RUNNING:
        break;
    case INPUT_ENDED:
        // The gateway has closed the child's input, by will or by dying: a good child leaves now.
        keeper->deadline = now_ms() + keeper->input_grace;
        break;
    case TERMINATING:
        keeper->deadline = now_ms() + keeper->terminate_grace;
        csystem_signal_descendants(keeper->child, !keeper->child_is_reaped, SIGTERM);
        // A stopped process would sleep through the grace.
        csystem_signal_descendants(keeper->child, !keeper->child_is_reaped, SIGCONT);
        break;
    case KILLING:
        keeper->deadline = now_ms() + KILL_MS;
        break;
    }
}

static void child_ended(struct keeper *keeper, int status) {
    keeper->child_is_reaped = 1;
    if (keeper->verdict >= 0) read_verdict(keeper);
    if (keeper->was_refused) return;
    if (WIFSIGNALED(status)) {
        report(CSYSTEM_KEEPER_EXITED, -1, WTERMSIG(status));
    } else {
        report(CSYSTEM_KEEPER_EXITED, WEXITSTATUS(status), 0);
    }
}

// Takes in everybody who ended, orphans handed up to us included. Returns 0 when nobody is left.
static int reap(struct keeper *keeper) {
    int had_ended = keeper->child_is_reaped;
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR) continue;
        if (pid < 0) return 0;
        if (pid == 0) break;
        if (pid == keeper->child) child_ended(keeper, status);
    }
    // The child is gone and has left others behind.
    if (!had_ended && keeper->child_is_reaped) enter(keeper, TERMINATING);
    return 1;
}

static void wait_for_news(struct keeper *keeper) {
    int timeout = -1;
    if (keeper->phase != RUNNING) {
        int64_t left = keeper->deadline - now_ms();
        timeout = left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
        if (keeper->phase == KILLING && timeout > KILL_ROUND_MS) timeout = KILL_ROUND_MS;
    }
    struct pollfd news[3] = {
        {.fd = keeper->control, .events = POLLIN},
        {.fd = keeper->signals, .events = POLLIN},
        {.fd = keeper->verdict, .events = POLLIN},
    };
    if (poll(news, 3, timeout) <= 0) return;
    if (news[2].revents != 0) read_verdict(keeper);
    if (news[1].revents != 0) {
        struct signalfd_siginfo record;
        while (read(keeper->signals, &record, sizeof record) == (ssize_t)sizeof record) {
            if (record.ssi_signo != SIGCHLD) enter(keeper, INPUT_ENDED);
        }
    }
    if (news[0].revents != 0) {
        char order[16];
        ssize_t count = recv(CONTROL, order, sizeof order, MSG_DONTWAIT);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (count <= 0) keeper->control = -1;
        enter(keeper, INPUT_ENDED);
    }
}

// Returns 0 when all descendants are gone, 1 when some could not be killed.
static int keep(struct keeper *keeper) {
    while (reap(keeper)) {
        wait_for_news(keeper);
        int is_over = keeper->phase != RUNNING && now_ms() >= keeper->deadline;
        switch (keeper->phase) {
        case RUNNING:
            break;
        case INPUT_ENDED:
            if (is_over) enter(keeper, TERMINATING);
            break;
        case TERMINATING:
            if (is_over) enter(keeper, KILLING);
            break;
        case KILLING:
            if (is_over) return 1;
            break;
        }
        if (keeper->phase == KILLING) csystem_signal_descendants(keeper->child, !keeper->child_is_reaped, SIGKILL);
    }
    return 0;
}

// HUP, USR1, USR2 and PIPE are the gateway's business, not ours. TERM and INT, sent to us by hand or by a service
// manager that signals everybody, are an order to stop.
static int take_signals(void) {
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigset_t read_here;
    sigemptyset(&read_here);
    sigaddset(&read_here, SIGCHLD);
    sigaddset(&read_here, SIGTERM);
    sigaddset(&read_here, SIGINT);
    if (sigprocmask(SIG_BLOCK, &read_here, NULL) != 0) return -1;
    return signalfd(-1, &read_here, SFD_NONBLOCK | SFD_CLOEXEC);
}

int csystem_keeper_main(int argc, char **argv) {
    if (argc < 5) return 64;
    prctl(PR_SET_NAME, CSYSTEM_KEEPER_NAME);
    struct keeper keeper = {
        .input_grace = strtol(argv[1], NULL, 10),
        .terminate_grace = strtol(argv[2], NULL, 10),
        .phase = RUNNING,
        .control = CONTROL,
        .verdict = -1,
    };
    // Out of the gateway's group, so that a Ctrl-C at its terminal reaches neither us nor the child.
    setsid();
    // Whatever the gateway had open without close-on-exec is not for the child.
    close_range(CONTROL + 1, ~0U, 0);
    fcntl(CONTROL, F_SETFD, FD_CLOEXEC);
    keeper.signals = take_signals();
    // Orphans among the descendants become our children, so that none gets away by leaving its group or its parent.
    if (keeper.signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || start_child(&keeper, argv[3], argv + 4) != 0) {
        report(CSYSTEM_KEEPER_REFUSED, errno, CSYSTEM_KEEPER_STEP_PREPARE);
        return 1;
    }
    let_go_of_streams();
    return keep(&keeper);
}
