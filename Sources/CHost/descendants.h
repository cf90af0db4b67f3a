// Licensed under the Apache License 2.0; see LICENSE.
//
// Finding and signalling everything below the calling process.
#ifndef CSYSTEM_DESCENDANTS_H
#define CSYSTEM_DESCENDANTS_H

#include <sys/types.h>

// Sends `signal` to the process group `group` and to each descendant of the caller outside of it, at most 256 of them
// in one round. `group_is_held` says that the group's leader has not been reaped, so that its number cannot belong to
// strangers; otherwise the group is only signalled when a descendant of ours is seen in it.
void csystem_signal_descendants(pid_t group, int group_is_held, int signal);

#endif
