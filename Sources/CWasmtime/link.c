// Licensed under the Apache License 2.0; see LICENSE.

// What a module imports and exports, and the WASI functions that wasmtime's own must not answer: time, chance and
// sleep.

#include "guest.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char wasi_module[] = "wasi_snapshot_preview1";

enum { errno_success = 0, errno_fault = 21, errno_invalid = 28, errno_not_capable = 76 };

static void make_types(wasm_valtype_vec_t *out, const char *letters, size_t count) {
    wasm_valtype_t *types[8];
    for (size_t index = 0; index < count && index < 8; index++) {
        types[index] = wasm_valtype_new(letters[index] == 'i' ? CWASM_VALKIND_I32 : CWASM_VALKIND_I64);
    }
    wasm_valtype_vec_new(out, count, types);
}

static wasmtime_error_t *link_function(
    wasmtime_linker_t *linker, const char *module, const char *name, const char *signature,
    cwasm_host_function_t function) {
    const char *colon = strchr(signature, ':');
    wasm_valtype_vec_t params, results;
    make_types(&params, signature, (size_t)(colon - signature));
    make_types(&results, colon + 1, strlen(colon + 1));
    wasm_functype_t *type = wasm_functype_new(&params, &results);
    wasmtime_error_t *problem = wasmtime_linker_define_func_unchecked(
        linker, module, strlen(module), name, strlen(name), type, function, NULL, NULL);
    wasm_functype_delete(type);
    return problem;
}

wasmtime_error_t *cwasm_link_extism(wasmtime_linker_t *linker) {
    const host_table_t *const tables[] = {&extism_table, &hypermcp_table};
    for (size_t table = 0; table < 2; table++) {
        for (size_t index = 0; index < tables[table]->count; index++) {
            const host_function_t *entry = &tables[table]->functions[index];
            wasmtime_error_t *problem =
                link_function(linker, tables[table]->module, entry->name, entry->signature, entry->function);
            if (problem) return problem;
        }
    }
    return NULL;
}

// MARK: WASI shadows

static wasm_trap_t *no_clock(void *environment, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count) {
    (void)environment, (void)count;
    guest_of(caller)->denied |= CWASM_DENIED_CLOCK;
    values[0].i32 = errno_not_capable;
    return NULL;
}

static wasm_trap_t *no_random(void *environment, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count) {
    (void)environment, (void)count;
    guest_of(caller)->denied |= CWASM_DENIED_RANDOM;
    values[0].i32 = errno_not_capable;
    return NULL;
}

static uint8_t *guest_memory(wasmtime_caller_t *caller, size_t *size) {
    wasmtime_extern_t found;
    if (!wasmtime_caller_export_get(caller, "memory", 6, &found) || found.kind != CWASM_EXTERN_MEMORY) return NULL;
    wasmtime_context_t *context = wasmtime_caller_context(caller);
    *size = wasmtime_memory_data_size(context, &found.of.memory);
    return wasmtime_memory_data(context, &found.of.memory);
}

enum {
    subscription_bytes = 48,
    event_bytes = 32,
    subscriptions_max = 64,
    tag_clock = 0,
    clock_monotonic = 1,
    flag_absolute = 1,
};

// How long the clock subscription at `bytes` asks to wait, in nanoseconds.
static uint64_t wanted_wait(const uint8_t *bytes) {
    uint32_t clock;
    uint64_t timeout;
    uint16_t flags;
    memcpy(&clock, bytes + 16, sizeof clock);
    memcpy(&timeout, bytes + 24, sizeof timeout);
    memcpy(&flags, bytes + 40, sizeof flags);
    if (!(flags & flag_absolute)) return timeout;
    struct timespec now;
    clock_gettime(clock == clock_monotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME, &now);
    uint64_t current = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return timeout > current ? timeout - current : 0;
}

// Sleeps in slices, so that neither a deadline nor a cancelled call has to wait for the sleeper.
static bool sleep_for(cwasm_guest_t *guest, uint64_t nanoseconds) {
    uint64_t start = cwasm_monotonic();
    while (guest_check(guest) == CWASM_STOP_NONE) {
        uint64_t passed = cwasm_monotonic() - start;
        if (passed >= nanoseconds) return true;
        uint64_t left = nanoseconds - passed, slice = 2000000;
        struct timespec pause = {0, (long)(left < slice ? left : slice)};
        nanosleep(&pause, NULL);
    }
    return false;
}

