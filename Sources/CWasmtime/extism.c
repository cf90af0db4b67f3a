// Licensed under the Apache License 2.0; see LICENSE.

// The functions of `extism:host/env`. Guests move their data through these eight bytes at a time, which is why they are
// in C and unchecked by the library: about 15 ns each.

#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static wasm_trap_t *trap(const char *text) { return wasmtime_trap_new(text, strlen(text)); }

static bool holds(const cwasm_guest_t *guest, uint64_t offset, uint64_t count) {
    return guest->arena && offset <= guest->arena_top && count <= guest->arena_top - offset;
}

HOST(host_alloc) {
    UNUSED;
    values[0].i64 = (int64_t)arena_alloc(guest_of(caller), (uint64_t)values[0].i64);
    return NULL;
}

HOST(host_free) {
    UNUSED;
    arena_free(guest_of(caller), (uint64_t)values[0].i64);
    return NULL;
}

HOST(host_length) {
    UNUSED;
    block_t *block = arena_block(guest_of(caller), (uint64_t)values[0].i64);
    values[0].i64 = block ? (int64_t)block->count : 0;
    return NULL;
}

HOST(host_load_u8) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t offset = (uint64_t)values[0].i64;
    values[0].i32 = holds(guest, offset, 1) ? guest->arena[offset] : 0;
    return NULL;
}

HOST(host_load_u64) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t offset = (uint64_t)values[0].i64, value = 0;
    if (holds(guest, offset, 8)) memcpy(&value, guest->arena + offset, 8);
    values[0].i64 = (int64_t)value;
    return NULL;
}

HOST(host_store_u8) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t offset = (uint64_t)values[0].i64;
    if (holds(guest, offset, 1)) guest->arena[offset] = (uint8_t)values[1].i32;
    return NULL;
}

HOST(host_store_u64) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t offset = (uint64_t)values[0].i64;
    if (holds(guest, offset, 8)) memcpy(guest->arena + offset, &values[1].i64, 8);
    return NULL;
}

HOST(host_input_length) {
    UNUSED;
    values[0].i64 = (int64_t)guest_of(caller)->input_count;
    return NULL;
}

HOST(host_input_offset) {
    UNUSED;
    values[0].i64 = (int64_t)guest_of(caller)->input_offset;
    return NULL;
}

HOST(host_input_load_u8) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t offset = (uint64_t)values[0].i64;
    values[0].i32 = offset < guest->input_count ? guest->arena[guest->input_offset + offset] : 0;
    return NULL;
}

HOST(host_input_load_u64) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t offset = (uint64_t)values[0].i64, value = 0;
    if (guest->input_count >= 8 && offset <= guest->input_count - 8) {
        memcpy(&value, guest->arena + guest->input_offset + offset, 8);
    }
    values[0].i64 = (int64_t)value;
    return NULL;
}

HOST(host_input_set) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t offset = (uint64_t)values[0].i64, length = (uint64_t)values[1].i64;
    if (!holds(guest, offset, length)) return NULL;
    guest->input_offset = offset;
    guest->input_count = length;
    return NULL;
}

HOST(host_output_set) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t offset = (uint64_t)values[0].i64, length = (uint64_t)values[1].i64;
    if (length > guest->run.output_bytes_max) {
        guest->stop = CWASM_STOP_OUTPUT;
        return trap("the output is over its limit");
    }
    guest->output_offset = offset;
    guest->output_count = length;
    return NULL;
}

HOST(host_output_offset) {
    UNUSED;
    values[0].i64 = (int64_t)guest_of(caller)->output_offset;
    return NULL;
}

HOST(host_output_length) {
    UNUSED;
    values[0].i64 = (int64_t)guest_of(caller)->output_count;
    return NULL;
}

HOST(host_error_set) {
    UNUSED;
    guest_of(caller)->error_offset = (uint64_t)values[0].i64;
    return NULL;
}

HOST(host_error_get) {
    UNUSED;
    values[0].i64 = (int64_t)guest_of(caller)->error_offset;
    return NULL;
}

HOST(host_reset) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    guest->blocks_count = guest->blocks_free = 0;
    guest->arena_top = arena_base;
    guest->input_offset = guest->input_count = guest->output_offset = guest->output_count = guest->error_offset = 0;
    return NULL;
}

HOST(host_memory_bytes) {
    UNUSED;
    values[0].i64 = (int64_t)guest_of(caller)->arena_room;
    return NULL;
}

// MARK: Settings and variables

static bool same(const pair_t *pair, const uint8_t *key, size_t count) {
    return pair->key_count == count && memcmp(pair->key, key, count) == 0;
}

HOST(host_config_get) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t handle = (uint64_t)values[0].i64;
    block_t *block = arena_block(guest, handle);
    const pair_t *found = NULL;
    const cwasm_config_t *config = guest->run.config;
    for (size_t index = 0; block && config && index < config->count && !found; index++) {
        if (same(&config->pairs[index], guest->arena + block->offset, block->count)) found = &config->pairs[index];
    }
    arena_free(guest, handle);
    values[0].i64 = found ? (int64_t)arena_copy(guest, found->value, found->value_count) : 0;
    return NULL;
}

static pair_t *variable(cwasm_guest_t *guest, const block_t *key) {
    for (size_t index = 0; key && index < guest->variables_count; index++) {
        if (same(&guest->variables[index], guest->arena + key->offset, key->count)) return &guest->variables[index];
    }
    return NULL;
}

