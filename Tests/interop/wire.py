# Licensed under the Apache License 2.0; see LICENSE.
"""HTTP and MCP by hand, so that a test decides about each byte that is sent."""

import base64
import json
import socket
import time

MODERN = "2026-07-28"
LEGACY = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
BOTH = "application/json, text/event-stream"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self):
        """The body as JSON; of an event stream the last message with an id."""
        if (self.header("Content-Type") or "").startswith("text/event-stream"):
            data = [line[5:].strip() for line in self.body.decode().splitlines() if line.startswith("data:")]
            messages = [json.loads(text) for text in data if text]
            return [message for message in messages if "id" in message][-1]
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]!r}>"


class Connection:
    """One TCP connection (or Unix socket) to a gateway."""

    def __init__(self, address, timeout=10):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        if family == socket.AF_INET:
            address = ("127.0.0.1", address)
        self.socket.connect(address)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        data = self.socket.recv(65536)
        self.pending += data
        return bool(data)

    def line(self):
        while b"\n" not in self.pending:
            if not self.fill():
                raise ConnectionError(f"closed within a line: {self.pending[:100]!r}")
        line, self.pending = self.pending.split(b"\n", 1)
        return line.rstrip(b"\r").decode("latin-1")

    def exactly(self, count):
        while len(self.pending) < count:
            if not self.fill():
                raise ConnectionError("closed within a body")
        data, self.pending = self.pending[:count], self.pending[count:]
        return data

    def head(self):
        """Status and header fields of the next response, interim ones included."""
        status = int(self.line().split(" ")[1])
        headers = []
        while text := self.line():
            name, value = text.split(":", 1)
            headers.append((name, value.strip()))
        return status, headers

    def response(self, method="POST"):
        status, headers = self.head()
        while 100 <= status < 200:
            status, headers = self.head()
        response = Response(status, headers, b"")
        if method == "HEAD" or status in (204, 304):
            return response
        if (response.header("Transfer-Encoding") or "").lower() == "chunked":
            while size := int(self.line().split(";")[0], 16):
                response.body += self.exactly(size)
                self.exactly(2)
            while self.line():
                pass
        elif response.header("Content-Length") is not None:
            response.body = self.exactly(int(response.header("Content-Length")))
        else:
            while self.fill():
                pass
            response.body, self.pending = self.pending, b""
        return response

    def is_closed_within(self, seconds):
        """Whether the peer ends the connection in that time; what it says before is kept in `pending`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if not self.fill():
                    return True
            except ConnectionError:
                return True
            except TimeoutError:
                return False
        return False


class Event:
    """One event of an event stream. `lines` are the values of its `data:` fields, one each."""

    def __init__(self):
        self.id, self.kind, self.retry, self.lines = None, "message", None, []

    @property
    def data(self):
        return "\n".join(self.lines)

    def __repr__(self):
        return f"<event {self.kind} id={self.id} retry={self.retry} {self.data[:300]!r}>"


class Stream:
    """An answer read as it comes: its head at once, then one event after the other, each by a deadline.

    Nothing that has arrived is lost when a deadline passes; the next call goes on where the last one stopped.
    """

    def __init__(self, connection, method="POST"):
        self.connection = connection
        status, headers = connection.head()
        while 100 <= status < 200:
            status, headers = connection.head()
        self.response = Response(status, headers, b"")
        self.chunked = (self.header("Transfer-Encoding") or "").lower() == "chunked"
        length = self.header("Content-Length")
        # `left` is what is missing of the current chunk, or of the body; None where the body ends with the connection.
        self.left = 0 if self.chunked else None if length is None else int(length)
        self.after_a_chunk, self.text, self.event_now = False, b"", Event()
        self.ended = method == "HEAD" or status in (204, 304) or not self.chunked and self.left == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.socket.close()

    @property
    def status(self):
        return self.response.status

    def header(self, name):
        return self.response.header(name)

    @property
    def is_event_stream(self):
        return (self.header("Content-Type") or "").startswith("text/event-stream")

    def read(self, end):
        """Some more of the body into `text`; False when there is no more."""
        if self.ended:
            return False
        self.connection.socket.settimeout(max(end - time.monotonic(), 0.001))
        if self.chunked and self.left == 0:
            if self.after_a_chunk:
                self.connection.exactly(2)
                self.after_a_chunk = False
            self.left = int(self.connection.line().split(";")[0], 16)
            if self.left == 0:
                while self.connection.line():
                    pass
                self.ended = True
                return False
        if not self.connection.pending and not self.connection.fill():
            if self.left:
                raise ConnectionError("closed within a body")
            self.ended = True
            return False
        data = self.connection.pending if self.left is None else self.connection.pending[:self.left]
        self.connection.pending = self.connection.pending[len(data):]
        self.text += data
        if self.left is not None:
            self.left -= len(data)
            self.ended = self.left == 0 and not self.chunked
            self.after_a_chunk = self.left == 0
        return True

    def event(self, seconds=10):
        """The next event that has data or an id; None at the end of the stream."""
        end = time.monotonic() + seconds
        while True:
            while b"\n" in self.text:
                line, self.text = self.text.split(b"\n", 1)
                line = line.rstrip(b"\r").decode()
                if line:
                    self.field(line)
                elif self.event_now.lines or self.event_now.id is not None:
                    event, self.event_now = self.event_now, Event()
                    return event
                else:
                    self.event_now = Event()
            if not self.read(end):
                return None

    def field(self, line):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self.event_now.lines.append(value)
        elif name == "id":
            self.event_now.id = value
        elif name == "event":
            self.event_now.kind = value
        elif name == "retry":
            self.event_now.retry = int(value)

    def body(self, seconds=10):
        """The whole rest of the body."""
        end = time.monotonic() + seconds
        while self.read(end):
            pass
        body, self.text = self.text, b""
        return body

    def message(self, seconds=10):
        """The next message, of an event stream or as the whole body; None when there is no more.

        An event's message is one line: readers exist that take each `data:` for a message of its own.
        """
        if not self.is_event_stream:
            body = self.body(seconds)
            return json.loads(body) if body else None
        end = time.monotonic() + seconds
        while event := self.event(end - time.monotonic()):
            if event.data:
                assert len(event.lines) == 1 and event.kind == "message", event
                return json.loads(event.data)
        return None

    def is_over_within(self, seconds):
        """Whether the stream ends in that time, without a further message."""
        try:
            return self.message(seconds) is None
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def request(method, target, headers, body=b"", host="127.0.0.1"):
    """The bytes of one HTTP/1.1 request. Headers with the value None are left out; `Host` and `Content-Length` are added."""
    given = {name.lower() for name in headers}
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    if "content-length" not in given and "transfer-encoding" not in given and (body or method in ("POST", "PUT")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(body, size=4096):
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def meta(version=MODERN, capabilities=None, **more):
    return {VERSION_KEY: version, CAPABILITIES_KEY: capabilities or {}, **more}


def modern_body(method, params=None, id=1, version=MODERN):
    message = {"jsonrpc": "2.0", "id": id, "method": method, "params": {**(params or {}), "_meta": meta(version)}}
    return json.dumps(message).encode()


# The parameter that a request's `Mcp-Name` repeats.
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri",
            "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}


def header_text(value):
    """An argument as a header carries it: as it is where that is safe, else as encoded UTF-8."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    plain = text == text.strip() and all(0x20 <= ord(letter) < 0x7F or letter == "\t" for letter in text)
    if plain and not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    return "=?base64?" + base64.b64encode(text.encode()).decode() + "?="


def modern_headers(method, name=None, version=MODERN):
    headers = {"Content-Type": "application/json", "Accept": BOTH, "MCP-Protocol-Version": version, "Mcp-Method": method}
    if name is not None:
        headers["Mcp-Name"] = name
    return headers


def modern_request(method, params=None, id=1):
    """A correct request of the modern era."""
    name = (params or {}).get(NAMED_BY.get(method, "name"))
    return request("POST", "/mcp", modern_headers(method, name), modern_body(method, params, id))


LEGACY_HEADERS = {"Content-Type": "application/json", "Accept": BOTH}


def legacy_body(method, params=None, id=1):
    message = {"jsonrpc": "2.0", "method": method}
    if id is not None:
        message["id"] = id
    if params is not None:
        message["params"] = params
    return json.dumps(message).encode()


def initialize_body(version="2025-11-25", id=1):
    client = {"name": "by-hand", "version": "1"}
    return legacy_body("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": client}, id)


def text_of(message):
    """The text of a tool's answer."""
    return "".join(part.get("text", "") for part in message["result"]["content"])


def tell(text, *words):
    """Sees that it is a sentence for a model, with these words in it."""
    assert len(text.split()) >= 5 and all(word in text for word in words), (text, words)
