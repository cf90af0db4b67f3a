// Licensed under the Apache License 2.0; see LICENSE.

// The functions of `extism:host/env` and of hyper-mcp's `extism:host/user`. Guests move their data through these eight bytes at
// a time, which is why they are in C and uncounted: about 15 ns each.

#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST(name) \
    static wasm_trap_t *name(void *environment, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count)
#define UNUSED (void)environment, (void)caller, (void)values, (void)count

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

static void log_handle(wasmtime_caller_t *caller, const char *level, uint64_t handle) {
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

// MARK: hyper-mcp

// Answers of the shape a plug-in sees when a client cannot do what it asks for.
static wasm_trap_t *answer(wasmtime_caller_t *caller, wasmtime_val_raw_t *values, const char *text, bool has_handle) {
    cwasm_guest_t *guest = guest_of(caller);
    if (has_handle) arena_free(guest, (uint64_t)values[0].i64);
    values[0].i64 = text ? (int64_t)arena_copy(guest, text, strlen(text)) : 0;
    return NULL;
}

HOST(user_elicit) {
    UNUSED;
    return answer(
        caller, values,
        "{\"action\":\"decline\",\"content\":{\"error\":\"this gateway does not pass questions on to the client\"}}", true);
}

HOST(user_sample) {
    UNUSED;
    return answer(
        caller, values,
        "{\"role\":\"assistant\",\"content\":{\"type\":\"text\",\"text\":\"this gateway does not pass sampling on to the"
        " client\"},\"model\":\"\",\"stopReason\":\"error\"}",
        true);
}

HOST(user_roots) {
    UNUSED;
    return answer(caller, values, "{\"roots\":[]}", false);
}

HOST(user_nothing) {
    UNUSED;
    return answer(caller, values, NULL, true);
}

HOST(user_notify_text) {
    UNUSED;
    log_handle(caller, "notification: ", (uint64_t)values[0].i64);
    return NULL;
}

HOST(user_notify) {
    UNUSED;
    return NULL;
}

static const char environment_module[] = "extism:host/env";
static const char user_module[] = "extism:host/user";

static const struct {
    const char *module, *name, *signature;
    cwasm_host_function_t function;
} functions[] = {
    {environment_module, "alloc", "j:j", host_alloc},
    {environment_module, "free", "j:", host_free},
    {environment_module, "length", "j:j", host_length},
    {environment_module, "length_unsafe", "j:j", host_length},
    {environment_module, "load_u8", "j:i", host_load_u8},
    {environment_module, "load_u64", "j:j", host_load_u64},
    {environment_module, "store_u8", "ji:", host_store_u8},
    {environment_module, "store_u64", "jj:", host_store_u64},
    {environment_module, "input_length", ":j", host_input_length},
    {environment_module, "input_offset", ":j", host_input_offset},
    {environment_module, "input_load_u8", "j:i", host_input_load_u8},
    {environment_module, "input_load_u64", "j:j", host_input_load_u64},
    {environment_module, "input_set", "jj:", host_input_set},
    {environment_module, "output_set", "jj:", host_output_set},
    {environment_module, "output_offset", ":j", host_output_offset},
    {environment_module, "output_length", ":j", host_output_length},
    {environment_module, "error_set", "j:", host_error_set},
    {environment_module, "error_get", ":j", host_error_get},
    {environment_module, "reset", ":", host_reset},
    {environment_module, "memory_bytes", ":j", host_memory_bytes},
    {environment_module, "config_get", "j:j", host_config_get},
    {environment_module, "var_get", "j:j", host_var_get},
    {environment_module, "var_set", "jj:", host_var_set},
    {environment_module, "http_request", "jj:j", host_http_request},
    {environment_module, "http_status_code", ":i", host_zero_i32},
    {environment_module, "http_headers", ":j", host_zero_i64},
    {environment_module, "log_trace", "j:", host_log_trace},
    {environment_module, "log_debug", "j:", host_log_debug},
    {environment_module, "log_info", "j:", host_log_info},
    {environment_module, "log_warn", "j:", host_log_warn},
    {environment_module, "log_error", "j:", host_log_error},
    {environment_module, "get_log_level", ":i", host_log_level},
    {user_module, "create_elicitation", "j:j", user_elicit},
    {user_module, "create_message", "j:j", user_sample},
    {user_module, "list_roots", ":j", user_roots},
    {user_module, "get_access_token", "j:j", user_nothing},
    {user_module, "get_keyring_secret", "j:j", user_nothing},
    {user_module, "notify_logging_message", "j:", user_notify_text},
    {user_module, "notify_progress", "j:", user_notify_text},
    {user_module, "notify_resource_updated", "j:", user_notify_text},
    {user_module, "notify_url_elicitation_completed", "j:", user_notify_text},
    {user_module, "notify_prompt_list_changed", ":", user_notify},
    {user_module, "notify_resource_list_changed", ":", user_notify},
    {user_module, "notify_tool_list_changed", ":", user_notify},
};

wasmtime_error_t *cwasm_link_extism(wasmtime_linker_t *linker) {
    for (size_t index = 0; index < sizeof functions / sizeof *functions; index++) {
        wasmtime_error_t *problem = link_function(
            linker, functions[index].module, functions[index].name, functions[index].signature,
            functions[index].function);
        if (problem) return problem;
    }
    return NULL;
}

bool extism_offers(const char *module, size_t module_count, const char *name, size_t name_count) {
    for (size_t index = 0; index < sizeof functions / sizeof *functions; index++) {
        if (strlen(functions[index].module) == module_count && strlen(functions[index].name) == name_count
            && memcmp(functions[index].module, module, module_count) == 0
            && memcmp(functions[index].name, name, name_count) == 0) {
            return true;
        }
    }
    return false;
}
