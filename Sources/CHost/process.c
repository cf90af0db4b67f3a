// Licensed under the Apache License 2.0; see LICENSE.
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

void csystem_set_process_name(const char *name) {
    // PR_SET_NAME would rename the calling thread only, which in an asynchronous Swift program is not the first one.
    int file = open("/proc/self/comm", O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        ssize_t written = write(file, name, strlen(name));
        close(file);
        if (written > 0) return;
    }
    prctl(PR_SET_NAME, name);
}

void csystem_be_verb(const char *verb) {
    char name[16] = "mcpgw-";
    size_t length = strlen(name);
    // The first word of it is enough: validate-config is mcpgw-validate.
    while (length < sizeof name - 1 && *verb >= 'a' && *verb <= 'z') name[length++] = *verb++;
    name[length] = 0;
    static const int numbers[] = {SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t index = 0; index < sizeof numbers / sizeof *numbers; index++) signal(numbers[index], SIG_IGN);
    csystem_set_process_name(name);
}

// Runs before main, and before the Swift runtime has begun, which takes milliseconds: meanwhile a verb would be found
// by the name of the serving process, and end of the signals that are meant for that one. The C library hands the
// arguments of main to constructors.
__attribute__((constructor(101))) static void leave_served_name(int argc, char **argv) {
    char name[16] = "";
    // Who is not called so needs no other name: helpers, tests, and links to this binary.
    if (prctl(PR_GET_NAME, name) != 0 || strcmp(name, "mcp-gateway") != 0 || argc < 2) return;
    const char *word = argv[1];
    // Without a verb it serves, whatever file it names.
    if (strcmp(word, "serve") == 0 || strncmp(word, "--config", strlen("--config")) == 0) return;
    // What other options print is help.
    csystem_be_verb(*word == '-' ? "help" : word);
}

int csystem_has_access_list(const char *path) {
    return getxattr(path, "system.posix_acl_access", NULL, 0) > 0;
}

int csystem_malloc_trim(void) { return malloc_trim(0); }

int64_t csystem_clock_error_ms(void) {
    struct timex state = {.modes = 0};
    if (adjtimex(&state) < 0 || (state.status & STA_UNSYNC) != 0) return -1;
    return state.maxerror / 1000;
}

int csystem_peer_credentials(int descriptor, uint32_t *user, uint32_t *group, int32_t *process) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return errno;
    *user = peer.uid;
    *group = peer.gid;
    *process = peer.pid;
    return 0;
}

// The one thing a signal handler can reach: the writing end of the pipe, -1 before there is one.
static volatile sig_atomic_t signal_pipe = -1;

static void pass_on(int number) {
    int before = errno;
    unsigned char byte = (unsigned char)number;
    // A full pipe means that nobody has read thousands of signals; one more tells nothing new.
    ssize_t written = write(signal_pipe, &byte, 1);
    (void)written;
    errno = before;
}

int csystem_signal_descriptor(void) {
    if (signal_pipe >= 0) return -EALREADY;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -errno;
    signal_pipe = ends[1];
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t index = 0; index < sizeof numbers / sizeof *numbers; index++) {
        // Refused only for numbers that are no signals.
        sigaction(numbers[index], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    return ends[0];
}

// One datagram to the service manager, with a descriptor when `handed` is not negative.
static int tell_manager(const char *socket_path, const char *state, int handed) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(socket_path);
    if (length < 2 || (socket_path[0] != '/' && socket_path[0] != '@')) return EINVAL;
    if (length >= sizeof address.sun_path) return ENAMETOOLONG;
    memcpy(address.sun_path, socket_path, length);
    if (socket_path[0] == '@') address.sun_path[0] = 0;
    // An abstract name is as long as it says; a path ends with a zero byte, which is part of the address.
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (socket_path[0] == '/' ? 1 : 0));

    struct iovec text = {.iov_base = (char *)state, .iov_len = strlen(state)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } rights = {{0}};
    struct msghdr message = {.msg_name = &address, .msg_namelen = size, .msg_iov = &text, .msg_iovlen = 1};
    if (handed >= 0) {
        message.msg_control = rights.bytes;
        message.msg_controllen = sizeof rights.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof handed);
        memcpy(CMSG_DATA(header), &handed, sizeof handed);
    }

    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return errno;
    ssize_t sent = sendmsg(descriptor, &message, MSG_NOSIGNAL);
    int problem = sent < 0 ? errno : 0;
    close(descriptor);
    return problem;
}

int csystem_sd_notify(const char *socket_path, const char *state) { return tell_manager(socket_path, state, -1); }

int csystem_sd_notify_descriptor(const char *socket_path, const char *state, int descriptor) {
    return descriptor < 0 ? EBADF : tell_manager(socket_path, state, descriptor);
}

int csystem_parent_death_signal(int signal, int32_t parent) {
    if (prctl(PR_SET_PDEATHSIG, signal) != 0) return errno;
    return getppid() == parent ? 0 : ESRCH;
}
