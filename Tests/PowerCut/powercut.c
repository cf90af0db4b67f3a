// Licensed under the Apache License 2.0; see LICENSE.

#include "powercut.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 64
#define PATH_MAX_BYTES 512
#define MARK_BYTES 1024

/// What SQLite holds as an open file: ours first, the one of the VFS beneath right behind it.
struct recorded_file {
    sqlite3_file base;
    uint32_t number;
    /// Its first sync syncs the directory too, as the unix VFS does for a log or journal that it may make.
    int syncs_names;
};

static sqlite3_vfs *beneath;
static sqlite3_vfs recorder;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// All of this belongs to `lock`.
static char directory[PATH_MAX_BYTES];
static int is_on;
static char *bytes;
static size_t used, room;
static uint64_t records;
static char names[FILES_MAX][64];
static int is_live[FILES_MAX];
static uint32_t files;
static char mark[MARK_BYTES];
static size_t mark_length;

// MARK: The records

static void put(uint32_t kind, uint32_t file, uint64_t offset, const void *data, size_t length) {
    struct powercut_record head = {kind, file, offset, length};
    while (used + sizeof head + length > room) {
        room = room ? room * 2 : 1 << 20;
        bytes = realloc(bytes, room);
        if (!bytes) abort();
    }
    memcpy(bytes + used, &head, sizeof head);
    if (length) memcpy(bytes + used + sizeof head, data, length);
    used += sizeof head + length;
    records += 1;
}

/// The mark is written and synced between two records, by the thread that makes them: so it is enough to look before
/// each whether it has changed.
static void look_at_mark(void) {
    char path[PATH_MAX_BYTES + 32], now[MARK_BYTES];
    strcpy(path, directory);
    strcat(path, "/queue.db.epoch");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    ssize_t length = read(file, now, sizeof now);
    close(file);
    if (length <= 0 || ((size_t)length == mark_length && !memcmp(now, mark, mark_length))) return;
    memcpy(mark, now, (size_t)length);
    mark_length = (size_t)length;
    put(POWERCUT_MARK, 0, 0, mark, mark_length);
}

static void note(uint32_t kind, uint32_t file, uint64_t offset, const void *data, size_t length) {
    pthread_mutex_lock(&lock);
    if (is_on) {
        look_at_mark();
        put(kind, file, offset, data, length);
    }
    pthread_mutex_unlock(&lock);
}

/// The part of a path behind the recorded directory; NULL for a file that is none of ours. Call with the lock held.
static const char *name_of(const char *path) {
    size_t length = strlen(directory);
    if (!is_on || !path || strncmp(path, directory, length) || path[length] != '/') return NULL;
    return strlen(path + length + 1) < sizeof names[0] ? path + length + 1 : NULL;
}

static int find(const char *name) {
    for (uint32_t file = 0; file < files; file++) {
        if (is_live[file] && !strcmp(names[file], name)) return (int)file;
    }
    return -1;
}

/// Puts down that a file is there; what is in it counts as being on disk. Call with the lock held.
static uint32_t add(const char *name, const char *path) {
    if (files >= FILES_MAX) abort();
    uint32_t file = files++;
    strcpy(names[file], name);
    is_live[file] = 1;
    struct stat entry;
    if (stat(path, &entry) || !entry.st_size) {
        put(POWERCUT_MADE, file, 0, name, strlen(name));
        return file;
    }
    char *whole = malloc((size_t)entry.st_size);
    int from = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = whole && from >= 0 ? read(from, whole, (size_t)entry.st_size) : -1;
    if (length != entry.st_size) abort();
    close(from);
    put(POWERCUT_NAME, file, 0, name, strlen(name));
    put(POWERCUT_FOUND, file, 0, whole, (size_t)length);
    free(whole);
    return file;
}

// MARK: One open file

static sqlite3_file *real(sqlite3_file *file) { return (sqlite3_file *)((struct recorded_file *)file + 1); }
static uint32_t number(sqlite3_file *file) { return ((struct recorded_file *)file)->number; }

