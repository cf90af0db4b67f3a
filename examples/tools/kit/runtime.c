// Licensed under the Apache License 2.0; see LICENSE.

// The C functions that Embedded Swift expects to find at link time, and the copying between our memory and the host's.
// There is no C library underneath: this file is all a guest needs.
#include "extism.h"

#define PAGE_BYTES 65536u
#define CLASS_SMALLEST 5u   // 32 bytes
#define CLASS_LARGEST 30u   // 1 GiB, more than any sandbox grants

extern unsigned char __heap_base;

// Each block is a power of two in size, header included, and goes back to the list of its size. Wasteful by up to a
// half, but a few lines long, quick, and it never grows without end when a host keeps an instance for many calls.
typedef struct block {
    uint32_t class;
    struct block *next;
    uint64_t padding;   // the caller's bytes start at a multiple of 16
} block;

static block *freed[CLASS_LARGEST + 1];
static uintptr_t heap_next, heap_end;

static block *carve(uint32_t class) {
    size_t size = (size_t)1 << class;
    if (heap_next == 0) {
        heap_next = ((uintptr_t)&__heap_base + 15u) & ~(uintptr_t)15u;
        heap_end = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE_BYTES;
    }
    if (heap_end - heap_next < size) {
        size_t pages = (size - (heap_end - heap_next) + PAGE_BYTES - 1) / PAGE_BYTES;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) __builtin_trap();
        heap_end += pages * PAGE_BYTES;
    }
    block *fresh = (block *)heap_next;
    heap_next += size;
    fresh->class = class;
    return fresh;
}

void *malloc(size_t count) {
    uint32_t class = CLASS_SMALLEST;
    if (count > ((size_t)1 << CLASS_LARGEST) - sizeof(block)) __builtin_trap();
    while (((size_t)1 << class) < count + sizeof(block)) class++;
    block *found = freed[class];
    if (found) {
        freed[class] = found->next;
    } else {
        found = carve(class);
    }
    return found + 1;
}

void free(void *memory) {
    if (!memory) return;
    block *given = (block *)memory - 1;
    given->next = freed[given->class];
    freed[given->class] = given;
}

// Swift asks for its objects here. Blocks are aligned to 16 bytes; nothing in a tool needs more.
int posix_memalign(void **memory, size_t alignment, size_t count) {
    if (alignment > 16) return 22;
    *memory = malloc(count);
    return 0;
}

void *memcpy(void *to, const void *from, size_t count) {
    __builtin_memcpy(to, from, count);
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    __builtin_memmove(to, from, count);
    return to;
}

void *memset(void *to, int byte, size_t count) {
    __builtin_memset(to, byte, count);
    return to;
}

int memcmp(const void *left, const void *right, size_t count) {
    const uint8_t *a = left, *b = right;
    for (size_t index = 0; index < count; index++) {
        if (a[index] != b[index]) return a[index] < b[index] ? -1 : 1;
    }
    return 0;
}

// Seeds the hashing of Set and Dictionary. A fresh instance serves one call, so a fixed seed gives nothing away.
void arc4random_buf(void *bytes, size_t count) { memset(bytes, 0x5a, count); }

// Where Swift's print() would go. A tool has no terminal: its answer is its only output.
int putchar(int character) { return character; }

size_t kit_input_count(void) { return (size_t)extism_input_length(); }

void kit_input_read(uint8_t *into) {
    uint64_t count = extism_input_length(), offset = 0;
    for (; offset + 8 <= count; offset += 8) {
        uint64_t bytes = extism_input_load_u64(offset);
        __builtin_memcpy(into + offset, &bytes, 8);
    }
    for (; offset < count; offset++) into[offset] = (uint8_t)extism_input_load_u8(offset);
}

// A block in the host's memory with these bytes in it, or 0.
static uint64_t hand_over(const uint8_t *bytes, size_t count) {
    uint64_t handle = extism_alloc(count), offset = 0;
    if (handle == 0) return 0;
    for (; offset + 8 <= count; offset += 8) {
        uint64_t eight;
        __builtin_memcpy(&eight, bytes + offset, 8);
        extism_store_u64(handle + offset, eight);
    }
    for (; offset < count; offset++) extism_store_u8(handle + offset, bytes[offset]);
    return handle;
}

_Bool kit_output_write(const uint8_t *bytes, size_t count) {
    uint64_t handle = hand_over(bytes, count);
    if (handle == 0) return 0;
    extism_output_set(handle, count);
    return 1;
}

void kit_error_write(const uint8_t *bytes, size_t count) {
    uint64_t handle = hand_over(bytes, count);
    if (handle != 0) extism_error_set(handle);
}

int32_t kit_config_read(const uint8_t *key, size_t key_count, uint8_t *into, size_t limit) {
    uint64_t asked = hand_over(key, key_count);
    uint64_t value = asked == 0 ? 0 : extism_config_get(asked);
    if (value == 0) return -1;
    size_t count = (size_t)extism_length(value);
    if (count > limit) count = limit;
    for (size_t offset = 0; offset < count; offset++) into[offset] = (uint8_t)extism_load_u8(value + offset);
    return (int32_t)count;
}
