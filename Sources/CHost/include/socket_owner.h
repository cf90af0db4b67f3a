// Licensed under the Apache License 2.0; see LICENSE.
//
// Whose a TCP socket of this machine is, by asking the kernel for this one socket (NETLINK_SOCK_DIAG).
#ifndef CSYSTEM_SOCKET_OWNER_H
#define CSYSTEM_SOCKET_OWNER_H

#include <stdint.h>

// An answer of the kernel may be this late before it counts as none. It is there already when the question has been
// put, so nothing is waited for on a healthy machine.
#define CSYSTEM_SOCKET_OWNER_WAIT_MS 50

struct csystem_socket_owner {
    // The user, as the caller's user namespace names it. Means nothing when there is no inode.
    uint32_t user;
    // Zero when no program holds the socket any longer.
    uint32_t inode;
    // A number of <netinet/tcp.h>, such as TCP_ESTABLISHED.
    uint32_t state;
};

// Finds the socket whose own end is `local` and whose other end is `remote`, in the caller's network namespace.
// Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d, whichever family the socket itself is of; ports are
// in the machine's order. Only exactly this socket is an answer, never a listener which would take the connection. A
// socket that is tied to a device (SO_BINDTODEVICE) is not found: another one may have the same ends.
//
// Returns 0; ENOENT when there is no such socket; any other errno when the kernel does not tell: without netlink or
// without tcp_diag, by order of a security policy, or after CSYSTEM_SOCKET_OWNER_WAIT_MS; there may be two such waits.
// Keeps nothing open. Costs about ten microseconds however many sockets there are; the first time the kernel may load
// a module meanwhile.
int csystem_tcp_socket_owner(
    const uint8_t *_Nonnull local, uint16_t local_port, const uint8_t *_Nonnull remote, uint16_t remote_port,
    struct csystem_socket_owner *_Nonnull owner);

#endif
