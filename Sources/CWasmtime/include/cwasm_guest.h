// Licensed under the Apache License 2.0; see LICENSE.

// What one run of a guest may touch: a bounded arena that holds its input and output, its settings, its log, and the
// reasons for which it was stopped. The functions a guest imports (Extism's, hyper-mcp's, the shadowed WASI ones) work
// on this and on nothing else.

#ifndef CWASM_GUEST_H
#define CWASM_GUEST_H

#include "wasmtime_api.h"

// A cancel flag that any thread may raise and the running guest looks at.
typedef struct cwasm_flag cwasm_flag_t;
cwasm_flag_t *cwasm_flag_new(void);
void cwasm_flag_delete(cwasm_flag_t *flag);
void cwasm_flag_raise(cwasm_flag_t *flag);
bool cwasm_flag_is_raised(const cwasm_flag_t *flag);

// Key and value texts that `config_get` serves. Filled at load, only read afterwards, shared by all runs of a module.
typedef struct cwasm_config cwasm_config_t;
cwasm_config_t *cwasm_config_new(void);
void cwasm_config_add(
    cwasm_config_t *config, const uint8_t *key, size_t key_count, const uint8_t *value, size_t value_count);
void cwasm_config_delete(cwasm_config_t *config);

enum cwasm_stop {
    CWASM_STOP_NONE = 0,
    CWASM_STOP_DEADLINE,
    CWASM_STOP_CANCELLED,
    CWASM_STOP_OUTPUT,
    CWASM_STOP_NETWORK,
    CWASM_STOP_VARIABLES,
};

// What the guest asked for without a grant; a set of bits.
enum cwasm_denied { CWASM_DENIED_CLOCK = 1, CWASM_DENIED_RANDOM = 2 };

// One guest's room. A worker thread owns one and uses it for one run after the other; it is never shared.
typedef struct cwasm_guest cwasm_guest_t;

typedef struct {
    uint64_t arena_bytes_max;
    uint64_t output_bytes_max;
    const cwasm_config_t *config;
    const cwasm_flag_t *flag;
    // On this machine's monotonic clock, nanoseconds.
    uint64_t deadline;
} cwasm_run_t;

cwasm_guest_t *cwasm_guest_new(void);
void cwasm_guest_delete(cwasm_guest_t *guest);
// Forgets the last run and prepares for the next. Nothing of one run is readable by another.
void cwasm_guest_begin(cwasm_guest_t *guest, const cwasm_run_t *run);
// Ends the run and gives back what it held beyond a small buffer.
void cwasm_guest_end(cwasm_guest_t *guest);
// Gives back the small buffer too.
void cwasm_guest_trim(cwasm_guest_t *guest);

// Room for `count` bytes of input, to be filled by the caller before the guest runs. NULL when it does not fit the
// arena.
uint8_t *cwasm_guest_input(cwasm_guest_t *guest, size_t count);
// Valid until the next begin or end.
const uint8_t *cwasm_guest_output(const cwasm_guest_t *guest, size_t *count);
const uint8_t *cwasm_guest_error(const cwasm_guest_t *guest, size_t *count);
const uint8_t *cwasm_guest_log(const cwasm_guest_t *guest, size_t *count);
enum cwasm_stop cwasm_guest_stop(const cwasm_guest_t *guest);
uint32_t cwasm_guest_denied(const cwasm_guest_t *guest);

// The epoch callback of every store: stops the guest at its deadline or when its flag is raised.
wasmtime_error_t *cwasm_guest_epoch(wasmtime_context_t *context, void *guest, uint64_t *delta, uint8_t *kind);
// Takes what the guest prints into its bounded log; never refuses, so that printing cannot break a guest.
ssize_t cwasm_guest_print(void *guest, const unsigned char *bytes, size_t count);

uint64_t cwasm_monotonic(void);

// Defines all functions a guest may import. `clock` and `random` tell whether those are granted.
wasmtime_error_t *cwasm_link_extism(wasmtime_linker_t *linker);
wasmtime_error_t *cwasm_link_wasi(wasmtime_linker_t *linker, bool clock, bool random);

// Whether every import of the module is on offer. Otherwise `text` names the first that is not.
bool cwasm_imports_offered(const wasmtime_module_t *module, bool *wants_wasi, char *text, size_t text_count);

enum cwasm_shape {
    CWASM_SHAPE_ABSENT = 0,
    CWASM_SHAPE_PLAIN,     // () -> ()
    CWASM_SHAPE_CODE,      // () -> i32
    CWASM_SHAPE_ARGUMENTS, // (i32, i32) -> ()
    CWASM_SHAPE_OTHER,
};
enum cwasm_shape cwasm_export_shape(const wasmtime_module_t *module, const char *name);

#endif
