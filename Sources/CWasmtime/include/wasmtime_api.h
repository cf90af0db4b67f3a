// Licensed under the Apache License 2.0; see LICENSE.

// The part of wasmtime 50.0.1's C interface that the sandbox uses, reached through a table that `cwasmtime_load` fills
// at run time. The gateway therefore builds, starts and serves its upstreams on machines without the library. Each
// forward below has the name of the library's function and may be called only after a successful load.

#ifndef CWASMTIME_API_H
#define CWASMTIME_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct wasm_engine_t wasm_engine_t;
typedef struct wasm_config_t wasm_config_t;
typedef struct wasm_trap_t wasm_trap_t;
typedef struct wasm_valtype_t wasm_valtype_t;
typedef struct wasm_functype_t wasm_functype_t;
typedef struct wasm_externtype_t wasm_externtype_t;
typedef struct wasm_importtype_t wasm_importtype_t;
typedef struct wasm_exporttype_t wasm_exporttype_t;
typedef struct wasi_config_t wasi_config_t;
typedef struct wasmtime_error_t wasmtime_error_t;
typedef struct wasmtime_store_t wasmtime_store_t;
typedef struct wasmtime_context_t wasmtime_context_t;
typedef struct wasmtime_caller_t wasmtime_caller_t;
typedef struct wasmtime_module_t wasmtime_module_t;
typedef struct wasmtime_linker_t wasmtime_linker_t;
typedef struct wasmtime_instance_pre_t wasmtime_instance_pre_t;
typedef struct wasmtime_pooling_allocation_config_t wasmtime_pooling_allocation_config_t;

typedef struct { size_t size; uint8_t *data; } wasm_byte_vec_t;
typedef struct { size_t size; wasm_valtype_t **data; } wasm_valtype_vec_t;
typedef struct { size_t size; wasm_importtype_t **data; } wasm_importtype_vec_t;
typedef struct { size_t size; wasm_exporttype_t **data; } wasm_exporttype_vec_t;

typedef union {
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
    uint8_t v128[16];
    void *funcref;
} wasmtime_val_raw_t;

typedef struct { uint64_t store_id; void *private_1; } wasmtime_func_t;
typedef struct { uint64_t store_id; size_t private_1; } wasmtime_instance_t;
typedef struct {
    struct { uint64_t store_id; uint32_t private_1; } outer;
    uint32_t private_2;
} wasmtime_memory_t;

typedef struct {
    uint8_t kind;
    union {
        wasmtime_func_t func;
        wasmtime_memory_t memory;
        uint64_t room[3];
    } of;
} wasmtime_extern_t;

enum { CWASM_EXTERN_FUNC = 0, CWASM_EXTERN_MEMORY = 3 };
enum { CWASM_VALKIND_I32 = 0, CWASM_VALKIND_I64 = 1 };
enum { CWASM_EXTERNKIND_FUNC = 0 };

_Static_assert(sizeof(void *) == 8, "only 64-bit machines are supported");
_Static_assert(sizeof(wasm_byte_vec_t) == 16, "layout of wasm_byte_vec_t");
_Static_assert(sizeof(wasmtime_val_raw_t) == 16, "layout of wasmtime_val_raw_t");
_Static_assert(sizeof(wasmtime_func_t) == 16, "layout of wasmtime_func_t");
_Static_assert(sizeof(wasmtime_instance_t) == 16, "layout of wasmtime_instance_t");
_Static_assert(sizeof(wasmtime_memory_t) == 24, "layout of wasmtime_memory_t");
_Static_assert(sizeof(wasmtime_extern_t) == 32, "layout of wasmtime_extern_t");
_Static_assert(offsetof(wasmtime_extern_t, of) == 8, "layout of wasmtime_extern_t");

typedef void (*cwasm_finalizer_t)(void *);
typedef wasm_trap_t *(*cwasm_host_function_t)(
    void *environment, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count);
typedef wasmtime_error_t *(*cwasm_epoch_callback_t)(
    wasmtime_context_t *context, void *data, uint64_t *delta, uint8_t *kind);
typedef ssize_t (*cwasm_output_callback_t)(void *data, const unsigned char *bytes, size_t count);

