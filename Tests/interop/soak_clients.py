# Licensed under the Apache License 2.0; see LICENSE.
"""What all clients of a soak test have in common, and those over HTTP: stateless ones, and sessions with or without a stream.

Requests carry a mark, `TAG.NUMBER`. Questions name the mark, and the answer to one follows from it, so that a client knows what
every result has to be, also when several of its requests run at once.
"""

import contextlib
import itertools
import json
import random
import re
import select
import threading
import time

import schema
import soak_watch
import wire
from soak_watch import Fault, Watched

QUESTIONS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
VENDOR = "soak.test/tag"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
CLIENT = {"name": "soak", "version": "1"}
# Longer than the longest a gateway may take for a call, a question and its own limits included.
PATIENCE = 120


class Enough(Exception):
    """The client wants no more of a request. Raised by whoever listens to it."""


class Gone(Enough):
    """The client's connection breaks; the request itself goes on."""


class Left(Exception):
    """The client did not come back to be answered, which it may."""


class Run:
    """One request and what was heard of it."""

    def __init__(self, client, method, params, *, progress=False, log=None, on_note=None, headers=None, strict=True, seconds=PATIENCE):
        self.client, self.method, self.params, self.headers = client, method, params, headers or {}
        self.on_note, self.strict, self.seconds, self.log = on_note, strict, seconds, log
        number = next(client.numbers)
        # Ids are told apart by their kind as well: both have to come back as they were.
        self.id = f"{client.tag}:{number}" if number % 2 else number + 2**53
        self.token = (f"{client.tag}-{number}" if number % 3 else number) if progress else None
        self.last, self.notes, self.answer = float("-inf"), [], None

    def meta(self):
        return {VENDOR: self.client.tag, **({} if self.token is None else {"progressToken": self.token})}

    def check(self, message):
        if self.strict:
            try:
                schema.check(message, self.client.revision, self.method, self.id)
            except (AssertionError, KeyError, TypeError) as problem:
                raise Fault("schema", f"{type(problem).__name__} {problem}") from None

    def note(self, message):
        if self.answer is not None:
            raise Fault("after-the-answer", f"{message}")
        self.check(message)
        params = message.get("params", {})
        if message["method"] == "notifications/progress":
            if type(params.get("progressToken")) is not type(self.token) or params.get("progressToken") != self.token:
                raise Fault("progress-token", f"wanted {self.token!r}: {message}")
            if not params["progress"] > self.last:
                raise Fault("progress-order", f"{params} after {self.last}")
            self.last = params["progress"]
        elif message["method"] == "notifications/message" and self.client.modern and self.log is None:
            raise Fault("unwanted-log", f"{message}")
        self.notes.append(message)
        if self.on_note:
            self.on_note(message)

    def take_answer(self, message):
        if type(message.get("id")) is not type(self.id) or message.get("id") != self.id:
            raise Fault("wrong-id", f"wanted {self.id!r}: {json.dumps(message)[:300]}")
        if self.answer is not None:
            raise Fault("answered-twice", f"{json.dumps(message)[:300]}")
        self.check(message)
        self.answer = message

    def told(self, method):
        return [note["params"] for note in self.notes if note["method"] == method]


