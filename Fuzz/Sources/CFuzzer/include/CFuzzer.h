// Licensed under the Apache License 2.0; see LICENSE.

#pragma once
#include <stddef.h>
#include <stdint.h>

/// The fuzzer's own loop, from the compiler's runtime library. Reads the usual libFuzzer arguments.
int LLVMFuzzerRunDriver(
    int *_Nonnull argc, char *_Nullable *_Nonnull *_Nonnull argv,
    int (*_Nonnull callback)(const uint8_t *_Nullable data, size_t size));
