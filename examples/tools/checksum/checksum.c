// Licensed under the Apache License 2.0; see LICENSE.

// A tool module in C, without a C library: version 1 of the hyper-mcp interface, `describe` and `call`.
#include "extism.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define COUNT(text) (sizeof(text) - 1)
#define DEPTH_MAX 64

#define TOOL(name, title, description)                                                                                 \
    "{\"name\":\"" name "\",\"title\":\"" title "\",\"description\":\"" description "\","                              \
    "\"inputSchema\":{\"type\":\"object\",\"properties\":{"                                                            \
    "\"text\":{\"type\":\"string\",\"description\":\"The text; its UTF-8 bytes count.\"}},"                            \
    "\"required\":[\"text\"],\"additionalProperties\":false},"                                                         \
    "\"annotations\":{\"readOnlyHint\":true,\"idempotentHint\":true,\"openWorldHint\":false}}"

static const char tools[] =
    "{\"tools\":["
    TOOL("crc32", "CRC-32",
         "Computes the CRC-32 checksum (as in zip, gzip and PNG) of a text, as 8 hexadecimal digits. It finds "
         "accidental changes; it is no protection against intended ones.") ","
    TOOL("adler32", "Adler-32",
         "Computes the Adler-32 checksum (as in zlib) of a text, as 8 hexadecimal digits. Quicker and weaker than "
         "crc32.") ","
    TOOL("hex", "Hexadecimal", "Writes the bytes of a text in hexadecimal, two digits a byte, without spaces.")
    "]}";

// --- Reading JSON. Every function returns the position behind what it read, or null when that is no JSON. ---

typedef const uint8_t *place;

static place space(place at, place end) {
    while (at < end && (*at == ' ' || (*at >= 9 && *at <= 13))) at++;
    return at;
}

