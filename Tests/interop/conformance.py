# Licensed under the Apache License 2.0; see LICENSE.
"""What the conformance tests talk to, and how: a target, requests of the modern era, sessions of the legacy one.

Every message that a target sends goes through `schema.check`, and every answer's status through `Exchange.finish`, so each test
also tests those. With MCP_CONFORMANCE_DIRECT=1 the targets are the fixture servers themselves instead of gateways before them.
"""

import contextlib
import itertools
import json
import os
import tempfile
import threading

import gateway as house
import schema
import wire
from wire import MODERN

DIRECT = os.environ.get("MCP_CONFORMANCE_DIRECT") == "1"
# How long an answer may take; a machine that is busy on purpose needs more.
PATIENCE = int(os.environ.get("MCP_TEST_PATIENCE", 15))
EVERY = ["modern-http", "legacy-http", "legacy-stdio", "modern-stdio"]
schema.strict_about_old_revisions = not DIRECT
MODERN_TARGETS = ["modern-http"] if DIRECT else EVERY
LEGACY_TARGETS = ["modern-http", "legacy-http"] if DIRECT else EVERY
GENERATION = {"modern": "mcp2", "legacy": "mcp1"}
TASKS = "io.modelcontextprotocol/tasks"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
CLIENT = {"name": "by-hand", "version": "1"}
# Larger than a double can tell apart; odd ones would come back changed.
ids = itertools.count(2**53 + 1, 2)


def fixture_command(kind, *arguments):
    return [house.PYTHON[GENERATION[kind]], str(house.SERVERS / f"fixtures_{kind}.py"), *map(str, arguments)]


def fixture_server(kind):
    port = house.free_port()
    return house.ServerProcess(fixture_command(kind, "http", port), port)


@contextlib.contextmanager
def upstream_of(name, servers):
    """The configuration of the upstream that a target's name means. `servers` gives the running HTTP server of a kind."""
    kind, transport = name.split("-")
    if transport == "http":
        yield {"url": servers(kind).url, "prefix": ""}
        return
    # A gateway may run several processes of it; what one of them changes is then changed for all.
    with tempfile.TemporaryDirectory(prefix="gws-") as folder:
        command, *arguments = fixture_command(kind, "stdio", f"{folder}/state.json")
        yield {"command": command, "args": arguments, "prefix": ""}


class Exchange:
    """One request's answer as it comes: `next` gives message by message, `finish` reads up to the answer itself."""

    def __init__(self, stream, revision, method, id, asked=None):
        self.stream, self.revision, self.method, self.id, self.asked = stream, revision, method, id, asked
        self.notifications, self.requests, self.answer = [], [], None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    @property
    def status(self):
        return self.stream.status

    @property
    def result(self):
        assert self.answer and "result" in self.answer, (self.status, self.answer)
        return self.answer["result"]

    @property
    def error(self):
        assert self.answer and "error" in self.answer, (self.status, self.answer)
        return self.answer["error"]

    @property
    def text(self):
        return wire.text_of(self.answer)

    def told(self, method):
        """The params of the notifications of that method."""
        return [each.get("params", {}) for each in self.notifications if each["method"] == method]

    def next(self, seconds=PATIENCE):
        message = self.stream.message(seconds)
        if message is None:
            return None
        schema.check(message, self.revision, self.method, self.id)
        if "method" not in message:
            self.answer = message
        elif "id" in message:
            self.requests.append(message)
            assert self.asked, f"a request nobody expected: {message}"
            self.asked(message)
        else:
            self.notifications.append(message)
        return message

    def finish(self, seconds=PATIENCE):
        with self:
            while self.answer is None:
                assert self.next(seconds) is not None, f"the answer to {self.method} never came; {self.notifications}"
            if self.stream.is_event_stream:
                assert self.stream.is_over_within(seconds), "the stream goes on after the answer"
            self.check_status()
        return self

    def check_status(self):
        kind = self.stream.header("Content-Type") or ""
        assert kind.startswith(("application/json", "text/event-stream")), kind
        code = self.answer.get("error", {}).get("code")
        if self.stream.is_event_stream or code is None or self.revision != MODERN:
            assert self.status == 200 or code is not None, (self.status, self.answer)
        else:
            wanted = {-32601: (404,), -32020: (400,), -32021: (400,), -32022: (400,), -32600: (400,), -32700: (400,)}
            assert self.status in wanted.get(code, (200, 400)), (self.status, self.answer)
        if self.revision == MODERN:
            assert self.stream.header("Mcp-Session-Id") is None