HOST(host_var_get) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t handle = (uint64_t)values[0].i64;
    pair_t *found = variable(guest, arena_block(guest, handle));
    arena_free(guest, handle);
    values[0].i64 = found ? (int64_t)arena_copy(guest, found->value, found->value_count) : 0;
    return NULL;
}

static void drop_variable(cwasm_guest_t *guest, pair_t *pair) {
    guest->variables_bytes -= pair->key_count + pair->value_count;
    free(pair->key);
    free(pair->value);
    *pair = guest->variables[--guest->variables_count];
}

static bool add_variable(cwasm_guest_t *guest, const block_t *key, const block_t *value) {
    if (guest->variables_count >= variables_max || key->count + value->count > variable_bytes_max) return false;
    if (guest->variables_bytes + key->count + value->count > variable_bytes_max) return false;
    if (!guest->variables) guest->variables = calloc(variables_max, sizeof(pair_t));
    pair_t pair = {malloc(key->count), key->count, malloc(value->count), value->count};
    if (!guest->variables || !pair.key || !pair.value) {
        free(pair.key);
        free(pair.value);
        return false;
    }
    memcpy(pair.key, guest->arena + key->offset, key->count);
    memcpy(pair.value, guest->arena + value->offset, value->count);
    guest->variables[guest->variables_count++] = pair;
    guest->variables_bytes += key->count + value->count;
    return true;
}

HOST(host_var_set) {
    UNUSED;
    cwasm_guest_t *guest = guest_of(caller);
    uint64_t key_handle = (uint64_t)values[0].i64, value_handle = (uint64_t)values[1].i64;
    block_t *key = arena_block(guest, key_handle), *value = arena_block(guest, value_handle);
    pair_t *found = variable(guest, key);
    if (found) drop_variable(guest, found);
    if (key && value && !add_variable(guest, key, value)) {
        guest->stop = CWASM_STOP_VARIABLES;
        return trap("the variables are over their limit");
    }
    arena_free(guest, key_handle);
    if (value_handle) arena_free(guest, value_handle);
    return NULL;
}

// MARK: Network, log

HOST(host_http_request) {
    UNUSED;
    guest_of(caller)->stop = CWASM_STOP_NETWORK;
    return trap("this tool has no network grant");
}

HOST(host_zero_i32) {
    UNUSED;
    values[0].i32 = 0;
    return NULL;
}

HOST(host_zero_i64) {
    UNUSED;
    values[0].i64 = 0;
    return NULL;
}

void log_handle(wasmtime_caller_t *caller, const char *level, uint64_t handle) {
    cwasm_guest_t *guest = guest_of(caller);
    block_t *block = arena_block(guest, handle);
    if (block) guest_note(guest, level, guest->arena + block->offset, block->count);
    arena_free(guest, handle);
}

HOST(host_log_trace) { UNUSED; log_handle(caller, "trace: ", (uint64_t)values[0].i64); return NULL; }
HOST(host_log_debug) { UNUSED; log_handle(caller, "debug: ", (uint64_t)values[0].i64); return NULL; }
HOST(host_log_info) { UNUSED; log_handle(caller, "info: ", (uint64_t)values[0].i64); return NULL; }
HOST(host_log_warn) { UNUSED; log_handle(caller, "warn: ", (uint64_t)values[0].i64); return NULL; }
HOST(host_log_error) { UNUSED; log_handle(caller, "error: ", (uint64_t)values[0].i64); return NULL; }

// Trace is 0 and error is 4; what is below `info` is not worth a guest's time here.
HOST(host_log_level) {
    UNUSED;
    values[0].i32 = 2;
    return NULL;
}

static const host_function_t functions[] = {
    {"alloc", "j:j", host_alloc},
    {"free", "j:", host_free},
    {"length", "j:j", host_length},
    {"length_unsafe", "j:j", host_length},
    {"load_u8", "j:i", host_load_u8},
    {"load_u64", "j:j", host_load_u64},
    {"store_u8", "ji:", host_store_u8},
    {"store_u64", "jj:", host_store_u64},
    {"input_length", ":j", host_input_length},
    {"input_offset", ":j", host_input_offset},
    {"input_load_u8", "j:i", host_input_load_u8},
    {"input_load_u64", "j:j", host_input_load_u64},
    {"input_set", "jj:", host_input_set},
    {"output_set", "jj:", host_output_set},
    {"output_offset", ":j", host_output_offset},
    {"output_length", ":j", host_output_length},
    {"error_set", "j:", host_error_set},
    {"error_get", ":j", host_error_get},
    {"reset", ":", host_reset},
    {"memory_bytes", ":j", host_memory_bytes},
    {"config_get", "j:j", host_config_get},
    {"var_get", "j:j", host_var_get},
    {"var_set", "jj:", host_var_set},
    {"http_request", "jj:j", host_http_request},
    {"http_status_code", ":i", host_zero_i32},
    {"http_headers", ":j", host_zero_i64},
    {"log_trace", "j:", host_log_trace},
    {"log_debug", "j:", host_log_debug},
    {"log_info", "j:", host_log_info},
    {"log_warn", "j:", host_log_warn},
    {"log_error", "j:", host_log_error},
    {"get_log_level", ":i", host_log_level},
};

const host_table_t extism_table = {"extism:host/env", functions, sizeof functions / sizeof *functions};
