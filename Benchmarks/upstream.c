// Licensed under the Apache License 2.0; see LICENSE.
//
// The cheapest MCP server there can be, so that a benchmark measures what stands before it: one thread, epoll, keep-alive.
// It knows server/discover, tools/list and tools/call by a look at the bytes, echoes the JSON-RPC id as it was written, and
// answers a call with the text of its argument "text". It is a fixture for trusted load generators and nothing else.
//
// Usage: upstream PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_ROOM = 16 << 10, ROOM_MAX = 8 << 20, EVENTS = 256 };

struct buffer {
    char *data;
    size_t begin, end, room;
};

struct peer {
    int fd;
    bool wants_write;
    struct buffer in, out;
};

static bool reserve(struct buffer *buffer, size_t more) {
    if (buffer->room - buffer->end >= more) return true;
    if (buffer->begin > 0) {
        memmove(buffer->data, buffer->data + buffer->begin, buffer->end - buffer->begin);
        buffer->end -= buffer->begin;
        buffer->begin = 0;
        if (buffer->room - buffer->end >= more) return true;
    }
    size_t room = buffer->room ? buffer->room : FIRST_ROOM;
    while (room - buffer->end < more) room *= 2;
    if (room > ROOM_MAX) return false;
    char *data = realloc(buffer->data, room);
    if (!data) return false;
    buffer->data = data;
    buffer->room = room;
    return true;
}

static void append(struct buffer *buffer, const char *data, size_t count) {
    if (!reserve(buffer, count)) return;
    memcpy(buffer->data + buffer->end, data, count);
    buffer->end += count;
}

// The value behind a key at the first place where the key occurs: up to the comma or brace for a number, up to the closing
// quote for a string, quotes included.
static const char *value_of(const char *body, size_t length, const char *key, size_t *count) {
    const char *end = body + length;
    const char *at = memmem(body, length, key, strlen(key));
    if (!at) return NULL;
    at += strlen(key);
    while (at < end && (*at == ' ' || *at == ':')) at++;
    const char *last = at;
    if (at < end && *at == '"') {
        // Quotes are looked for by memchr, because arguments of a quarter of a megabyte pass here.
        for (const char *from = at + 1; (last = memchr(from, '"', (size_t)(end - from))); from = last + 1) {
            const char *slash = last;
            while (slash - 1 > at && slash[-1] == '\\') slash--;
            if ((last - slash) % 2 == 0) break;
        }
        if (!last) return NULL;
        last++;
    } else {
        while (last < end && *last != ',' && *last != '}' && *last != ' ') last++;
    }
    *count = (size_t)(last - at);
    return at;
}

#define META "\"_meta\":{\"io.modelcontextprotocol/serverInfo\":{\"name\":\"bench\",\"version\":\"1\"}}"
#define HINTS "\"resultType\":\"complete\",\"ttlMs\":3600000,\"cacheScope\":\"public\","
static const char DISCOVER[] = "{" HINTS "\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":{\"tools\":{}}," META "}";
static const char LIST[] =
    "{" HINTS "\"tools\":[{\"name\":\"echo\",\"description\":\"Returns its text.\",\"inputSchema\":{\"type\":\"object\","
    "\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"]}}]," META "}";
static const char CALL_HEAD[] = "{\"resultType\":\"complete\",\"content\":[{\"type\":\"text\",\"text\":";
static const char CALL_TAIL[] = "}],\"isError\":false}";