class Target:
    def __init__(self, name, port, gateway=None):
        self.name, self.port, self.gateway = name, port, gateway
        self.upstream, self.transport = name.split("-")

    def request(self, method, headers, body=b"", path="/mcp"):
        """The bytes of a request that names its host as a client would; servers of the SDK want the port, too."""
        return wire.request(method, path, headers, body, host=f"127.0.0.1:{self.port}")

    def raw(self, data, method="POST", seconds=PATIENCE):
        """A stream over a connection of its own."""
        connection = wire.Connection(self.port, seconds)
        try:
            connection.send(data)
            return wire.Stream(connection, method)
        except BaseException:
            connection.socket.close()
            raise

    def exchange(self, data, method="POST", seconds=PATIENCE):
        with wire.Connection(self.port, seconds) as connection:
            connection.send(data)
            return connection.response(method)

    def open(self, method, params=None, *, id=None, capabilities=None, meta=None, headers=None, drop=(), seconds=PATIENCE):
        """A modern request. `meta` adds to `_meta`; `headers` replaces fields, `drop` leaves some out."""
        id = next(ids) if id is None else id
        params = dict(params or {})
        params["_meta"] = {**wire.meta(capabilities=capabilities), "io.modelcontextprotocol/clientInfo": CLIENT, **(meta or {})}
        name = params.get(wire.NAMED_BY.get(method))
        fields = wire.modern_headers(method, None if name is None else wire.header_text(name))
        fields = {key: value for key, value in {**fields, **(headers or {})}.items() if key not in drop}
        body = json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()
        return Exchange(self.raw(self.request("POST", fields, body), seconds=seconds), MODERN, method, id)

    def ask(self, method, params=None, *, seconds=PATIENCE, **more):
        return self.open(method, params, seconds=seconds, **more).finish(seconds)

    def call(self, tool, arguments=None, *, responses=None, state=None, **more):
        """A call of a tool, or another round of one."""
        params = {"name": tool} if arguments is None else {"name": tool, "arguments": arguments}
        return self.ask("tools/call", again(params, responses, state), **more)

    def pages(self, method, member):
        """All pages of a list."""
        entries, cursor = [], None
        while True:
            result = self.ask(method, {} if cursor is None else {"cursor": cursor}).result
            entries += result[member]
            cursor = result.get("nextCursor")
            if cursor is None:
                return entries

    def session(self, version="2025-11-25", capabilities=None, answers=None):
        return Session(self, version, capabilities, answers)


def again(params, responses, state):
    more = {} if responses is None else {"inputResponses": responses}
    return {**params, **more} if state is None else {**params, **more, "requestState": state}


def settle(target, tool, exchange, arguments=None):
    """Answers no to whatever a call still asks, so that it does not stay open behind the test."""
    able = {"elicitation": {}, "sampling": {}, "roots": {}}
    no = {"elicitation/create": {"action": "cancel"}, "roots/list": {"roots": []}, "sampling/createMessage": {
        "role": "assistant", "content": {"type": "text", "text": "-"}, "model": "none"}}
    while exchange.answer.get("result", {}).get("resultType") == "input_required":
        responses = {key: no[question["method"]] for key, question in exchange.result.get("inputRequests", {}).items()}
        state = exchange.result.get("requestState")
        exchange = target.call(tool, arguments or {}, responses=responses, state=state, capabilities=able)


class Refused(Exception):
    """Raised by an answerer to refuse a server's request."""

    def __init__(self, code, message):
        super().__init__(message)
        self.error = {"code": code, "message": message}


class Answering:
    """A legacy client's side of the server's questions: `answers` has a function of the params for each method."""

    answers = None

    def answer(self, message):
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            if message["method"] not in {"ping", *self.answers}:
                raise Refused(-32601, "this client cannot be asked that")
            reply["result"] = {} if message["method"] == "ping" else self.answers[message["method"]](message.get("params", {}))
        except Refused as refused:
            reply["error"] = refused.error
        accepted = self.post(json.dumps(reply).encode())
        assert (accepted.status, accepted.body in (b"", b"Accepted")) == (202, True), accepted


