// Licensed under the Apache License 2.0; see LICENSE.

// Threads and children of the sandbox.

#ifndef CWASM_HOST_H
#define CWASM_HOST_H

#include "cwasm_guest.h"

// Starts a detached thread with a stack of its own size and with all signals blocked but the ones that traps need.
// False when the machine refuses.
bool cwasm_start_thread(const char *name, size_t stack_bytes, void (*body)(void *), void *context);

enum cwasm_child {
    CWASM_CHILD_DONE = 0,
    CWASM_CHILD_REFUSED,   // it ended with an exit code other than 0
    CWASM_CHILD_KILLED,    // a signal ended it
    CWASM_CHILD_OVERRAN,   // it was killed at the deadline or because the flag was raised
    CWASM_CHILD_NOT_BEGUN, // it could not be started
};

// Runs a child to its end: no environment, no descriptors but 0 to 2, standard error into `text` (bounded). Blocks;
// call it on a thread of its own.
enum cwasm_child cwasm_run_child(
    const char *path, char *const argv[], uint64_t timeout_ms, const cwasm_flag_t *flag, char *text,
    size_t text_count);

// Called by the child itself, first thing: a name, limits of memory and processor time, no core file, and death with
// its parent.
bool cwasm_become_child(const char *name, uint64_t memory_bytes_max, uint64_t cpu_seconds_max);

// Words that change when compiled code of this machine would not run on another one.
void cwasm_cpu(char *text, size_t text_count);

// Whether this much address space can be reserved here.
bool cwasm_can_reserve(uint64_t bytes);

#endif
