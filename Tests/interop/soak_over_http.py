# Licensed under the Apache License 2.0; see LICENSE.
"""Clients of a soak test over Streamable HTTP: stateless ones, and sessions with or without a stream of their own."""

import contextlib
import json
import select
import threading
import time

import schema
import wire
from soak_clients import PATIENCE, Client, Enough, Gone, Legacy, Modern, Run, check_listened
from soak_watch import Fault, Watched


class OverHTTP(Client):
    """Keeps some connections alive, and opens new ones at other times."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.idle, self.lock = [], threading.Lock()

    def connection(self):
        with self.lock:
            while self.idle and self.chance(0.8):
                one = self.idle.pop()
                # The gateway may close what is quiet; a request must not run into that.
                if time.monotonic() - one.used < 50 and not select.select([one.socket], [], [], 0)[0]:
                    return one
                one.socket.close()
        return Watched(self, self.place.port)

    def send(self, data, method="POST", connection=None):
        """The beginning of the answer, read as it comes."""
        connection = connection or self.connection()
        connection.socket.settimeout(PATIENCE)
        try:
            connection.send(data)
            stream = wire.Stream(connection, method)
        except BaseException:
            connection.socket.close()
            raise
        self.ledger.status(stream.status)
        return stream

    def release(self, stream):
        connection = stream.connection
        if not stream.ended or connection.pending or (stream.header("Connection") or "").lower() == "close":
            return connection.socket.close()
        connection.used = time.monotonic()
        with self.lock:
            if len(self.idle) < 2:
                return self.idle.append(connection)
        connection.socket.close()

    def exchange(self, data, method="POST"):
        """A whole answer: status and body."""
        stream = self.send(data, method)
        body = stream.body(PATIENCE)
        self.release(stream)
        return stream, body

    def hear_out(self, run, stream):
        """Everything up to the answer, and that nothing follows it."""
        while run.answer is None:
            message = stream.message(run.seconds)
            if message is None:
                raise Fault("unanswered", f"{run.method} got HTTP {stream.status} and no answer")
            if "jsonrpc" not in message:
                raise Fault("http-refused", f"HTTP {stream.status} {json.dumps(message)[:300]}")
            self.take(run, message)
        if stream.is_event_stream and (more := stream.message(20)) is not None:
            raise Fault("after-the-answer", f"{json.dumps(more)[:300]}")

    def take(self, run, message):
        if "method" not in message:
            run.take_answer(message)
        elif "id" in message:
            raise Fault("asked-a-modern-client", f"{message}")
        else:
            run.note(message)

    def leave(self):
        super().leave()
        for connection in self.idle:
            connection.socket.close()
        self.idle = []


class ModernHTTP(Modern, OverHTTP):
    kind = "modern-http"

    def data(self, run):
        name = run.params.get(wire.NAMED_BY.get(run.method))
        headers = {**wire.modern_headers(run.method, None if name is None else wire.header_text(name)), **run.headers}
        return wire.request("POST", "/mcp", headers, json.dumps(self.envelope(run)).encode())

    def once(self, run):
        stream = self.send(self.data(run))
        try:
            self.hear_out(run, stream)
        except BaseException:
            stream.close()  # which is how a client of this era cancels
            raise
        self.release(stream)

    @contextlib.contextmanager
    def listening(self, wanted):
        """An open subscription: a function that gives its next message within some seconds, or None."""
        run = Run(self, "subscriptions/listen", {"notifications": wanted})
        stream = self.send(self.data(run))

        def told(seconds):
            try:
                message = stream.message(seconds)
            except TimeoutError:
                return None
            if message is None:
                raise Fault("listen-ended", "the gateway ended a subscription")
            return check_listened(run, message)

        try:
            yield told
        finally:
            stream.close()


class LegacyHTTP(Legacy, OverHTTP):
    """A session. Most hold the stream that answers no request."""

    kind = "legacy-http"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.session, self.ear, self.told, self.cursor = None, None, [], None

    @property
    def headers(self):
        headers = dict(wire.LEGACY_HEADERS)
        if self.session:
            headers["Mcp-Session-Id"] = self.session
            if self.revision >= "2025-06-18":
                headers["MCP-Protocol-Version"] = self.revision
        return headers

    def open(self):
        self.session = None
        run = Run(self, "initialize", self.opening())
        stream = self.once(run)
        self.session = stream.header("Mcp-Session-Id")
        if not self.session or run.answer.get("result", {}).get("protocolVersion") != self.revision:
            raise Fault("initialize", f"{stream.status} {self.session} {json.dumps(run.answer)[:300]}")
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        if self.chance(0.3):
            self.request("logging/setLevel", {"level": self.random.choice(["debug", "info", "error"])})
        if self.chance(0.8):
            self.listen()

    def say(self, message):
        stream, body = self.exchange(wire.request("POST", "/mcp", self.headers, json.dumps(message).encode()))
        if stream.status != 202 or body:
            raise Fault("not-accepted", f"{message.get('method', 'a response')}: HTTP {stream.status} {body[:200]!r}")

    def take(self, run, message):
        if "method" in message and "id" in message:
            run.check(message)
            return self.say(self.response(message))
        super().take(run, message)

    def once(self, run):
        stream = self.send(wire.request("POST", "/mcp", self.headers, json.dumps(self.envelope(run)).encode()))
        try:
            self.hear_out(run, stream)
        except Gone:
            stream.close()
            return self.go_on(run, stream.cursor)
        except Enough:
            self.cancel(run, stream)
            raise
        except BaseException:
            stream.close()
            raise
        self.release(stream)
        return stream

    def hear_out(self, run, stream):
        # Where the stream is, for a client that loses it.
        stream.cursor, next_event = None, stream.event

        def event(seconds=10):
            found = next_event(seconds)
            if found and found.id is not None:
                stream.cursor = found.id
            return found

        stream.event = event
        super().hear_out(run, stream)

    def cancel(self, run, stream):
        """In words; the stream is over then, with or without an answer that was on its way already."""
        self.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": run.id, "reason": self.tag}})
        run.on_note = None
        try:
            while run.answer is None and (message := stream.message(20)) is not None:
                self.take(run, message)
        except TimeoutError:
            raise Fault("cancel-not-heard", f"the stream of {run.method} goes on 20 s after its cancellation") from None
        finally:
            stream.close()

    def go_on(self, run, cursor):
        """The connection broke: the rest of the stream is asked for by its last event."""
        run.on_note = None
        if cursor is None:
            return self.ledger.count("streams without a place to go on")
        headers = {**self.headers, "Accept": "text/event-stream", "Last-Event-ID": cursor, "Content-Type": None}
        stream = self.send(wire.request("GET", "/mcp", headers), "GET")
        if stream.status != 200:
            raise Fault("not-resumed", f"after {cursor}: HTTP {stream.status} {stream.body(10)[:300]!r}")
        try:
            self.hear_out(run, stream)
        finally:
            stream.close()
        self.ledger.count("streams gone on with")

    # The stream that answers no request

    def listen(self):
        headers = {**self.headers, "Accept": "text/event-stream", "Content-Type": None}
        stream = self.send(wire.request("GET", "/mcp", headers), "GET", Watched(self, self.place.port))
        if stream.status != 200 or not stream.is_event_stream:
            raise Fault("no-stream", f"GET: HTTP {stream.status}")
        self.ear = stream
        threading.Thread(target=self.hear, args=(stream,), daemon=True).start()

    def hear(self, stream):
        try:
            while message := stream.message(3600):
                schema.check(message, self.revision)
                if "method" not in message or "id" in message:
                    raise Fault("on-the-session-stream", f"{json.dumps(message)[:300]}")
                self.told.append(message)
            if self.ear is stream and not self.place.over:
                raise Fault("the gateway ended it")
        except (OSError, ValueError) as problem:
            if self.ear is stream:
                self.ledger.fault("session-stream", f"{self.name}: {type(problem).__name__} {problem}")
        except (Fault, AssertionError) as fault:
            self.ledger.fault("session-stream", f"{self.name}: {fault}")

    def deafen(self):
        stream, self.ear = self.ear, None
        if stream:
            with contextlib.suppress(OSError):
                stream.connection.socket.shutdown(2)
            stream.close()

    def delete(self):
        stream, _ = self.exchange(wire.request("DELETE", "/mcp", self.headers), "DELETE")
        if stream.status != 200:
            raise Fault("not-deleted", f"HTTP {stream.status}")

    def leave(self):
        self.deafen()
        if self.session:
            self.delete()
        super().leave()