static void answer(struct peer *peer, const char *body, size_t length) {
    size_t id_count = 0, text_count = 2;
    const char *id = value_of(body, length, "\"id\"", &id_count);
    const char *text = "\"\"", *before = "", *after = "";
    const char *kept = NULL;
    if (memmem(body, length, "\"tools/call\"", 12)) {
        text = value_of(body, length, "\"text\"", &text_count);
        if (!text) text = "\"\"", text_count = 2;
        before = CALL_HEAD, after = CALL_TAIL;
    } else if (memmem(body, length, "\"tools/list\"", 12)) {
        kept = LIST;
    } else if (memmem(body, length, "\"server/discover\"", 17)) {
        kept = DISCOVER;
    }
    if (!id) {
        static const char accepted[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        append(&peer->out, accepted, sizeof accepted - 1);
        return;
    }
    if (!kept && !*before) kept = "{\"resultType\":\"complete\"}";
    if (kept) text = kept, text_count = strlen(kept);
    static const char open[] = "{\"jsonrpc\":\"2.0\",\"id\":", middle[] = ",\"result\":";
    size_t size = sizeof open - 1 + id_count + sizeof middle - 1 + strlen(before) + text_count + strlen(after) + 1;
    char head[128];
    int count = snprintf(
        head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", size);
    reserve(&peer->out, (size_t)count + size);
    append(&peer->out, head, (size_t)count);
    append(&peer->out, open, sizeof open - 1);
    append(&peer->out, id, id_count);
    append(&peer->out, middle, sizeof middle - 1);
    append(&peer->out, before, strlen(before));
    append(&peer->out, text, text_count);
    append(&peer->out, after, strlen(after));
    append(&peer->out, "}", 1);
}

// Takes whole requests out of the input; false when the peer does not speak what is expected here.
static bool serve(struct peer *peer) {
    struct buffer *in = &peer->in;
    for (;;) {
        char *start = in->data + in->begin;
        size_t have = in->end - in->begin;
        char *stop = have ? memmem(start, have, "\r\n\r\n", 4) : NULL;
        if (!stop) return have < FIRST_ROOM;
        size_t length = 0;
        for (char *line = start; line < stop; line = (char *)memmem(line, (size_t)(stop + 2 - line), "\r\n", 2) + 2) {
            if (strncasecmp(line, "content-length:", 15) == 0) length = strtoul(line + 15, NULL, 10);
            if (strncasecmp(line, "transfer-encoding:", 18) == 0) return false;
        }
        size_t head = (size_t)(stop + 4 - start);
        if (length > ROOM_MAX / 2) return false;
        if (have < head + length) return reserve(in, head + length - have);
        answer(peer, start + head, length);
        in->begin += head + length;
        if (in->begin == in->end) in->begin = in->end = 0;
    }
}

static void forget(struct peer *peer) {
    close(peer->fd);
    free(peer->in.data);
    free(peer->out.data);
    free(peer);
}

// Writes what it can; false when the peer is gone.
static bool flush(int epoll, struct peer *peer) {
    struct buffer *out = &peer->out;
    while (out->begin < out->end) {
        ssize_t sent = send(peer->fd, out->data + out->begin, out->end - out->begin, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno != EAGAIN) return false;
        if (sent < 0) break;
        out->begin += (size_t)sent;
    }
    bool wants_write = out->begin < out->end;
    if (!wants_write) out->begin = out->end = 0;
    if (wants_write != peer->wants_write) {
        struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0u), .data.ptr = peer};
        epoll_ctl(epoll, EPOLL_CTL_MOD, peer->fd, &event);
        peer->wants_write = wants_write;
    }
    return true;
}

// One read, which is all there is nearly always; epoll tells when there is more.
static bool fill(struct peer *peer) {
    if (!reserve(&peer->in, 4096)) return false;
    ssize_t got = recv(peer->fd, peer->in.data + peer->in.end, peer->in.room - peer->in.end, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    peer->in.end += (size_t)got;
    return got > 0;
}

static void welcome(int epoll, int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int yes = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct peer *peer = calloc(1, sizeof *peer);
        if (!peer) {
            close(fd);
            return;
        }
        peer->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: upstream PORT\n"), 64;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 512)) return perror("upstream"), 1;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int index = 0; index < count; index++) {
            struct peer *peer = events[index].data.ptr;
            if (!peer) {
                welcome(epoll, listener);
                continue;
            }
            bool good = !(events[index].events & (EPOLLERR));
            if (good && events[index].events & (EPOLLIN | EPOLLHUP)) good = fill(peer) && serve(peer);
            if (good) good = flush(epoll, peer);
            if (!good) forget(peer);
        }
    }
}