// poll_oneoff(in, out, count, written) -> errno. Files and streams here are always ready; only clocks wait.
static wasm_trap_t *poll_once(void *environment, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t size) {
    (void)environment, (void)size;
    uint64_t in = (uint32_t)values[0].i32, out = (uint32_t)values[1].i32;
    uint64_t count = (uint32_t)values[2].i32, written = (uint32_t)values[3].i32;
    size_t memory_size = 0;
    uint8_t *memory = guest_memory(caller, &memory_size);
    if (count == 0 || count > subscriptions_max) {
        values[0].i32 = errno_invalid;
        return NULL;
    }
    if (!memory || in + count * subscription_bytes > memory_size || out + count * event_bytes > memory_size
        || written + 4 > memory_size) {
        values[0].i32 = errno_fault;
        return NULL;
    }
    uint8_t wanted[subscriptions_max * subscription_bytes];
    memcpy(wanted, memory + in, count * subscription_bytes);
    uint64_t wait = UINT64_MAX;
    for (uint64_t index = 0; index < count; index++) {
        const uint8_t *entry = wanted + index * subscription_bytes;
        uint64_t one = entry[8] == tag_clock ? wanted_wait(entry) : 0;
        if (one < wait) wait = one;
    }
    if (!sleep_for(guest_of(caller), wait)) return wasmtime_trap_new("stopped while asleep", 20);
    uint32_t events = 0;
    for (uint64_t index = 0; index < count; index++) {
        const uint8_t *entry = wanted + index * subscription_bytes;
        if (entry[8] == tag_clock && wanted_wait(entry) > wait) continue;
        uint8_t *event = memory + out + event_bytes * events++;
        memset(event, 0, event_bytes);
        memcpy(event, entry, 8);
        event[10] = entry[8];
    }
    memcpy(memory + written, &events, sizeof events);
    values[0].i32 = errno_success;
    return NULL;
}

wasmtime_error_t *cwasm_link_wasi(wasmtime_linker_t *linker, bool clock, bool random) {
    wasmtime_error_t *problem = wasmtime_linker_define_wasi(linker);
    if (problem) return problem;
    wasmtime_linker_allow_shadowing(linker, true);
    problem = link_function(linker, wasi_module, "poll_oneoff", "iiii:i", clock ? poll_once : no_clock);
    if (!problem && !clock) problem = link_function(linker, wasi_module, "clock_time_get", "iji:i", no_clock);
    if (!problem && !clock) problem = link_function(linker, wasi_module, "clock_res_get", "ii:i", no_clock);
    if (!problem && !random) problem = link_function(linker, wasi_module, "random_get", "ii:i", no_random);
    return problem;
}

// MARK: Imports and exports

static bool is_text(const wasm_byte_vec_t *bytes, const char *text) {
    return bytes->size == strlen(text) && memcmp(bytes->data, text, bytes->size) == 0;
}

static bool is_offered(const wasm_byte_vec_t *module, const wasm_byte_vec_t *name) {
    const host_table_t *const tables[] = {&extism_table, &hypermcp_table};
    for (size_t table = 0; table < 2; table++) {
        if (!is_text(module, tables[table]->module)) continue;
        for (size_t index = 0; index < tables[table]->count; index++) {
            if (is_text(name, tables[table]->functions[index].name)) return true;
        }
    }
    return false;
}

bool cwasm_imports_offered(const wasmtime_module_t *module, bool *wants_wasi, char *text, size_t text_count) {
    wasm_importtype_vec_t imports;
    wasmtime_module_imports(module, &imports);
    *wants_wasi = false;
    bool offered = true;
    for (size_t index = 0; index < imports.size && offered; index++) {
        const wasm_byte_vec_t *from = wasm_importtype_module(imports.data[index]);
        const wasm_byte_vec_t *name = wasm_importtype_name(imports.data[index]);
        bool is_function = wasm_externtype_kind(wasm_importtype_type(imports.data[index])) == CWASM_EXTERNKIND_FUNC;
        if (is_function && is_text(from, wasi_module)) {
            *wants_wasi = true;
            continue;
        }
        offered = is_function && is_offered(from, name);
        if (!offered) {
            snprintf(
                text, text_count, "%.*s . %.*s", (int)(from->size > 100 ? 100 : from->size), (const char *)from->data,
                (int)(name->size > 100 ? 100 : name->size), (const char *)name->data);
        }
    }
    wasm_importtype_vec_delete(&imports);
    return offered;
}

static enum cwasm_shape shape_of(const wasm_externtype_t *type) {
    if (wasm_externtype_kind(type) != CWASM_EXTERNKIND_FUNC) return CWASM_SHAPE_OTHER;
    const wasm_functype_t *function = wasm_externtype_as_functype_const(type);
    const wasm_valtype_vec_t *params = wasm_functype_params(function);
    const wasm_valtype_vec_t *results = wasm_functype_results(function);
    if (params->size == 0 && results->size == 0) return CWASM_SHAPE_PLAIN;
    if (params->size == 0 && results->size == 1 && wasm_valtype_kind(results->data[0]) == CWASM_VALKIND_I32) {
        return CWASM_SHAPE_CODE;
    }
    if (params->size == 2 && results->size == 0 && wasm_valtype_kind(params->data[0]) == CWASM_VALKIND_I32
        && wasm_valtype_kind(params->data[1]) == CWASM_VALKIND_I32) {
        return CWASM_SHAPE_ARGUMENTS;
    }
    return CWASM_SHAPE_OTHER;
}

enum cwasm_shape cwasm_export_shape(const wasmtime_module_t *module, const char *name) {
    wasm_exporttype_vec_t exports;
    wasmtime_module_exports(module, &exports);
    enum cwasm_shape shape = CWASM_SHAPE_ABSENT;
    size_t count = strlen(name);
    for (size_t index = 0; index < exports.size; index++) {
        const wasm_byte_vec_t *found = wasm_exporttype_name(exports.data[index]);
        if (found->size == count && memcmp(found->data, name, count) == 0) {
            shape = shape_of(wasm_exporttype_type(exports.data[index]));
        }
    }
    wasm_exporttype_vec_delete(&exports);
    return shape;
}
