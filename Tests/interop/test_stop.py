# Licensed under the Apache License 2.0; see LICENSE.
"""A stop lets every kind of client have the answers it waits for, and refuses what comes after it was told."""

import json
import signal
import socket
import subprocess

import pytest

import gateway as house
import scripted
import wire


@pytest.fixture
def slow(make):
    """A gateway whose tool `up__gate` answers when the gate is opened."""
    scripted.gate.clear()
    gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"], {"server": {"shutdown_grace": "30s"}})
    gateway.wait_for_tools("up__gate", "text__echo")
    return gateway


def modern(id, tool, arguments):
    return wire.modern_body("tools/call", {"name": tool, "arguments": arguments}, id)


def arrived(before):
    house.eventually(lambda: scripted.calls["gate"] > before, 10, "the arrival of the call")


class Lines:
    """A client of lines over the socket, or over the stdio of `mcp-gateway stdio`."""

    def __init__(self, gateway, kind):
        self.process = None
        if kind == "socket":
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(20)
            self.socket.connect(str(gateway.control.parent / "mcp.sock"))
            self.reads = self.socket.makefile("rb")
            self.write = self.socket.sendall
        else:
            self.process = subprocess.Popen(gateway.command("stdio"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.reads = self.process.stdout
            self.write = lambda data: (self.process.stdin.write(data), self.process.stdin.flush())

    def say(self, message):
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.write(text + b"\n")

    def hear(self):
        line = self.reads.readline()
        return json.loads(line) if line else None

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.mark.parametrize("kind", ["socket", "stdio"])
def test_a_client_of_lines_gets_the_answer_it_waits_for(slow, make, kind):
    client = Lines(slow, kind)
    make.later(client.end)
    before = scripted.calls["gate"]
    client.say(modern(1, "up__gate", {"text": "patience"}))
    arrived(before)
    slow.signal(signal.SIGTERM)

    def is_refused():
        client.say(modern(2, "text__echo", {"text": "late"}))
        answer = client.hear()
        assert answer["id"] == 2
        return "error" in answer and "stopping" in answer["error"]["message"]

    house.eventually(is_refused, 10, "the refusal of something new")
    assert slow.process.poll() is None, "it ended with a call in flight"
    scripted.gate.set()
    answer = client.hear()
    assert (answer["id"], answer["result"]["content"][0]["text"]) == (1, '{"text": "patience"}')
    assert client.hear() is None, "after its answers the client is let go"
    assert slow.process.wait(10) == 0


class OldClient:
    """A client of the transport of 2024-11-05."""

    def __init__(self, gateway):
        self.port = gateway.port
        self.stream = wire.Connection(gateway.port, 20)
        self.stream.send(b"GET /sse HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n")
        self.text = b""
        self.address = self.event()
        self.post(wire.legacy_body("initialize", {
            "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}, 0))
        assert json.loads(self.event())["id"] == 0

    def event(self):
        """The data of the next event; None at the end of the stream."""
        while True:
            for line in iter(self.line, None):
                if line.startswith(b"data: "):
                    return line[6:].decode()
            return None

    def line(self):
        while b"\n" not in self.stream.pending:
            if not self.stream.fill():
                return None
        line, _, self.stream.pending = self.stream.pending.partition(b"\n")
        # The last chunk ends the stream, whose connection may go on.
        return None if line.strip() == b"0" else line.rstrip(b"\r")

    def post(self, body):
        text = json.dumps(body).encode() if not isinstance(body, bytes) else body
        head = (f"POST {self.address} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Connection: close\r\nContent-Length: {len(text)}\r\n\r\n")
        with wire.Connection(self.port) as connection:
            connection.send(head.encode() + text)
            while connection.fill():
                pass
            assert b" 202 " in connection.pending, connection.pending


def test_a_client_of_the_old_transport_gets_the_answer_it_waits_for(slow):
    client = OldClient(slow)
    before = scripted.calls["gate"]
    client.post(wire.legacy_body("tools/call", {"name": "up__gate", "arguments": {"text": "patience"}}, 1))
    arrived(before)
    slow.signal(signal.SIGTERM)

    house.eventually(slow.announces_its_end, 5, "the announcement of the end")
    assert slow.process.poll() is None, "it ended with a call in flight"
    scripted.gate.set()
    answer = json.loads(client.event())
    assert (answer["id"], answer["result"]["content"][0]["text"]) == (1, '{"text": "patience"}')
    assert client.event() is None
    assert slow.process.wait(10) == 0


@pytest.fixture
def short(make):
    """The same with no patience."""
    scripted.gate.clear()
    make.later(scripted.gate.set)
    gateway = make.gateway({"up": {"url": make.scripted()}}, sections={"server": {"shutdown_grace": "300ms"}})
    gateway.wait_for_tools("up__gate")
    return gateway


@pytest.mark.parametrize("kind", ["socket", "stdio", "sse"])
def test_a_call_that_outlasts_the_grace_is_answered_too(short, make, kind):
    """It may have been carried out, and both its client and whoever looks afterwards have to know."""
    before = scripted.calls["gate"]
    if kind == "sse":
        client = OldClient(short)
        client.post(wire.legacy_body("tools/call", {"name": "up__gate", "arguments": {"text": "patience"}}, 1))
        hear = lambda: json.loads(client.event() or "null")
    else:
        client = Lines(short, kind)
        make.later(client.end)
        client.say(modern(1, "up__gate", {"text": "patience"}))
        hear = client.hear
    arrived(before)
    short.signal(signal.SIGTERM)
    answer = hear()
    assert answer["id"] == 1 and answer["result"]["isError"], answer
    assert "the gateway was stopped before its answer came" in answer["result"]["content"][0]["text"]
    assert hear() is None
    assert short.process.wait(10) == 0
    assert short.sql("SELECT status FROM request_log WHERE tool = 'up__gate'") == "failed"
    assert short.sql("SELECT error_type FROM error_log") == "outcome_unknown"


def test_large_answers_one_behind_the_other_reach_a_client_of_the_old_transport(slow):
    client = OldClient(slow)
    before = scripted.calls["big"]
    for id in range(1, 7):
        client.post(wire.legacy_body("tools/call", {"name": "up__big", "arguments": {"size": 1_500_000}}, id))
    # Nobody has read a byte of them yet.
    house.eventually(lambda: scripted.calls["big"] == before + 6, 10, "the arrival of all")
    heard = [json.loads(client.event()) for _ in range(6)]
    assert sorted(each["id"] for each in heard) == [1, 2, 3, 4, 5, 6]
    assert all(len(each["result"]["content"][0]["text"]) >= 1_500_000 for each in heard)
