// Licensed under the Apache License 2.0; see LICENSE.
#define _GNU_SOURCE
#include "socket_owner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ADDRESS_BYTES 16

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// Each question has a socket of its own; the number only tells an answer from what nobody asked.
#define QUESTION 1

struct question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
};

// The answer with whatever the kernel adds to it; what does not fit is cut off and not needed.
union answer {
    struct nlmsghdr header;
    char bytes[2048];
};

static int is_mapped(const uint8_t *address) { return memcmp(address, mapped, sizeof mapped) == 0; }

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Takes one message of the kernel. Returns 0 or an errno.
static int receive(int descriptor, union answer *answer, size_t *length) {
    int64_t deadline = now_ms() + CSYSTEM_SOCKET_OWNER_WAIT_MS;
    for (;;) {
        struct sockaddr_nl sender = {0};
        socklen_t size = sizeof sender;
        ssize_t count = recvfrom(
            descriptor, answer->bytes, sizeof answer->bytes, MSG_DONTWAIT, (struct sockaddr *)&sender, &size);
        if (count >= 0 && size == sizeof sender && sender.nl_family == AF_NETLINK && sender.nl_pid == 0) {
            *length = (size_t)count;
            return 0;
        }
        if (count < 0 && errno != EAGAIN && errno != EINTR) return errno;
        int64_t left = deadline - now_ms();
        if (left <= 0) return ETIMEDOUT;
        struct pollfd news = {.fd = descriptor, .events = POLLIN};
        if (poll(&news, 1, (int)left) < 0 && errno != EINTR) return errno;
    }
}

// Puts the question on a fresh socket and takes the first message of the answer. Returns 0 or an errno.
static int ask(const struct question *question, union answer *answer, size_t *length) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    if (descriptor < 0) return errno;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent =
        sendto(descriptor, question, sizeof *question, MSG_NOSIGNAL, (struct sockaddr *)&kernel, sizeof kernel);
    int problem = sent < 0 ? errno : sent != sizeof *question ? EMSGSIZE : receive(descriptor, answer, length);
    close(descriptor);
    if (problem != 0) return problem;
    if (*length < sizeof answer->header || answer->header.nlmsg_seq != QUESTION) return EBADMSG;
    return 0;
}

// Whether the message is of this type and holds a body of this size.
static int is(const union answer *answer, size_t length, uint16_t type, size_t body) {
    return answer->header.nlmsg_type == type && answer->header.nlmsg_len >= NLMSG_LENGTH(body)
        && length >= NLMSG_LENGTH(body);
}

// The errno in a message that reports one, 0 in one that reports success; EBADMSG when it is neither.
static int reported(const union answer *answer, size_t length) {
    int32_t problem = 0;
    // Both kinds begin with the negated errno; what follows in the first is the question once more.
    if (!is(answer, length, NLMSG_ERROR, sizeof(struct nlmsgerr))
        && !is(answer, length, NLMSG_DONE, sizeof problem)) {
        return EBADMSG;
    }
    memcpy(&problem, NLMSG_DATA(&answer->header), sizeof problem);
    return problem > 0 || problem < -4095 ? EBADMSG : -problem;
}

// "No such socket" is also what a kernel without tcp_diag says. Asked for the list of the sockets in no state at all,
// one that has it gives an empty list, at once. Returns 0 when it can be believed, or an errno.
static int check_kernel(const struct question *about) {
    struct question question = {
        .header = about->header,
        .body = {.sdiag_family = about->body.sdiag_family, .sdiag_protocol = IPPROTO_TCP},
    };
    question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    union answer answer;
    size_t length = 0;
    int problem = ask(&question, &answer, &length);
    if (problem == 0) problem = reported(&answer, length);
    return problem == ENOENT ? EPROTONOSUPPORT : problem;
}

// Whether an end, as an answer spells it, is the one that was asked for.
static int is_end(
    uint8_t family, const __be32 *theirs, __be16 their_port, const uint8_t *address, uint16_t port) {
    uint8_t whole[ADDRESS_BYTES];
    if (family == AF_INET) {
        memcpy(whole, mapped, sizeof mapped);
        memcpy(whole + sizeof mapped, theirs, sizeof *theirs);
    } else {
        memcpy(whole, theirs, sizeof whole);
    }
    return ntohs(their_port) == port && memcmp(whole, address, sizeof whole) == 0;
}

int csystem_tcp_socket_owner(
    const uint8_t *local, uint16_t local_port, const uint8_t *remote, uint16_t remote_port,
    struct csystem_socket_owner *owner) {
    // Sockets of IPv6 that speak IPv4 are found among those of IPv4, where their connection is looked up as well.
    int is_short = is_mapped(local) && is_mapped(remote);
    struct question question = {
        .header = {
            .nlmsg_len = sizeof question,
            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
            .nlmsg_flags = NLM_F_REQUEST,
            .nlmsg_seq = QUESTION,
        },
        .body = {
            .sdiag_family = is_short ? AF_INET : AF_INET6,
            .sdiag_protocol = IPPROTO_TCP,
            .idiag_states = ~0U,
            .id = {
                .idiag_sport = htons(local_port),
                .idiag_dport = htons(remote_port),
                .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
            },
        },
    };
    size_t skipped = is_short ? sizeof mapped : 0;
    memcpy(question.body.id.idiag_src, local + skipped, ADDRESS_BYTES - skipped);
    memcpy(question.body.id.idiag_dst, remote + skipped, ADDRESS_BYTES - skipped);

    union answer answer;
    size_t length = 0;
    int problem = ask(&question, &answer, &length);
    if (problem != 0) return problem;
    struct inet_diag_msg found;
    if (!is(&answer, length, SOCK_DIAG_BY_FAMILY, sizeof found)) {
        problem = reported(&answer, length);
        if (problem == 0) return EBADMSG;
        if (problem != ENOENT) return problem;
        problem = check_kernel(&question);
        return problem == 0 ? ENOENT : problem;
    }
    memcpy(&found, NLMSG_DATA(&answer.header), sizeof found);
    if (found.idiag_family != AF_INET && found.idiag_family != AF_INET6) return EBADMSG;
    if (!is_end(found.idiag_family, found.id.idiag_src, found.id.idiag_sport, local, local_port)
        || !is_end(found.idiag_family, found.id.idiag_dst, found.id.idiag_dport, remote, remote_port)) {
        return ENOENT;
    }
    *owner = (struct csystem_socket_owner){
        .user = found.idiag_uid, .inode = found.idiag_inode, .state = found.idiag_state};
    return 0;
}
