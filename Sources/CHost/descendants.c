// Licensed under the Apache License 2.0; see LICENSE.
#define _GNU_SOURCE
#include "descendants.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOUND_MAX 256
#define PASSES_MAX 16

struct process {
    pid_t pid;
    pid_t parent;
    pid_t group;
};

// Reads parent and group from /proc/PID/stat. The name in it may hold anything, also ")"; the fields begin after the
// last one.
static int look_at(const char *name, struct process *out) {
    char path[64], text[512];
    char *end;
    long pid = strtol(name, &end, 10);
    if (*end != 0 || pid <= 0) return 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return 0;
    ssize_t count = read(descriptor, text, sizeof text - 1);
    close(descriptor);
    if (count <= 0) return 0;
    text[count] = 0;
    char *fields = strrchr(text, ')');
    int parent, group;
    char state;
    if (fields == NULL || sscanf(fields + 1, " %c %d %d", &state, &parent, &group) != 3) return 0;
    *out = (struct process){.pid = (pid_t)pid, .parent = parent, .group = group};
    return 1;
}

static int knows(const struct process *found, int count, pid_t pid) {
    for (int index = 0; index < count; index++) {
        if (found[index].pid == pid) return 1;
    }
    return 0;
}

// Fills `found` with the descendants. /proc is gone over until a pass brings nothing new, since a child may be listed
// before its parent. The per-task list of children would be quicker, but not every kernel is built with it. Returns
// -1 without /proc.
static int find_descendants(struct process *found) {
    DIR *directory = opendir("/proc");
    if (directory == NULL) return -1;
    pid_t self = getpid();
    int count = 0, before = -1;
    for (int pass = 0; pass < PASSES_MAX && before != count && count < FOUND_MAX; pass++) {
        before = count;
        rewinddir(directory);
        struct dirent *entry;
        while (count < FOUND_MAX && (entry = readdir(directory)) != NULL) {
            struct process seen;
            if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !look_at(entry->d_name, &seen)) continue;
            if (seen.parent != self && !knows(found, count, seen.parent)) continue;
            if (!knows(found, count, seen.pid)) found[count++] = seen;
        }
    }
    closedir(directory);
    return count;
}

void csystem_signal_descendants(pid_t group, int group_is_held, int signal) {
    struct process found[FOUND_MAX];
    int count = find_descendants(found);
    int group_is_ours = group_is_held || count < 0;
    for (int index = 0; index < count; index++) {
        if (found[index].group == group) {
            group_is_ours = 1;
        } else {
            kill(found[index].pid, signal);
        }
    }
    if (group_is_ours) kill(-group, signal);
}