class Client:
    """`place` says where the gateway is. Each kind of client adds `once`, which sends one request and hears it out."""

    modern, kind = False, ""

    def __init__(self, place, number, seed, revision):
        self.place, self.ledger, self.random, self.revision = place, place.ledger, random.Random(seed), revision
        self.tag, self.numbers = soak_watch.new_tag(), itertools.count(1)
        self.tag_bytes, self.name = self.tag.encode(), f"{self.kind} {revision} {number}"
        self.ledger.owners[self.tag] = self.name
        names = ["elicitation", "sampling", "roots"]
        able = self.random.choice([names, names, names, names[:1], names[1:], []])
        if revision < "2025-06-18":
            able = able[1:] if able[:1] == ["elicitation"] else able
        self.able = {name: {} for name in able}
        if "elicitation" in self.able and self.modern:
            self.able["elicitation"] = {"form": {}, "url": {}}
        self.parked = []

    def chance(self, share):
        return self.random.random() < share

    def mark(self):
        return f"{self.tag}.{next(self.numbers)}"

    # Questions

    def given(self, mark):
        """What the client says when it is asked about something with that mark."""
        return "(decline)" if int(mark.rpartition(".")[2]) % 17 == 0 else f"{mark}!"

    def reply_to(self, method, params):
        """The result of a question; never of one that this client did not offer to be asked."""
        kind = QUESTIONS.get(method)
        if kind not in self.able:
            raise Fault("asked-what-it-cannot", f"{method} {json.dumps(params)[:200]}")
        self.ledger.count("questions answered")
        found = re.search(rf"{self.tag}\.\d+", json.dumps(params))
        value = self.given(found[0]) if found else f"{self.tag}!"
        if kind == "roots":
            return {"roots": [{"uri": f"file:///{self.tag}"}]}
        if kind == "sampling":
            words = f"{found[0]}!" if found else value
            return {"role": "assistant", "content": {"type": "text", "text": words}, "model": "soak"}
        if value == "(decline)":
            return {"action": "decline"}
        if params.get("mode") == "url":
            return {"action": "accept"}
        fields = params["requestedSchema"]["properties"]
        return {"action": "accept", "content": {
            name: True if field["type"] == "boolean" else value for name, field in fields.items()}}

    # Requests

    def request(self, method, params=None, *, leaves=False, **more):
        """A request to its end, over all questions."""
        params = dict(params or {})
        began = time.monotonic()
        for _ in range(12):
            run = Run(self, method, params, **more)
            self.once(run)
            result = run.answer.get("result")
            if not self.modern or not isinstance(result, dict) or result.get("resultType") != "input_required":
                self.ledger.took(method, time.monotonic() - began)
                return run
            responses = {key: self.reply_to(each["method"], each.get("params", {}))
                         for key, each in result.get("inputRequests", {}).items()}
            params = self.again(params, responses, result.get("requestState"))
            if leaves:
                self.parked.append((method, params))
                raise Left
        raise Fault("endless-questions", f"{method} {json.dumps(params)[:300]}")

    @staticmethod
    def again(params, responses, state):
        params = {key: value for key, value in params.items() if key not in ("inputResponses", "requestState")}
        return {**params, "inputResponses": responses, **({} if state is None else {"requestState": state})}

    def settle(self):
        """Answers what was asked long ago; an answer in words is as good as one of the call."""
        while self.parked:
            self.request(*self.parked.pop(), strict=False)

    def once(self, run):
        raise NotImplementedError

    def open(self):
        pass

    def leave(self):
        self.settle()


class Modern:
    """The envelope of the stateless era."""

    modern = True

    def envelope(self, run):
        more = {} if run.log is None else {LOG_LEVEL: run.log}
        meta = {**wire.meta(capabilities=self.able), "io.modelcontextprotocol/clientInfo": CLIENT, **run.meta(), **more}
        return {"jsonrpc": "2.0", "id": run.id, "method": run.method, "params": {**run.params, "_meta": meta}}


class Legacy:
    def envelope(self, run):
        message = {"jsonrpc": "2.0", "id": run.id, "method": run.method, "params": dict(run.params)}
        if run.method != "initialize":
            message["params"]["_meta"] = run.meta()
        return message

    def opening(self):
        return {"protocolVersion": self.revision, "capabilities": self.able, "clientInfo": CLIENT}

    def response(self, question):
        """The response to a server's request, as a message."""
        reply = {"jsonrpc": "2.0", "id": question["id"]}
        if question["method"] == "ping":
            return {**reply, "result": {}}
        return {**reply, "result": self.reply_to(question["method"], question.get("params", {}))}


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


def check_listened(run, message):
    run.check(message)
    mark = message.get("params", {}).get("_meta", {}).get(SUBSCRIPTION)
    if type(mark) is not type(run.id) or mark != run.id:
        raise Fault("subscription-id", f"wanted {run.id!r}: {message}")
    return message


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
