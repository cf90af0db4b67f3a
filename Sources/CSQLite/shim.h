// Licensed under the Apache License 2.0; see LICENSE.

// SQLite as Swift can call it: the library's own header, and the few things in it that Swift does not import
// (destructor constants that are casts, functions with a variable number of arguments).

#ifndef MCPGW_CSQLITE_SHIM_H
#define MCPGW_CSQLITE_SHIM_H

#include <sqlite3.h>

/// Binds text and has SQLite copy it before the call returns.
static inline int mcpgw_bind_text(sqlite3_stmt *statement, int index, const char *text, int length) {
    return sqlite3_bind_text(statement, index, text, length, SQLITE_TRANSIENT);
}

/// Binds bytes and has SQLite copy them before the call returns.
static inline int mcpgw_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, int length) {
    return sqlite3_bind_blob(statement, index, bytes, length, SQLITE_TRANSIENT);
}

/// Switches one of the connection's boolean settings (SQLITE_DBCONFIG_...).
static inline int mcpgw_db_config(sqlite3 *database, int setting, int on) {
    return sqlite3_db_config(database, setting, on, (int *)0);
}

#endif
