// Licensed under the Apache License 2.0; see LICENSE.

// Writes down what SQLite does to the files of one directory, so that a test can build the directory as a disk would
// have it after a power cut. For tests only.

#ifndef MCPGW_POWERCUT_H
#define MCPGW_POWERCUT_H

#include <stddef.h>
#include <stdint.h>

/// What a record is about.
enum powercut_kind {
    /// A file that was there, whole and on disk, when the recording began. Data: what is in it.
    POWERCUT_FOUND = 0,
    /// A new file, or one that is empty still; its name is on disk after the next POWERCUT_NAMES. Data: its name.
    POWERCUT_MADE = 1,
    POWERCUT_DELETED = 2,
    /// Data: the bytes at `offset`.
    POWERCUT_WRITE = 3,
    /// To `offset` bytes.
    POWERCUT_TRUNCATE = 4,
    /// Everything before it in this file is on disk.
    POWERCUT_SYNC = 5,
    /// The directory was synced: files made and deleted before are so for good.
    POWERCUT_NAMES = 6,
    /// The mark of the epochs, which is not SQLite's, has changed since the record before. Data: what it holds.
    POWERCUT_MARK = 7,
    /// The name of a file that was found. Data: its name. Comes right before POWERCUT_FOUND.
    POWERCUT_NAME = 8,
};

/// Begins each record; as many bytes of data follow, without padding.
struct powercut_record {
    uint32_t kind;
    /// Which file, counted from 0. One that is made again is another.
    uint32_t file;
    uint64_t offset;
    uint64_t length;
};

/// Makes the recording VFS the default one of this process. Files that are not recorded do not notice: they get the
/// methods of the VFS beneath. Returns 0, or SQLite's code.
int powercut_register(void);

/// Records the files whose paths begin with `directory` and a slash; the mark is `queue.db.epoch` in it. One recording
/// at a time, begun before anything there is open. Returns -1 when there is one.
int powercut_begin(const char *directory);

/// How many records there are: a moment, in the time of the recording.
uint64_t powercut_position(void);

/// Ends the recording and hands over the records, one behind the other. The caller frees them.
void *powercut_take(size_t *length);

#endif