static int file_close(sqlite3_file *file) { return real(file)->pMethods->xClose(real(file)); }
static int file_read(sqlite3_file *file, void *to, int count, sqlite3_int64 offset) {
    return real(file)->pMethods->xRead(real(file), to, count, offset);
}
static int file_write(sqlite3_file *file, const void *from, int count, sqlite3_int64 offset) {
    int code = real(file)->pMethods->xWrite(real(file), from, count, offset);
    if (code == SQLITE_OK) note(POWERCUT_WRITE, number(file), (uint64_t)offset, from, (size_t)count);
    return code;
}
static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
    int code = real(file)->pMethods->xTruncate(real(file), size);
    if (code == SQLITE_OK) note(POWERCUT_TRUNCATE, number(file), (uint64_t)size, NULL, 0);
    return code;
}
static int file_sync(sqlite3_file *file, int flags) {
    struct recorded_file *own = (struct recorded_file *)file;
    int code = real(file)->pMethods->xSync(real(file), flags);
    if (code != SQLITE_OK) return code;
    note(POWERCUT_SYNC, own->number, 0, NULL, 0);
    if (own->syncs_names) note(POWERCUT_NAMES, own->number, 0, NULL, 0);
    own->syncs_names = 0;
    return code;
}
static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
    return real(file)->pMethods->xFileSize(real(file), size);
}
static int file_lock(sqlite3_file *file, int level) { return real(file)->pMethods->xLock(real(file), level); }
static int file_unlock(sqlite3_file *file, int level) { return real(file)->pMethods->xUnlock(real(file), level); }
static int file_reserved(sqlite3_file *file, int *is) {
    return real(file)->pMethods->xCheckReservedLock(real(file), is);
}
static int file_control(sqlite3_file *file, int what, void *with) {
    return real(file)->pMethods->xFileControl(real(file), what, with);
}
static int file_sector(sqlite3_file *file) { return real(file)->pMethods->xSectorSize(real(file)); }
static int file_device(sqlite3_file *file) { return real(file)->pMethods->xDeviceCharacteristics(real(file)); }
// Shared memory is lost with the power, so nothing of it is recorded.
static int shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **to) {
    return real(file)->pMethods->xShmMap(real(file), page, size, extend, to);
}
static int shm_lock(sqlite3_file *file, int offset, int count, int flags) {
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}
static void shm_barrier(sqlite3_file *file) { real(file)->pMethods->xShmBarrier(real(file)); }
static int shm_unmap(sqlite3_file *file, int deletes) {
    return real(file)->pMethods->xShmUnmap(real(file), deletes);
}

// Version 2: without memory mapping, past which nothing could be recorded.
static const sqlite3_io_methods methods = {
    .iVersion = 2, .xClose = file_close, .xRead = file_read, .xWrite = file_write, .xTruncate = file_truncate,
    .xSync = file_sync, .xFileSize = file_size, .xLock = file_lock, .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved, .xFileControl = file_control, .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_device, .xShmMap = shm_map, .xShmLock = shm_lock, .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

// MARK: The file system

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *flags_out) {
    (void)vfs;
    pthread_mutex_lock(&lock);
    int is_ours = name_of(path) != NULL;
    pthread_mutex_unlock(&lock);
    if (!is_ours) return beneath->xOpen(beneath, path, file, flags, flags_out);
    struct recorded_file *own = (struct recorded_file *)file;
    int is_journal = (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL)) && (flags & SQLITE_OPEN_CREATE);
    struct stat entry;
    int is_new = stat(path, &entry) != 0;
    int code = beneath->xOpen(beneath, path, real(file), flags, flags_out);
    // SQLite closes what has methods, also after a failure.
    file->pMethods = real(file)->pMethods ? &methods : NULL;
    if (code != SQLITE_OK) return code;
    pthread_mutex_lock(&lock);
    const char *name = name_of(path);
    int known = name ? find(name) : -1;
    if (known >= 0 && is_new) {
        // Somebody else has removed it.
        is_live[known] = 0;
        known = -1;
    }
    own->number = known >= 0 ? (uint32_t)known : name ? add(name, path) : FILES_MAX;
    own->syncs_names = is_journal;
    pthread_mutex_unlock(&lock);
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int syncs) {
    (void)vfs;
    int code = beneath->xDelete(beneath, path, syncs);
    if (code != SQLITE_OK) return code;
    pthread_mutex_lock(&lock);
    const char *name = name_of(path);
    int file = name ? find(name) : -1;
    if (file >= 0) {
        look_at_mark();
        put(POWERCUT_DELETED, (uint32_t)file, 0, NULL, 0);
        is_live[file] = 0;
        if (syncs) put(POWERCUT_NAMES, (uint32_t)file, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

int powercut_register(void) {
    pthread_mutex_lock(&lock);
    int code = SQLITE_OK;
    if (!beneath) {
        beneath = sqlite3_vfs_find(NULL);
        recorder = *beneath;
        recorder.pNext = NULL;
        recorder.zName = "power-cut";
        recorder.szOsFile += (int)sizeof(struct recorded_file);
        recorder.xOpen = vfs_open;
        recorder.xDelete = vfs_delete;
        code = sqlite3_vfs_register(&recorder, 1);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

int powercut_begin(const char *path) {
    pthread_mutex_lock(&lock);
    int code = is_on || strlen(path) >= sizeof directory ? -1 : 0;
    if (!code) {
        strcpy(directory, path);
        files = 0;
        mark_length = 0;
        records = 0;
        is_on = 1;
        look_at_mark();
        static const char *const there[] = {"queue.db", "queue.db-wal", "queue.db-journal"};
        for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
            char found[PATH_MAX_BYTES + 32];
            struct stat entry;
            strcpy(found, directory);
            strcat(found, "/");
            strcat(found, there[i]);
            if (!stat(found, &entry)) add(there[i], found);
        }
    }
    pthread_mutex_unlock(&lock);
    return code;
}

uint64_t powercut_position(void) {
    pthread_mutex_lock(&lock);
    uint64_t position = records;
    pthread_mutex_unlock(&lock);
    return position;
}

void *powercut_take(size_t *length) {
    pthread_mutex_lock(&lock);
    look_at_mark();
    void *taken = bytes;
    *length = used;
    bytes = NULL;
    used = room = 0;
    is_on = 0;
    pthread_mutex_unlock(&lock);
    return taken;
}
