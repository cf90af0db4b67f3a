// Licensed under the Apache License 2.0; see LICENSE.

#include "guest.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct cwasm_flag {
    atomic_bool raised;
};

cwasm_flag_t *cwasm_flag_new(void) { return calloc(1, sizeof(cwasm_flag_t)); }
void cwasm_flag_delete(cwasm_flag_t *flag) { free(flag); }
void cwasm_flag_raise(cwasm_flag_t *flag) { atomic_store_explicit(&flag->raised, true, memory_order_release); }
bool cwasm_flag_is_raised(const cwasm_flag_t *flag) {
    return atomic_load_explicit(&flag->raised, memory_order_acquire);
}

uint64_t cwasm_monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint8_t *duplicate(const uint8_t *bytes, size_t count) {
    uint8_t *copy = malloc(count ? count : 1);
    if (copy && count) memcpy(copy, bytes, count);
    return copy;
}

cwasm_config_t *cwasm_config_new(void) { return calloc(1, sizeof(cwasm_config_t)); }

void cwasm_config_add(
    cwasm_config_t *config, const uint8_t *key, size_t key_count, const uint8_t *value, size_t value_count) {
    pair_t *pairs = realloc(config->pairs, (config->count + 1) * sizeof(pair_t));
    if (!pairs) return;
    config->pairs = pairs;
    pair_t pair = {duplicate(key, key_count), key_count, duplicate(value, value_count), value_count};
    if (pair.key && pair.value) {
        pairs[config->count++] = pair;
    } else {
        free(pair.key);
        free(pair.value);
    }
}

void cwasm_config_delete(cwasm_config_t *config) {
    if (!config) return;
    for (size_t index = 0; index < config->count; index++) {
        free(config->pairs[index].key);
        free(config->pairs[index].value);
    }
    free(config->pairs);
    free(config);
}

cwasm_guest_t *cwasm_guest_new(void) { return calloc(1, sizeof(cwasm_guest_t)); }

void cwasm_guest_delete(cwasm_guest_t *guest) {
    if (!guest) return;
    cwasm_guest_end(guest);
    cwasm_guest_trim(guest);
    free(guest);
}

void cwasm_guest_begin(cwasm_guest_t *guest, const cwasm_run_t *run) {
    cwasm_guest_end(guest);
    guest->run = *run;
}

void cwasm_guest_end(cwasm_guest_t *guest) {
    for (size_t index = 0; index < guest->variables_count; index++) {
        free(guest->variables[index].key);
        free(guest->variables[index].value);
    }
    free(guest->variables);
    guest->variables = NULL;
    guest->variables_count = guest->variables_bytes = 0;
    if (guest->arena_room > arena_kept) {
        free(guest->arena);
        guest->arena = NULL;
        guest->arena_room = 0;
    }
    if (guest->blocks_room > blocks_kept) {
        free(guest->blocks);
        guest->blocks = NULL;
        guest->blocks_room = 0;
    }
    guest->arena_top = arena_base;
    guest->blocks_count = guest->blocks_free = 0;
    guest->input_offset = guest->input_count = 0;
    guest->output_offset = guest->output_count = guest->error_offset = 0;
    guest->log_count = 0;
    guest->stop = CWASM_STOP_NONE;
    guest->denied = 0;
    memset(&guest->run, 0, sizeof guest->run);
}

void cwasm_guest_trim(cwasm_guest_t *guest) {
    free(guest->arena);
    free(guest->blocks);
    free(guest->log);
    guest->arena = NULL;
    guest->blocks = NULL;
    guest->log = NULL;
    guest->arena_room = guest->blocks_room = 0;
    guest->log_count = 0;
}

// MARK: The arena

static bool arena_grow(cwasm_guest_t *guest, uint64_t needed) {
    if (needed <= guest->arena_room) return true;
    uint64_t room = guest->arena_room ? guest->arena_room : 4096;
    while (room < needed) room *= 2;
    uint8_t *arena = realloc(guest->arena, room);
    if (!arena) return false;
    // What lies below the first block is readable by guests and must not be left-over heap.
    if (!guest->arena) memset(arena, 0, arena_base);
    guest->arena = arena;
    guest->arena_room = room;
    return true;
}

static block_t *reuse_block(cwasm_guest_t *guest, uint64_t room) {
    if (guest->blocks_free == 0) return NULL;
    for (size_t index = 0; index < guest->blocks_count; index++) {
        block_t *block = &guest->blocks[index];
        if (!block->is_used && block->room >= room) {
            guest->blocks_free -= 1;
            return block;
        }
    }
    return NULL;
}

static block_t *add_block(cwasm_guest_t *guest, uint64_t room) {
    if (guest->blocks_count >= blocks_max) return NULL;
    if (room > guest->run.arena_bytes_max || guest->arena_top + room > guest->run.arena_bytes_max) return NULL;
    if (!arena_grow(guest, guest->arena_top + room)) return NULL;
    if (guest->blocks_count == guest->blocks_room) {
        size_t more = guest->blocks_room ? guest->blocks_room * 2 : 32;
        block_t *blocks = realloc(guest->blocks, more * sizeof(block_t));
        if (!blocks) return NULL;
        guest->blocks = blocks;
        guest->blocks_room = more;
    }
    block_t *block = &guest->blocks[guest->blocks_count++];
    block->offset = guest->arena_top;
    block->room = room;
    guest->arena_top += room;
    return block;
}

