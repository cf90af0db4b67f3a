// Licensed under the Apache License 2.0; see LICENSE.
//
// Small questions to and orders for the process we are in.
#ifndef CSYSTEM_PROCESS_H
#define CSYSTEM_PROCESS_H

#include <stdint.h>

// Renames the process as `pgrep` and `top` show it, whichever thread asks. Cut after 15 bytes.
void csystem_set_process_name(const char *_Nonnull name);

// What every process of this binary but the serving one does first: it calls itself mcpgw-VERB, so that only the
// serving one carries the name that operators send signals to, and HUP, USR1 and USR2 that reach it all the same do not
// end it. Done before main has begun where the verb is the first argument.
void csystem_be_verb(const char *_Nonnull verb);

// Whether a file has a list of users and groups besides its mode, which then tells less than the whole.
int csystem_has_access_list(const char *_Nonnull path);

// Hands free heap pages back to the system. Returns 1 when any were. May take milliseconds on a large heap.
int csystem_malloc_trim(void);

// By how much the clock may be wrong at most, as the kernel was told by whatever keeps it right; -1 when nothing does.
int64_t csystem_clock_error_ms(void);

// Who is at the other end of a connected Unix socket. Returns 0 or an errno.
int csystem_peer_credentials(
    int descriptor, uint32_t *_Nonnull user, uint32_t *_Nonnull group, int32_t *_Nonnull process);

// From now on each TERM, INT, HUP, USR1 and USR2 is one byte, the signal's number, on the descriptor that is returned
// (non-blocking, close-on-exec, fit for an event loop), and PIPE is ignored. Call it once, early in `main`; a second
// call returns -EALREADY, any other failure the negated errno. Bursts are kept up to the size of a pipe. Handlers are
// used and not a blocked mask with signalfd, since the main thread of an asynchronous Swift program waits with every
// signal let through, and would die of the first. Children started by csystem_keeper_start get default handling.
int csystem_signal_descriptor(void);

// Sends one state text ("READY=1", "STOPPING=1", "WATCHDOG=1\nSTATUS=…") to the service manager. `socket_path` is the
// value of NOTIFY_SOCKET: a path, or "@name" for the abstract name space. Never blocks. Returns 0 or an errno.
int csystem_sd_notify(const char *_Nonnull socket_path, const char *_Nonnull state);

// The same with a descriptor in the message ("FDSTORE=1\nFDNAME=…"); the manager gets a copy of its own, ours stays
// open. Never blocks. Returns 0 or an errno; 0 says that the message is on its way, not that the manager keeps it.
int csystem_sd_notify_descriptor(const char *_Nonnull socket_path, const char *_Nonnull state, int descriptor);

// Asks for `signal` when the thread that started this process ends, and checks that `parent` still is the parent:
// returns 0, or ESRCH when it had ended before the request could take effect. Does not reach grandchildren; the
// keeper does.
int csystem_parent_death_signal(int signal, int32_t parent);

#endif
