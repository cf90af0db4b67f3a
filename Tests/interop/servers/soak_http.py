# Licensed under the Apache License 2.0; see LICENSE.
"""An upstream of the soak test that misbehaves over HTTP. Usage: soak_http.py PORT SEED CALM COUNTS

Legacy (2025-06-18) with sessions, which it forgets at times. It answers nonsense, hangs up at every place, hangs, drips, says
what nobody asked for, and sends storms of list changes. On the stream of the shared session it talks about the calls of
everybody, which must reach nobody.
"""

import collections
import json
import queue
import secrets
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import soak_unruly as unruly
from soak_unruly import message, note, progress, question, result

mood = unruly.Mood(int(sys.argv[2]), sys.argv[3], sys.argv[4])
# Per session: who waits for which answer of the client, and the resources it watches.
sessions = {}
recent = collections.deque(maxlen=50)
cut = {}
flicker = 0
HANG = 8


class Session:
    def __init__(self):
        self.answers, self.uris, self.number = {}, set(), 0


class Unruly(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120

    def do_DELETE(self):
        sessions.pop(self.headers["Mcp-Session-Id"], None)
        self.reply(200)

    def do_GET(self):
        last = self.headers["Last-Event-ID"]
        if last in cut:
            return self.go_on(*cut.pop(last))
        session = sessions.get(self.headers["Mcp-Session-Id"])
        if session is None:
            return self.reply(404)
        self.begin_events()
        try:
            self.talk(session)
        except OSError:
            pass
        self.close_connection = True

    def talk(self, session):
        """The stream of a session: changes, and much that is of nobody's concern."""
        global flicker
        while session in sessions.values():
            time.sleep(0.5)
            for uri in list(session.uris):
                self.event(note("notifications/resources/updated", uri=uri))
            if mood.chance(0.06):
                mood.note("storm")
                for _ in range(200):
                    flicker = next(unruly.flickers)
                    self.event(note("notifications/tools/list_changed"))
            if mood.chance(0.3) and recent:
                mood.note("gossip")
                token, tag = mood.pick(recent)
                self.event(note("notifications/message", level="error", logger=tag, data=f"gossip about {tag}"))
                self.event(progress(token, 10_000, tag))
                self.event(question(f"gossip-{secrets.token_hex(4)}", tag))
                self.event(note("notifications/resources/updated", uri=f"test://private/{tag}x"))
            if mood.chance(0.02):
                mood.note("own stream ended")
                return
            # Shows whether the other side is still there.
            self.event(None)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.headers["Mcp-Session-Id"]
        if mood.chance(0.01):
            mood.note("all sessions forgotten")
            sessions.clear()
        session = sessions.get(known)
        if request.get("method") == "server/discover":
            return self.json(message(id=request["id"], error={"code": -32601, "message": "no such method"}))
        if request.get("method") == "initialize":
            name = secrets.token_hex(8)
            sessions[name] = Session()
            return self.json(message(id=request["id"], result=unruly.opening("2025-06-18")), {"Mcp-Session-Id": name})
        if session is None:
            return self.reply(404, b"no such session")
        if "method" not in request:
            waiting = session.answers.pop(request.get("id"), None)
            if waiting:
                waiting.put(request)
            return self.reply(202)
        if "id" not in request:
            return self.reply(202)
        if request["method"] == "tools/call":
            return self.call(session, request["id"], request["params"])
        if request["method"] in ("resources/subscribe", "resources/unsubscribe"):
            getattr(session.uris, "add" if request["method"].endswith("/subscribe") else "discard")(request["params"]["uri"])
        if request["method"].endswith("/list") and mood.chance(0.03):
            mood.note("nonsense for a list")
            return self.json(unruly.nonsense(mood.pick(list(unruly.NONSENSE)), request["id"], "list"))
        found = unruly.answer(request, flicker)
        if found is None:
            return self.json(message(id=request["id"], error={"code": -32601, "message": "no such method"}))
        self.json(message(id=request["id"], result=found))

    # Calls

    def call(self, session, id, params):
        tag, token = params.get("arguments", {}).get("tag", "untagged"), params.get("_meta", {}).get("progressToken")
        if token is not None:
            recent.append((token, tag))
        if mood.chance(0.5):
            return self.misbehave(mood.pick(MISCHIEF), id, tag, token)
        if params["name"] == "say":
            return self.json(result(id, tag))
        self.begin_events()
        if params["name"] == "steps":
            for number in range(1, 4):
                if token is not None:
                    self.event(progress(token, number, tag))
                time.sleep(0.02)
            self.event(result(id, f"{tag}: 3 steps"))
        else:
            self.event(result(id, self.ask(session, tag)))
        self.end_events()

    def ask(self, session, tag):
        session.number += 1
        number, waiting = f"q{session.number}", queue.Queue()
        session.answers[number] = waiting
        self.event(question(number, tag))
        try:
            given = waiting.get(timeout=20)
        except queue.Empty:
            return f"{tag}: nobody answered"
        if "error" in given:
            return f"{tag}: refused {given['error']['message']}"
        return f"{tag}: {given['result'].get('content', {}).get('value', given['result'].get('action'))}"

    def misbehave(self, kind, id, tag, token):
        mood.note(kind)
        getattr(self, "do_" + kind)(id, tag, token)

    def do_nonsense(self, id, tag, token):
        self.json(unruly.nonsense(mood.pick(list(unruly.NONSENSE)), id, tag))

    def do_nonsense_in_a_stream(self, id, tag, token):
        self.begin_events()
        self.event(unruly.nonsense(mood.pick(list(unruly.NONSENSE)), id, tag))
        self.end_events()

    def do_bytes(self, id, tag, token):
        self.reply(200, b'{"jsonrpc":"2.0","id":%d,"result":{"content":"\xff\xfe"}}' % id)

    def do_page(self, id, tag, token):
        page = f"<html><h1>{tag}</h1></html>".encode()
        self.reply(mood.pick([200, 400, 401, 403, 404, 429, 500, 502, 503]), page, {"Content-Type": "text/html"})

    def do_elsewhere(self, id, tag, token):
        self.reply(302, b"", {"Location": f"/{tag}"})

    def do_nothing(self, id, tag, token):
        self.reply(mood.pick([200, 202, 204]))

    def do_close(self, id, tag, token):
        self.hang_up(b"")

    def do_close_in_head(self, id, tag, token):
        self.hang_up(b"HTTP/1.1 200 OK\r\nContent-Ty")

    def do_close_in_body(self, id, tag, token):
        self.hang_up(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n" + result(id, tag).encode())

    def do_no_http(self, id, tag, token):
        self.hang_up(f"SSH-2.0-{tag}\r\n\r\n".encode())

    def do_reset(self, id, tag, token):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.hang_up(b"HTTP/1.1 200 OK\r\n")

    def do_cut(self, id, tag, token):
        """The stream ends after some progress, and cannot be gone on with."""
        self.begin_events()
        if token is not None:
            self.event(progress(token, 1, tag))
        self.hang_up(b"")

    def do_cut_in_a_chunk(self, id, tag, token):
        self.begin_events()
        self.hang_up(b"ffff\r\ndata: " + result(id, tag).encode()[:40])

    def do_cut_and_go_on(self, id, tag, token):
        """The stream ends, and whoever names the last event gets the rest, or not."""
        name = secrets.token_hex(8)
        cut[name] = (id, tag, token)
        self.begin_events()
        self.write(b"id: %s\r\nretry: 50\r\ndata: \r\n\r\n" % name.encode())
        self.end_events() if mood.chance(0.5) else self.hang_up(b"")

    def go_on(self, id, tag, token):
        if mood.chance(0.3):
            return self.reply(mood.pick([400, 404, 500]))
        self.begin_events()
        if token is not None:
            self.event(progress(token, 2, tag))
        if not mood.chance(0.3):
            self.event(result(id, tag))
        self.end_events()

    def do_hang(self, id, tag, token):
        self.wait_for_the_other_side()

    def do_hang_in_a_stream(self, id, tag, token):
        self.begin_events()
        for number in range(HANG * 5):
            if token is not None:
                self.event(progress(token, number / 10, tag))
            self.event(None)
            time.sleep(0.2)
        self.hang_up(b"")

    def do_drip(self, id, tag, token):
        body = result(id, tag).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        for byte in head + body:
            self.wfile.write(bytes([byte]))
            time.sleep(0.005)

    def do_chatter(self, id, tag, token):
        """Questions nobody may be asked, requests nobody knows, progress that goes backwards, and then the answer."""
        self.begin_events()
        for number in (5, 3, 4, 5, 6, 1):
            if token is not None:
                self.event(progress(token, number, tag))
        self.event(progress("no such token", 1, tag))
        self.event(note("notifications/message", level="info", logger=tag, data=tag))
        self.event(note("notifications/strange", tag=tag))
        self.event(note("notifications/cancelled", requestId=id))
        for number, method in enumerate(("ping", "roots/list", "strange/method", "sampling/createMessage")):
            self.event(message(id=f"chatter-{id}-{number}", method=method, params={"tag": tag}))
        self.event("{not json")
        self.event(message(id=id + 1, result={"content": [{"type": "text", "text": tag}]}))
        self.event(result(id, tag))
        self.end_events()

    def do_twice(self, id, tag, token):
        self.begin_events()
        self.event(result(id, tag))
        self.event(result(id, f"{tag} again"))
        if token is not None:
            self.event(progress(token, 99, tag))
        self.end_events()

    def do_never_end(self, id, tag, token):
        """The answer comes, the end of its stream does not."""
        self.begin_events()
        self.event(result(id, tag))
        self.wait_for_the_other_side()

    def do_large(self, id, tag, token):
        self.json(result(id, f"{tag} " * mood.pick([1_000, 100_000, 900_000])))

    def do_strange_forget(self, id, tag, token):
        sessions.clear()
        self.reply(404, b"no such session")

    # Writing

    def wait_for_the_other_side(self):
        self.connection.settimeout(HANG)
        try:
            self.rfile.read(1)
        except OSError:
            pass
        self.close_connection = True

    def hang_up(self, last):
        self.wfile.write(last)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def begin_events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, text):
        self.write(b":\r\n\r\n" if text is None else b"event: message\r\ndata: " + text.encode() + b"\r\n\r\n")

    def write(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end_events(self):
        self.wfile.write(b"0\r\n\r\n")

    def json(self, text, headers=None):
        self.reply(200, text.encode(), {"Content-Type": "application/json", **(headers or {})})

    def reply(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, *arguments):
        pass


MISCHIEF = [name.removeprefix("do_") for name in vars(Unruly) if name.startswith("do_") and not name[3:].isupper()]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        kind, error = sys.exc_info()[:2]
        if not issubclass(kind, OSError):
            mood.note(f"own mistake: {kind.__name__} {error}")


if __name__ == "__main__":
    threading.stack_size(1 << 18)
    Server(("127.0.0.1", int(sys.argv[1])), Unruly).serve_forever()
