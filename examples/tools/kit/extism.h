// Licensed under the Apache License 2.0; see LICENSE.

// What a plug-in can ask of its host: the functions of the Extism ABI that the examples use, and the few functions of
// runtime.c. Swift reads this file as its bridging header; C includes it.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define HOST(name) __attribute__((import_module("extism:host/env"), import_name(#name))) extern

// Handles are places in a memory of the host, never in ours; 0 means "none". Bytes go over eight at a time.
HOST(input_length) uint64_t extism_input_length(void);
HOST(input_load_u8) uint32_t extism_input_load_u8(uint64_t offset);
HOST(input_load_u64) uint64_t extism_input_load_u64(uint64_t offset);
HOST(alloc) uint64_t extism_alloc(uint64_t count);
HOST(length) uint64_t extism_length(uint64_t handle);
HOST(load_u8) uint32_t extism_load_u8(uint64_t handle);
HOST(store_u8) void extism_store_u8(uint64_t handle, uint32_t byte);
HOST(store_u64) void extism_store_u64(uint64_t handle, uint64_t bytes);
HOST(output_set) void extism_output_set(uint64_t handle, uint64_t count);
HOST(error_set) void extism_error_set(uint64_t handle);
HOST(config_get) uint64_t extism_config_get(uint64_t key);

#undef HOST

/// The number of bytes of this call's input.
size_t kit_input_count(void);
/// Copies the input to `into`, which has room for `kit_input_count()` bytes.
void kit_input_read(uint8_t *into);
/// Makes these bytes the answer of this call. False when the host has no room for them.
_Bool kit_output_write(const uint8_t *bytes, size_t count);
/// Makes these bytes the reason why this call failed; the exported function must then return something other than 0.
void kit_error_write(const uint8_t *bytes, size_t count);
/// Copies at most `limit` bytes of a value of the tool's `config` table to `into`. Returns the number of bytes
/// copied, or -1 when the operator has not set that key.
int32_t kit_config_read(const uint8_t *key, size_t key_count, uint8_t *into, size_t limit);

/// Memory that is given back with `free`. Never null: without memory there is nothing sensible to do, so the call ends.
void *malloc(size_t count);
void free(void *block);
void *memcpy(void *to, const void *from, size_t count);
