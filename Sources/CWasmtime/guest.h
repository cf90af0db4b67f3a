// Licensed under the Apache License 2.0; see LICENSE.

#ifndef GUEST_H
#define GUEST_H

#include "cwasm_guest.h"

// One piece of the arena. The table of blocks lies outside the arena, so that no guest can write into it.
typedef struct {
    uint64_t offset;
    uint64_t count;
    uint64_t room;
    bool is_used;
} block_t;

typedef struct {
    uint8_t *key;
    size_t key_count;
    uint8_t *value;
    size_t value_count;
} pair_t;

struct cwasm_config {
    pair_t *pairs;
    size_t count;
};

enum {
    // Offset 0 means "none" to guests.
    arena_base = 16,
    arena_kept = 64 << 10,
    blocks_max = 1 << 16,
    blocks_kept = 256,
    log_bytes_max = 4 << 10,
    variables_max = 256,
    variable_bytes_max = 1 << 20,
};

struct cwasm_guest {
    uint8_t *arena;
    uint64_t arena_top;
    uint64_t arena_room;
    block_t *blocks;
    size_t blocks_count;
    size_t blocks_room;
    size_t blocks_free;
    uint64_t input_offset;
    uint64_t input_count;
    uint64_t output_offset;
    uint64_t output_count;
    uint64_t error_offset;
    pair_t *variables;
    size_t variables_count;
    size_t variables_bytes;
    uint8_t *log;
    size_t log_count;
    enum cwasm_stop stop;
    uint32_t denied;
    cwasm_run_t run;
};

uint64_t arena_alloc(cwasm_guest_t *guest, uint64_t count);
void arena_free(cwasm_guest_t *guest, uint64_t offset);
block_t *arena_block(const cwasm_guest_t *guest, uint64_t offset);
uint64_t arena_copy(cwasm_guest_t *guest, const void *bytes, size_t count);
void guest_note(cwasm_guest_t *guest, const char *prefix, const uint8_t *bytes, size_t count);
// Why the guest has to stop now, if it has to; remembered.
enum cwasm_stop guest_check(cwasm_guest_t *guest);

static inline cwasm_guest_t *guest_of(wasmtime_caller_t *caller) {
    return wasmtime_context_get_data(wasmtime_caller_context(caller));
}

// A function as guests see it; `signature` is parameters, a colon, results, in `i` (i32) and `j` (i64).
typedef struct {
    const char *name, *signature;
    cwasm_host_function_t function;
} host_function_t;

typedef struct {
    const char *module;
    const host_function_t *functions;
    size_t count;
} host_table_t;

extern const host_table_t extism_table, hypermcp_table;

#define HOST(name) \
    static wasm_trap_t *name(void *environment, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count)
#define UNUSED (void)environment, (void)caller, (void)values, (void)count

// Takes a text of the guest into its log and frees it.
void log_handle(wasmtime_caller_t *caller, const char *level, uint64_t handle);

#endif