class Session(Answering):
    """A legacy client over Streamable HTTP."""

    def __init__(self, target, version, capabilities=None, answers=None):
        self.target, self.version, self.answers, self.id = target, version, answers or {}, None
        opening = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": CLIENT}
        exchange = self.open("initialize", opening)
        self.id = exchange.stream.header("Mcp-Session-Id")
        self.opened = exchange.finish().result
        self.version = self.opened["protocolVersion"]
        self.notify("notifications/initialized")

    @property
    def headers(self):
        headers = dict(wire.LEGACY_HEADERS)
        if self.id is not None:
            headers["Mcp-Session-Id"] = self.id
            if self.version >= "2025-06-18":
                headers["MCP-Protocol-Version"] = self.version
        return headers

    def post(self, body):
        return self.target.exchange(self.target.request("POST", self.headers, body))

    def notify(self, method, params=None):
        response = self.post(wire.legacy_body(method, params, id=None))
        assert response.status == 202 and not response.body, response

    def open(self, method, params=None, *, id=None, seconds=PATIENCE):
        id = next(ids) if id is None else id
        request = self.target.request("POST", self.headers, wire.legacy_body(method, params, id))
        return Exchange(self.target.raw(request, seconds=seconds), self.version, method, id, self.answer)

    def ask(self, method, params=None, *, seconds=PATIENCE, **more):
        return self.open(method, params, seconds=seconds, **more).finish(seconds)

    def call(self, tool, arguments=None, *, meta=None, **more):
        params = {"name": tool} if arguments is None else {"name": tool, "arguments": arguments}
        return self.ask("tools/call", {**params, "_meta": meta} if meta else params, **more)

    def pages(self, method, member):
        return Target.pages(self, method, member)

    def stream(self, last_event_id=None, seconds=PATIENCE):
        """The GET stream, or what is left of the stream of that event."""
        headers = {**self.headers, "Accept": "text/event-stream", "Last-Event-ID": last_event_id, "Content-Type": None}
        return self.target.raw(self.target.request("GET", headers), "GET", seconds)

    def listen(self):
        return Listener(self, self.stream())

    def delete(self):
        return self.target.exchange(self.target.request("DELETE", self.headers), "DELETE")


class Listener:
    """Reads the GET stream of a session in a thread of its own; a server's requests on it are answered."""

    def __init__(self, session, stream):
        self.session, self.messages, self.failure = session, [], None
        assert stream.status == 200 and stream.is_event_stream, stream.response
        self.stream = stream
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        # A shutdown wakes the reader; a close alone would leave it waiting.
        self.stream.connection.socket.shutdown(2)
        self.thread.join(10)
        self.stream.close()
        if self.failure:
            raise self.failure

    over = False

    def read(self):
        try:
            while message := self.stream.message(600):
                schema.check(message, self.session.version)
                assert "method" in message, f"an answer on the stream of no request: {message}"
                self.messages.append(message)
                if "id" in message:
                    self.session.answer(message)
        except OSError as failure:
            self.failure = None if self.over else failure
        except Exception as failure:  # shown by the test that listens
            self.failure = failure

    def wait_for(self, method, count=1, seconds=10):
        """The params of the notifications of that method, once there are so many."""
        def told():
            assert self.failure is None, self.failure
            found = [each.get("params", {}) for each in self.messages if each["method"] == method]
            return (found,) if len(found) >= count else None

        return house.eventually(told, seconds, f"{count} of {method} on the session's stream")[0]


class OldSession(Answering):
    """One over HTTP+SSE: a stream for everything the server says, and an address to post to."""

    def __init__(self, target, capabilities=None, answers=None, version="2024-11-05"):
        self.target, self.answers, self.notifications = target, answers or {}, []
        headers = {"Accept": "text/event-stream"}
        self.stream = target.raw(target.request("GET", headers, path="/sse"), "GET")
        assert self.stream.status == 200 and self.stream.is_event_stream, self.stream.response
        first = self.stream.event(10)
        assert first.kind == "endpoint" and first.data, first
        self.address = first.data.removeprefix(f"http://127.0.0.1:{target.port}")
        assert self.address.startswith("/"), first
        opening = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": CLIENT}
        self.version = version
        self.opened = self.ask("initialize", opening)["result"]
        assert self.opened["protocolVersion"] == version
        self.say(wire.legacy_body("notifications/initialized", id=None))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def post(self, body):
        headers = {"Content-Type": "application/json"}
        return self.target.exchange(self.target.request("POST", headers, body, path=self.address))

    def say(self, body):
        response = self.post(body)
        assert response.status == 202, response

    def ask(self, method, params=None, id=None):
        id = next(ids) if id is None else id
        self.say(wire.legacy_body(method, params, id))
        while message := self.stream.message(15):
            schema.check(message, self.version, method, id)
            if "method" not in message:
                return message
            if "id" in message:
                self.answer(message)
            else:
                self.notifications.append(message)
        raise AssertionError("the stream ended before the answer")

    def call(self, tool, arguments=None, meta=None):
        params = {"name": tool, "arguments": arguments or {}}
        return wire.text_of(self.ask("tools/call", {**params, "_meta": meta} if meta else params))


def listen(target, id=None, **wanted):
    """An open subscription, its acknowledgement read."""
    exchange = target.open("subscriptions/listen", {"notifications": wanted}, id=id)
    first = exchange.next(5)
    assert exchange.status == 200 and exchange.stream.is_event_stream, exchange.stream.response
    assert first and first.get("method") == ACKNOWLEDGED, first
    honoured = first["params"]["notifications"]
    assert set(honoured) <= set(wanted)
    exchange.honoured = {name: value for name, value in honoured.items() if value}
    return exchange
