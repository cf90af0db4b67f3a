// Licensed under the Apache License 2.0; see LICENSE.

#include "wasmtime_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct cwasmtime_table cwasmtime_table;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_loaded;

// The library has no version function and no soname; this symbol carries the version in its name.
static const char *const version_symbol = "set_vmctx_memory_50_0_0";

static bool fill(void *library, struct cwasmtime_table *table, char *text, size_t text_count) {
#define CWASMTIME_RESOLVE(result, name, parameters, arguments) \
    *(void **)&table->name = dlsym(library, #name); \
    if (!table->name) { \
        snprintf(text, text_count, "it has no function '%s'; wasmtime 50.0.1 is needed", #name); \
        return false; \
    }
    CWASMTIME_FUNCTIONS(CWASMTIME_RESOLVE)
#undef CWASMTIME_RESOLVE
    return true;
}

static bool load_locked(const char *path, char *text, size_t text_count) {
    if (access(path, R_OK) != 0) {
        snprintf(text, text_count, "there is no readable file %s", path);
        return false;
    }
    if (is_loaded) return true;
    // Never unloaded: it installs signal handlers and keeps threads.
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        const char *reason = dlerror();
        snprintf(text, text_count, "%s", reason ? reason : "the file is no library");
        return false;
    }
    if (!dlsym(library, version_symbol)) {
        snprintf(text, text_count, "%s is not wasmtime 50.0.1; other versions have another interface", path);
        dlclose(library);
        return false;
    }
    struct cwasmtime_table table;
    memset(&table, 0, sizeof table);
    if (!fill(library, &table, text, text_count)) {
        dlclose(library);
        return false;
    }
    cwasmtime_table = table;
    is_loaded = true;
    return true;
}

bool cwasmtime_load(const char *path, char *text, size_t text_count) {
    pthread_mutex_lock(&lock);
    bool usable = load_locked(path, text, text_count);
    pthread_mutex_unlock(&lock);
    return usable;
}