uint64_t arena_alloc(cwasm_guest_t *guest, uint64_t count) {
    if (count == 0 || count > guest->run.arena_bytes_max) return 0;
    uint64_t room = (count + 15) & ~(uint64_t)15;
    block_t *block = reuse_block(guest, room);
    if (!block) block = add_block(guest, room);
    if (!block) return 0;
    block->count = count;
    block->is_used = true;
    memset(guest->arena + block->offset, 0, block->room);
    return block->offset;
}

block_t *arena_block(const cwasm_guest_t *guest, uint64_t offset) {
    size_t low = 0, high = guest->blocks_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (guest->blocks[middle].offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == guest->blocks_count) return NULL;
    block_t *block = &guest->blocks[low];
    return block->offset == offset && block->is_used ? block : NULL;
}

void arena_free(cwasm_guest_t *guest, uint64_t offset) {
    block_t *block = arena_block(guest, offset);
    if (!block) return;
    block->is_used = false;
    guest->blocks_free += 1;
    if (offset == guest->input_offset) guest->input_count = 0;
    while (guest->blocks_count > 0 && !guest->blocks[guest->blocks_count - 1].is_used) {
        guest->blocks_count -= 1;
        guest->blocks_free -= 1;
        guest->arena_top = guest->blocks[guest->blocks_count].offset;
    }
}

uint64_t arena_copy(cwasm_guest_t *guest, const void *bytes, size_t count) {
    uint64_t offset = arena_alloc(guest, count);
    if (offset) memcpy(guest->arena + offset, bytes, count);
    return offset;
}

uint8_t *cwasm_guest_input(cwasm_guest_t *guest, size_t count) {
    uint64_t offset = arena_alloc(guest, count);
    if (!offset) return NULL;
    guest->input_offset = offset;
    guest->input_count = count;
    return guest->arena + offset;
}

const uint8_t *cwasm_guest_output(const cwasm_guest_t *guest, size_t *count) {
    // The guest may have freed what it had set as its output.
    bool is_inside = guest->output_offset <= guest->arena_top
        && guest->output_count <= guest->arena_top - guest->output_offset;
    *count = is_inside && guest->arena ? guest->output_count : 0;
    return *count ? guest->arena + guest->output_offset : NULL;
}

const uint8_t *cwasm_guest_error(const cwasm_guest_t *guest, size_t *count) {
    block_t *block = guest->error_offset ? arena_block(guest, guest->error_offset) : NULL;
    *count = block ? block->count : 0;
    return block ? guest->arena + block->offset : NULL;
}

// MARK: Log, stops

void guest_note(cwasm_guest_t *guest, const char *prefix, const uint8_t *bytes, size_t count) {
    if (!guest->log) guest->log = malloc(log_bytes_max);
    if (!guest->log) return;
    const struct { const void *bytes; size_t count; } parts[] = {
        {prefix, strlen(prefix)}, {bytes, count}, {"\n", *prefix ? 1 : 0}};
    for (size_t index = 0; index < sizeof parts / sizeof *parts; index++) {
        size_t left = log_bytes_max - guest->log_count;
        size_t taken = parts[index].count < left ? parts[index].count : left;
        if (taken) memcpy(guest->log + guest->log_count, parts[index].bytes, taken);
        guest->log_count += taken;
    }
}

ssize_t cwasm_guest_print(void *guest, const unsigned char *bytes, size_t count) {
    guest_note(guest, "", bytes, count);
    return (ssize_t)count;
}

const uint8_t *cwasm_guest_log(const cwasm_guest_t *guest, size_t *count) {
    *count = guest->log_count;
    return guest->log;
}

enum cwasm_stop cwasm_guest_stop(const cwasm_guest_t *guest) { return guest->stop; }
uint32_t cwasm_guest_denied(const cwasm_guest_t *guest) { return guest->denied; }

enum cwasm_stop guest_check(cwasm_guest_t *guest) {
    if (guest->stop != CWASM_STOP_NONE) return guest->stop;
    if (guest->run.flag && cwasm_flag_is_raised(guest->run.flag)) guest->stop = CWASM_STOP_CANCELLED;
    else if (cwasm_monotonic() >= guest->run.deadline) guest->stop = CWASM_STOP_DEADLINE;
    return guest->stop;
}

wasmtime_error_t *cwasm_guest_epoch(wasmtime_context_t *context, void *data, uint64_t *delta, uint8_t *kind) {
    (void)context;
    if (guest_check(data) != CWASM_STOP_NONE) return wasmtime_error_new("stopped by the gateway");
    *delta = 1;
    *kind = 0;
    return NULL;
}
