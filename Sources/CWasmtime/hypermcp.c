// Licensed under the Apache License 2.0; see LICENSE.

// hyper-mcp's own functions, `extism:host/user`. All of them are on offer, so that every plug-in comes up; what would
// need the client answers as if the client could not.

#include "guest.h"

#include <string.h>

// Answers of the shape a plug-in sees when a client cannot do what it asks for.
static wasm_trap_t *answer(wasmtime_caller_t *caller, wasmtime_val_raw_t *values, const char *text, bool has_handle) {
    cwasm_guest_t *guest = guest_of(caller);
    if (has_handle) arena_free(guest, (uint64_t)values[0].i64);
    values[0].i64 = text ? (int64_t)arena_copy(guest, text, strlen(text)) : 0;
    return NULL;
}

HOST(user_elicit) {
    UNUSED;
    return answer(
        caller, values,
        "{\"action\":\"decline\",\"content\":{\"error\":\"this gateway does not pass questions on to the client\"}}",
        true);
}

HOST(user_sample) {
    UNUSED;
    return answer(
        caller, values,
        "{\"role\":\"assistant\",\"content\":{\"type\":\"text\",\"text\":"
        "\"this gateway does not pass sampling on to the client\"},\"model\":\"\",\"stopReason\":\"error\"}",
        true);
}

HOST(user_roots) {
    UNUSED;
    return answer(caller, values, "{\"roots\":[]}", false);
}

HOST(user_nothing) {
    UNUSED;
    return answer(caller, values, NULL, true);
}

HOST(user_notify_text) {
    UNUSED;
    log_handle(caller, "notification: ", (uint64_t)values[0].i64);
    return NULL;
}

HOST(user_notify) {
    UNUSED;
    return NULL;
}

static const host_function_t functions[] = {
    {"create_elicitation", "j:j", user_elicit},
    {"create_message", "j:j", user_sample},
    {"list_roots", ":j", user_roots},
    {"get_access_token", "j:j", user_nothing},
    {"get_keyring_secret", "j:j", user_nothing},
    {"notify_logging_message", "j:", user_notify_text},
    {"notify_progress", "j:", user_notify_text},
    {"notify_resource_updated", "j:", user_notify_text},
    {"notify_url_elicitation_completed", "j:", user_notify_text},
    {"notify_prompt_list_changed", ":", user_notify},
    {"notify_resource_list_changed", ":", user_notify},
    {"notify_tool_list_changed", ":", user_notify},
};

const host_table_t hypermcp_table = {"extism:host/user", functions, sizeof functions / sizeof *functions};
