// Licensed under the Apache License 2.0; see LICENSE.
//
// The keeper: a small process between the gateway and a child it started. It holds one end of a socket pair whose
// other end only the gateway has, so the end of the gateway, however it comes, is seen here as end of file, and the
// child and everything that child started are taken down. The keeper is the gateway's own binary, entered under
// another name before any Swift code has run.
#ifndef CSYSTEM_KEEPER_H
#define CSYSTEM_KEEPER_H

#include <stdint.h>

// What the keeper is called, as argv[0] and in /proc/PID/comm.
#define CSYSTEM_KEEPER_NAME "mcpgw-keeper"

// What a report says. STARTED: `first` is the child's pid, which is its process group as well. REFUSED: the command
// never ran; `first` is the errno, `second` the step. EXITED: `first` is the exit code, or -1 when a signal ended it,
// which is then `second`. The keeper closes its end of the control socket when nothing of the child is left.
#define CSYSTEM_KEEPER_STARTED 1
#define CSYSTEM_KEEPER_REFUSED 2
#define CSYSTEM_KEEPER_EXITED 3

// The steps of a start that can be refused.
#define CSYSTEM_KEEPER_STEP_PREPARE 1
#define CSYSTEM_KEEPER_STEP_DIRECTORY 2
#define CSYSTEM_KEEPER_STEP_EXECUTE 3

// One message from the keeper to the gateway, in the machine's byte order. Any byte in the other direction means
// "stop".
struct csystem_keeper_report {
    int32_t kind;
    int32_t first;
    int32_t second;
};

struct csystem_keeper_order {
    // The binary to enter as keeper; `/proc/self/exe` for ourselves.
    const char *_Nonnull executable;
    // Where the command runs, or empty for the directory the gateway is in.
    const char *_Nonnull directory;
    // How long a child may take to leave by itself once its input has ended, before SIGTERM.
    uint32_t end_of_input_grace_ms;
    // How long it may take after SIGTERM, before SIGKILL.
    uint32_t terminate_grace_ms;
    // The command and its arguments, looked up in the PATH of `environment`; both lists end with NULL.
    char *_Nullable const *_Nonnull command;
    char *_Nullable const *_Nonnull environment;
};

// The gateway's ends, all close-on-exec; the caller closes them.
struct csystem_keeper_handles {
    int32_t pid;
    int32_t control;
    int32_t standard_input;
    int32_t standard_output;
    int32_t standard_error;
};

// Starts a keeper. Returns 0, or an errno with nothing left open. Whether the command itself could be started is told
// by the first report. Blocks for the time of one vfork and exec, about a millisecond.
int csystem_keeper_start(
    const struct csystem_keeper_order *_Nonnull order, struct csystem_keeper_handles *_Nonnull handles);

// Whether this process was started as a keeper. Must be the first question `main` asks.
int csystem_is_keeper(int argc, char *_Nullable *_Nullable argv);

// The life of a keeper; returns its exit status when the child and all its descendants are gone. Everything it waits
// for has a deadline once the child is being stopped.
int csystem_keeper_main(int argc, char *_Nullable *_Nullable argv);

#endif