static int hex_digit(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static place skip_string(place at, place end) {
    for (at++; at < end && *at >= 0x20; at++) {
        if (*at == '"') return at + 1;
        if (*at != '\\') continue;
        if (++at == end) return NULL;
        if (*at != 'u') continue;
        for (int digits = 0; digits < 4; digits++) {
            if (++at == end || hex_digit(*at) < 0) return NULL;
        }
    }
    return NULL;
}

static place skip_value(place at, place end, int depth) {
    if (at == end || depth > DEPTH_MAX) return NULL;
    if (*at == '"') return skip_string(at, end);
    if (*at != '{' && *at != '[') {
        place first = at;   // number, true, false or null: the host has looked at them closely enough
        while (at < end && *at > ' ' && *at != ',' && *at != '}' && *at != ']' && *at != '"') at++;
        return at > first ? at : NULL;
    }
    uint8_t closing = *at == '{' ? '}' : ']';
    at = space(at + 1, end);
    if (at < end && *at == closing) return at + 1;
    for (;;) {
        if (closing == '}') {
            if (at == end || *at != '"' || !(at = skip_string(at, end))) return NULL;
            at = space(at, end);
            if (at == end || *at != ':') return NULL;
            at = space(at + 1, end);
        }
        if (!(at = skip_value(at, end, depth + 1))) return NULL;
        at = space(at, end);
        if (at == end) return NULL;
        if (*at == closing) return at + 1;
        if (*at != ',') return NULL;
        at = space(at + 1, end);
    }
}

// A piece of the input; `first` is null when there is none.
typedef struct {
    place first, end;
} piece;

static _Bool equals(piece text, const char *word) {
    for (; text.first < text.end && *word; text.first++, word++) {
        if (*text.first != (uint8_t)*word) return 0;
    }
    return text.first == text.end && !*word;
}

// The value of a key in an object that was checked before. Keys that need no escapes are found however the rest is
// written.
static piece member(piece object, const char *key) {
    piece found = {NULL, NULL};
    if (!object.first || *object.first != '{') return found;
    place at = space(object.first + 1, object.end);
    while (*at == '"') {
        piece name = {at + 1, NULL};
        at = skip_string(at, object.end);
        name.end = at - 1;
        at = space(space(at, object.end) + 1, object.end);
        piece value = {at, skip_value(at, object.end, 1)};
        if (equals(name, key)) found = value;
        at = space(value.end, object.end);
        if (*at == ',') at = space(at + 1, object.end);
    }
    return found;
}

static uint32_t four_digits(place at) {
    uint32_t value = 0;
    for (int index = 0; index < 4; index++) value = value << 4 | (uint32_t)hex_digit(at[index]);
    return value;
}

// The content of a string as UTF-8. It is never longer than the way it is written, so it may be put in the same place.
static size_t unescape(piece string, uint8_t *to) {
    uint8_t *start = to;
    for (place at = string.first + 1; at < string.end - 1; at++) {
        if (*at != '\\') {
            *to++ = *at;
            continue;
        }
        uint32_t scalar = *++at;
        switch (scalar) {
        case 'n': scalar = '\n'; break;
        case 't': scalar = '\t'; break;
        case 'r': scalar = '\r'; break;
        case 'b': scalar = '\b'; break;
        case 'f': scalar = '\f'; break;
        case 'u':
            scalar = four_digits(at + 1);
            at += 4;
            if (scalar >= 0xd800 && scalar < 0xdc00 && at + 6 < string.end && at[1] == '\\' && at[2] == 'u') {
                uint32_t low = four_digits(at + 3);
                if (low >= 0xdc00 && low < 0xe000) {
                    scalar = 0x10000 + ((scalar - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
            }
            if (scalar >= 0xd800 && scalar < 0xe000) scalar = 0xfffd;   // half a surrogate pair
        }
        if (scalar < 0x80) {
            *to++ = (uint8_t)scalar;
        } else if (scalar < 0x800) {
            *to++ = (uint8_t)(0xc0 | scalar >> 6);
            *to++ = (uint8_t)(0x80 | (scalar & 0x3f));
        } else if (scalar < 0x10000) {
            *to++ = (uint8_t)(0xe0 | scalar >> 12);
            *to++ = (uint8_t)(0x80 | (scalar >> 6 & 0x3f));
            *to++ = (uint8_t)(0x80 | (scalar & 0x3f));
        } else {
            *to++ = (uint8_t)(0xf0 | scalar >> 18);
            *to++ = (uint8_t)(0x80 | (scalar >> 12 & 0x3f));
            *to++ = (uint8_t)(0x80 | (scalar >> 6 & 0x3f));
            *to++ = (uint8_t)(0x80 | (scalar & 0x3f));
        }
    }
    return (size_t)(to - start);
}

// --- The checksums ---

static uint32_t crc32(place bytes, size_t count) {
    uint32_t table[256], crc = 0xffffffffu;
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t entry = byte;
        for (int bit = 0; bit < 8; bit++) entry = entry >> 1 ^ (entry & 1 ? 0xedb88320u : 0);
        table[byte] = entry;
    }
    for (size_t index = 0; index < count; index++) crc = crc >> 8 ^ table[(crc ^ bytes[index]) & 255];
    return ~crc;
}

static uint32_t adler32(place bytes, size_t count) {
    uint32_t low = 1, high = 0;
    for (size_t index = 0; index < count; index++) {
        low = (low + bytes[index]) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}

// --- The interface ---

static int answer(const uint8_t *text, size_t count, _Bool is_error) {
    static const char before[] = "{\"content\":[{\"type\":\"text\",\"text\":\"";
    static const char after[] = "\"}]}", after_error[] = "\"}],\"isError\":true}";
    uint8_t *bytes = malloc(COUNT(before) + count + COUNT(after_error)), *to = bytes;
    memcpy(to, before, COUNT(before));
    to += COUNT(before);
    memcpy(to, text, count);   // hexadecimal digits and our own sentences: nothing that JSON escapes
    to += count;
    memcpy(to, is_error ? after_error : after, is_error ? COUNT(after_error) : COUNT(after));
    to += is_error ? COUNT(after_error) : COUNT(after);
    _Bool done = kit_output_write(bytes, (size_t)(to - bytes));
    free(bytes);
    return done ? 0 : 1;
}

#define REFUSE(text) return answer((const uint8_t *)(text), COUNT(text), 1)

static int answer_hex(place bytes, size_t count) {
    static const char digits[] = "0123456789abcdef";
    uint8_t *text = malloc(2 * count);
    for (size_t index = 0; index < count; index++) {
        text[2 * index] = (uint8_t)digits[bytes[index] >> 4];
        text[2 * index + 1] = (uint8_t)digits[bytes[index] & 15];
    }
    int result = answer(text, 2 * count, 0);
    free(text);
    return result;
}

static int answer_sum(uint32_t sum) {
    uint8_t bytes[4] = {(uint8_t)(sum >> 24), (uint8_t)(sum >> 16), (uint8_t)(sum >> 8), (uint8_t)sum};
    return answer_hex(bytes, 4);
}

static int run(piece message, uint8_t *room) {
    piece parameters = member(message, "params");
    piece name = member(parameters, "name");
    piece text = member(member(parameters, "arguments"), "text");
    if (!name.first || *name.first != '"') {
        static const char reason[] = "The host sent no call: the name of the tool is missing.";
        kit_error_write((place)reason, COUNT(reason));
        return 1;
    }
    name.first++;
    name.end--;
    _Bool is_crc = equals(name, "crc32"), is_adler = equals(name, "adler32");
    if (!is_crc && !is_adler && !equals(name, "hex")) {
        REFUSE("This module has no tool of that name. It has: crc32, adler32, hex.");
    }
    if (!text.first || *text.first != '"') REFUSE("text must be a string.");
    size_t count = unescape(text, room);
    if (is_crc) return answer_sum(crc32(room, count));
    if (is_adler) return answer_sum(adler32(room, count));
    return answer_hex(room, count);
}

EXPORT(describe) int describe(void) { return kit_output_write((place)tools, COUNT(tools)) ? 0 : 1; }

EXPORT(call) int call(void) {
    size_t count = kit_input_count();
    uint8_t *input = malloc(count + 1), *room = malloc(count + 1);
    kit_input_read(input);
    input[count] = 0;   // no object ends here, so whoever looks one byte ahead finds no more members
    place first = space(input, input + count), end = skip_value(first, input + count, 1);
    piece message = {end ? first : NULL, end};
    int result = run(message, room);
    free(room);
    free(input);
    return result;
}