// X(return type, name, parameters, arguments)
#define CWASMTIME_FUNCTIONS(X) \
    X(wasm_config_t *, wasm_config_new, (void), ()) \
    X(void, wasmtime_config_epoch_interruption_set, (wasm_config_t * c, bool v), (c, v)) \
    X(void, wasmtime_config_max_wasm_stack_set, (wasm_config_t * c, size_t v), (c, v)) \
    X(void, wasmtime_config_wasm_threads_set, (wasm_config_t * c, bool v), (c, v)) \
    X(void, wasmtime_config_wasm_memory64_set, (wasm_config_t * c, bool v), (c, v)) \
    X(void, wasmtime_config_wasm_multi_memory_set, (wasm_config_t * c, bool v), (c, v)) \
    X(void, wasmtime_config_cranelift_opt_level_set, (wasm_config_t * c, uint8_t v), (c, v)) \
    X(void, wasmtime_config_parallel_compilation_set, (wasm_config_t * c, bool v), (c, v)) \
    X(void, wasmtime_config_memory_reservation_set, (wasm_config_t * c, uint64_t v), (c, v)) \
    X(void, wasmtime_config_memory_reservation_for_growth_set, (wasm_config_t * c, uint64_t v), (c, v)) \
    X(void, wasmtime_config_memory_guard_size_set, (wasm_config_t * c, uint64_t v), (c, v)) \
    X(wasmtime_pooling_allocation_config_t *, wasmtime_pooling_allocation_config_new, (void), ()) \
    X(void, wasmtime_pooling_allocation_config_delete, (wasmtime_pooling_allocation_config_t * p), (p)) \
    X(void, wasmtime_pooling_allocation_config_total_core_instances_set, \
      (wasmtime_pooling_allocation_config_t * p, uint32_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_total_memories_set, \
      (wasmtime_pooling_allocation_config_t * p, uint32_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_total_tables_set, \
      (wasmtime_pooling_allocation_config_t * p, uint32_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_total_gc_heaps_set, \
      (wasmtime_pooling_allocation_config_t * p, uint32_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_total_stacks_set, \
      (wasmtime_pooling_allocation_config_t * p, uint32_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_total_component_instances_set, \
      (wasmtime_pooling_allocation_config_t * p, uint32_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_max_tables_per_module_set, \
      (wasmtime_pooling_allocation_config_t * p, uint32_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_table_elements_set, \
      (wasmtime_pooling_allocation_config_t * p, size_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_max_unused_warm_slots_set, \
      (wasmtime_pooling_allocation_config_t * p, uint32_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_linear_memory_keep_resident_set, \
      (wasmtime_pooling_allocation_config_t * p, size_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_config_table_keep_resident_set, \
      (wasmtime_pooling_allocation_config_t * p, size_t v), (p, v)) \
    X(void, wasmtime_pooling_allocation_strategy_set, \
      (wasm_config_t * c, const wasmtime_pooling_allocation_config_t *p), (c, p)) \
    X(wasm_engine_t *, wasm_engine_new_with_config, (wasm_config_t * c), (c)) \
    X(void, wasm_engine_delete, (wasm_engine_t * e), (e)) \
    X(void, wasmtime_engine_increment_epoch, (wasm_engine_t * e), (e)) \
    X(wasmtime_error_t *, wasmtime_module_new, \
      (wasm_engine_t * e, const uint8_t *bytes, size_t count, wasmtime_module_t **out), (e, bytes, count, out)) \
    X(wasmtime_error_t *, wasmtime_module_serialize, (wasmtime_module_t * m, wasm_byte_vec_t *out), (m, out)) \
    X(wasmtime_error_t *, wasmtime_module_deserialize_file, \
      (wasm_engine_t * e, const char *path, wasmtime_module_t **out), (e, path, out)) \
    X(void, wasmtime_module_delete, (wasmtime_module_t * m), (m)) \
    X(void, wasmtime_module_imports, (const wasmtime_module_t *m, wasm_importtype_vec_t *out), (m, out)) \
    X(void, wasmtime_module_exports, (const wasmtime_module_t *m, wasm_exporttype_vec_t *out), (m, out)) \
    X(wasmtime_linker_t *, wasmtime_linker_new, (wasm_engine_t * e), (e)) \
    X(void, wasmtime_linker_delete, (wasmtime_linker_t * l), (l)) \
    X(void, wasmtime_linker_allow_shadowing, (wasmtime_linker_t * l, bool v), (l, v)) \
    X(wasmtime_error_t *, wasmtime_linker_define_func_unchecked, \
      (wasmtime_linker_t * l, const char *module, size_t module_count, const char *name, size_t name_count, \
       const wasm_functype_t *type, cwasm_host_function_t function, void *data, cwasm_finalizer_t finalizer), \
      (l, module, module_count, name, name_count, type, function, data, finalizer)) \
    X(wasmtime_error_t *, wasmtime_linker_define_wasi, (wasmtime_linker_t * l), (l)) \
    X(wasmtime_error_t *, wasmtime_linker_instantiate_pre, \
      (const wasmtime_linker_t *l, const wasmtime_module_t *m, wasmtime_instance_pre_t **out), (l, m, out)) \
    X(wasmtime_error_t *, wasmtime_instance_pre_instantiate, \
      (const wasmtime_instance_pre_t *p, wasmtime_context_t *c, wasmtime_instance_t *out, wasm_trap_t **trap), \
      (p, c, out, trap)) \
    X(void, wasmtime_instance_pre_delete, (wasmtime_instance_pre_t * p), (p)) \
    X(bool, wasmtime_instance_export_get, \
      (wasmtime_context_t * c, const wasmtime_instance_t *i, const char *name, size_t count, wasmtime_extern_t *out), \
      (c, i, name, count, out)) \
    X(wasmtime_store_t *, wasmtime_store_new, (wasm_engine_t * e, void *data, cwasm_finalizer_t finalizer), \
      (e, data, finalizer)) \
    X(void, wasmtime_store_delete, (wasmtime_store_t * s), (s)) \
    X(wasmtime_context_t *, wasmtime_store_context, (wasmtime_store_t * s), (s)) \
    X(void, wasmtime_store_limiter, \
      (wasmtime_store_t * s, int64_t memory_bytes, int64_t table_elements, int64_t instances, int64_t tables, \
       int64_t memories), \
      (s, memory_bytes, table_elements, instances, tables, memories)) \
    X(void, wasmtime_store_epoch_deadline_callback, \
      (wasmtime_store_t * s, cwasm_epoch_callback_t function, void *data, cwasm_finalizer_t finalizer), \
      (s, function, data, finalizer)) \
    X(void *, wasmtime_context_get_data, (const wasmtime_context_t *c), (c)) \
    X(wasmtime_error_t *, wasmtime_context_set_wasi, (wasmtime_context_t * c, wasi_config_t *w), (c, w)) \
    X(void, wasmtime_context_set_epoch_deadline, (wasmtime_context_t * c, uint64_t ticks), (c, ticks)) \
    X(wasmtime_context_t *, wasmtime_caller_context, (wasmtime_caller_t * c), (c)) \
    X(bool, wasmtime_caller_export_get, \
      (wasmtime_caller_t * c, const char *name, size_t count, wasmtime_extern_t *out), (c, name, count, out)) \
    X(wasmtime_error_t *, wasmtime_func_call_unchecked, \
      (wasmtime_context_t * c, const wasmtime_func_t *f, wasmtime_val_raw_t *values, size_t count, \
       wasm_trap_t **trap), \
      (c, f, values, count, trap)) \
    X(uint8_t *, wasmtime_memory_data, (const wasmtime_context_t *c, const wasmtime_memory_t *m), (c, m)) \
    X(size_t, wasmtime_memory_data_size, (const wasmtime_context_t *c, const wasmtime_memory_t *m), (c, m)) \
    X(wasm_trap_t *, wasmtime_trap_new, (const char *text, size_t count), (text, count)) \
    X(void, wasm_trap_delete, (wasm_trap_t * t), (t)) \
    X(void, wasm_trap_message, (const wasm_trap_t *t, wasm_byte_vec_t *out), (t, out)) \
    X(bool, wasmtime_trap_code, (const wasm_trap_t *t, uint8_t *code), (t, code)) \
    X(wasmtime_error_t *, wasmtime_error_new, (const char *text), (text)) \
    X(void, wasmtime_error_delete, (wasmtime_error_t * e), (e)) \
    X(void, wasmtime_error_message, (const wasmtime_error_t *e, wasm_byte_vec_t *out), (e, out)) \
    X(bool, wasmtime_error_exit_status, (const wasmtime_error_t *e, int *status), (e, status)) \
    X(wasm_valtype_t *, wasm_valtype_new, (uint8_t kind), (kind)) \
    X(uint8_t, wasm_valtype_kind, (const wasm_valtype_t *t), (t)) \
    X(void, wasm_valtype_vec_new, (wasm_valtype_vec_t * out, size_t count, wasm_valtype_t *const *items), \
      (out, count, items)) \
    X(wasm_functype_t *, wasm_functype_new, (wasm_valtype_vec_t * params, wasm_valtype_vec_t *results), \
      (params, results)) \
    X(void, wasm_functype_delete, (wasm_functype_t * t), (t)) \
    X(const wasm_valtype_vec_t *, wasm_functype_params, (const wasm_functype_t *t), (t)) \
    X(const wasm_valtype_vec_t *, wasm_functype_results, (const wasm_functype_t *t), (t)) \
    X(const wasm_byte_vec_t *, wasm_importtype_module, (const wasm_importtype_t *t), (t)) \
    X(const wasm_byte_vec_t *, wasm_importtype_name, (const wasm_importtype_t *t), (t)) \
    X(const wasm_externtype_t *, wasm_importtype_type, (const wasm_importtype_t *t), (t)) \
    X(const wasm_byte_vec_t *, wasm_exporttype_name, (const wasm_exporttype_t *t), (t)) \
    X(const wasm_externtype_t *, wasm_exporttype_type, (const wasm_exporttype_t *t), (t)) \
    X(uint8_t, wasm_externtype_kind, (const wasm_externtype_t *t), (t)) \
    X(const wasm_functype_t *, wasm_externtype_as_functype_const, (const wasm_externtype_t *t), (t)) \
    X(void, wasm_importtype_vec_delete, (wasm_importtype_vec_t * v), (v)) \
    X(void, wasm_exporttype_vec_delete, (wasm_exporttype_vec_t * v), (v)) \
    X(void, wasm_byte_vec_delete, (wasm_byte_vec_t * v), (v)) \
    X(wasi_config_t *, wasi_config_new, (void), ()) \
    X(void, wasi_config_delete, (wasi_config_t * w), (w)) \
    X(bool, wasi_config_set_env, \
      (wasi_config_t * w, size_t count, const char **names, const char **values), (w, count, names, values)) \
    X(bool, wasi_config_preopen_dir, \
      (wasi_config_t * w, const char *host, const char *guest, bool writable), (w, host, guest, writable)) \
    X(void, wasi_config_set_stdout_custom, \
      (wasi_config_t * w, cwasm_output_callback_t function, void *data, cwasm_finalizer_t finalizer), \
      (w, function, data, finalizer)) \
    X(void, wasi_config_set_stderr_custom, \
      (wasi_config_t * w, cwasm_output_callback_t function, void *data, cwasm_finalizer_t finalizer), \
      (w, function, data, finalizer)) \
    X(wasmtime_error_t *, wasmtime_wat2wasm, (const char *text, size_t count, wasm_byte_vec_t *out), \
      (text, count, out))

#define CWASMTIME_FIELD(result, name, parameters, arguments) result(*name) parameters;
struct cwasmtime_table {
    CWASMTIME_FUNCTIONS(CWASMTIME_FIELD)
};
#undef CWASMTIME_FIELD

// Written once, under the loader's lock, before the first engine exists; read-only from then on.
extern struct cwasmtime_table cwasmtime_table;

#define CWASMTIME_FORWARD(result, name, parameters, arguments) \
    static inline result name parameters { return cwasmtime_table.name arguments; }
CWASMTIME_FUNCTIONS(CWASMTIME_FORWARD)
#undef CWASMTIME_FORWARD

// Loads the library at `path` and checks that it is exactly the version this header describes. True when the table is
// usable, also on a second call; otherwise `text` says why not.
bool cwasmtime_load(const char *path, char *text, size_t text_count);

#endif
