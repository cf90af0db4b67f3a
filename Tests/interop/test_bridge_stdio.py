# Licensed under the Apache License 2.0; see LICENSE.
"""Clients whose gateway is a child process, spoken to over its standard input and output: SDK clients, and lines by hand.

In direct mode the child is the fixture server itself.
"""

import contextlib
import json
import queue
import subprocess
import threading
import time

import pytest

import conformance
import gateway as house
import schema
import sdk
import wire
from wire import MODERN

ABLE = ["elicitation", "sampling", "roots"]
NAMES = ["legacy-stdio", "modern-stdio"] if conformance.DIRECT else conformance.EVERY


@contextlib.contextmanager
def command(name, fixture_servers, wasm_cache):
    """The command that serves one client over stdio, with that upstream behind it."""
    if conformance.DIRECT:
        yield conformance.fixture_command(name.split("-")[0], "stdio")
        return
    with conformance.upstream_of(name, fixture_servers) as upstream:
        gateway = house.Gateway({"up": upstream}, wasm_cache=wasm_cache)
        try:
            gateway.write_configuration()
            for folder in ("lib", "log"):
                (gateway.home / folder).mkdir()
            yield gateway.command("stdio")
        finally:
            gateway.close()


@pytest.fixture(scope="module", params=[(kind, name) for name in NAMES for kind in ("mcp1", "mcp2")], ids="-".join)
def client(request, fixture_servers, wasm_cache):
    kind, name = request.param
    with command(name, fixture_servers, wasm_cache) as place, sdk.Client(kind, place, able=ABLE, log_level="debug") as client:
        client.speaks_modern = kind == "mcp2" and not (conformance.DIRECT and name.startswith("legacy"))
        house.eventually(lambda: "about" in client.list(), 20, "the tools")
        yield client


def test_it_connects_in_the_newest_revision_it_can(client):
    assert client.opened["connected"] == (MODERN if client.speaks_modern else "2025-11-25")


def test_it_lists_reads_and_calls(client):
    assert client.call("test_simple_text") == ("This is a simple text response for testing.", False)
    assert len(client.order(do="resources")["resources"]) >= 3
    assert client.order(do="read", uri="test://static-binary")["contents"][0]["blob"]
    assert client.order(do="prompt", name="test_prompt_with_image")["messages"]
    text = "x" * 500_000 + "☃\n\r\u2028"
    assert client.call("greet", {"name": text}) == (f"Hello, {text}!", False)


def test_it_is_asked(client):
    answers = {"elicitation": {"action": "accept", "content": {"value": "mine"}}, "sampling": "Paris", "roots": ["file:///a"]}
    client.order(do="answers", answers=answers)
    assert client.call("ask_and_echo", {"tag": "t"}) == ("t:mine", False)
    assert client.call("test_sampling", {"prompt": "?"}) == ("LLM response: Paris", False)
    assert client.call("test_input_required_result_list_roots") == ("Roots: file:///a", False)


def test_it_hears_progress(client):
    client.start("heard", "slow_progress", {"steps": 3, "tag": "heard"})
    assert client.finish("heard") == ("heard: 3 steps", False)
    house.eventually(lambda: len(client.heard("progress", **{"as": "heard"})) == 3, 5, "progress")


def test_it_cancels(client):
    client.start("long", "cancellable", {"seconds": 60, "tag": "stdio"})
    house.eventually(lambda: client.call("was_cancelled", {"tag": "stdio"})[0] == "running", 10, "the beginning")
    client.order(**{"do": "cancel", "as": "long"})
    house.eventually(lambda: client.call("was_cancelled", {"tag": "stdio"})[0] == "cancelled", 10, "the end")


def test_it_hears_of_changes(client):
    if client.speaks_modern:
        assert client.order(do="listen", tools=True)["honoured"] == {"toolsListChanged": True}
    client.call("test_trigger_tool_change")
    house.eventually(lambda: client.heard("told", told="notifications/tools/list_changed"), 10, "the change")


class Child:
    """The process and its lines, each checked to be a message; `take` waits for one that fits."""

    def __init__(self, place):
        self.process = subprocess.Popen(place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join(5)
        self.process.stdin.close()
        self.process.stdout.close()

    def say(self, text):
        self.process.stdin.write(text if isinstance(text, bytes) else json.dumps(text).encode() + b"\n")
        self.process.stdin.flush()

    def modern(self, method, params=None, id=None, **meta):
        id = next(conformance.ids) if id is None else id
        params = {**(params or {}), "_meta": wire.meta(**meta)}
        self.say({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        return id

    def take(self, fits, seconds=15):
        end = time.monotonic() + seconds
        while True:
            line = self.lines.get(timeout=max(end - time.monotonic(), 0.001))
            assert line is not None, "the process has ended"
            assert line.endswith(b"\n"), line
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            if fits(message):
                return message

    def ask(self, method, params=None, **meta):
        id = self.modern(method, params, **meta)
        return schema.check(self.take(lambda message: message.get("id") == id), MODERN, method, id)


@pytest.fixture
def child(fixture_servers, wasm_cache):
    with command("modern-stdio", fixture_servers, wasm_cache) as place, Child(place) as child:
        yield child


def test_every_line_is_a_message_in_the_modern_era(child):
    assert MODERN in child.ask("server/discover")["result"]["supportedVersions"]
    names = house.eventually(lambda: [tool["name"] for tool in child.ask("tools/list")["result"]["tools"]], 20, "the tools")
    assert "about" in names
    assert wire.text_of(child.ask("tools/call", {"name": "test_simple_text", "arguments": {}})).startswith("This is")
    assert child.ask("resources/read", {"uri": "test://none"})["error"]["code"] == -32602
    assert child.ask("unknown/method")["error"]["code"] == -32601


def test_a_cancelled_call_is_not_answered(child):
    house.eventually(lambda: "cancellable" in str(child.ask("tools/list")), 20, "the tools")
    call = {"name": "cancellable", "arguments": {"seconds": 60, "tag": "by hand"}}
    id = child.modern("tools/call", call, progressToken="t")
    child.take(lambda message: message.get("method") == "notifications/progress")
    child.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})

    def ended():
        asked = child.modern("tools/call", {"name": "was_cancelled", "arguments": {"tag": "by hand"}})
        answer = child.take(lambda message: message.get("id") in (asked, id))
        assert answer["id"] == asked, f"an answer to what was cancelled: {answer}"
        return wire.text_of(answer) == "cancelled"

    house.eventually(ended, 10, "the end of the call")


def test_a_subscription_shares_the_pipe_with_calls(child):
    house.eventually(lambda: "test_trigger_tool_change" in str(child.ask("tools/list")), 20, "the tools")
    id = child.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    told = child.take(lambda message: "method" in message)
    assert told["method"] == "notifications/subscriptions/acknowledged"
    schema.check(told, MODERN, "subscriptions/listen", id)
    child.modern("tools/call", {"name": "test_trigger_tool_change", "arguments": {}})
    told = child.take(lambda message: message.get("method") == "notifications/tools/list_changed")
    schema.check(told, MODERN, "subscriptions/listen", id)


def test_a_line_that_is_no_message_stops_nothing(child):
    assert "result" in child.ask("server/discover")
    for line in (b"this is not a message\n", b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n"):
        child.say(line)
    assert "result" in child.ask("server/discover")


def test_the_end_of_its_input_is_the_end_of_the_child(child):
    assert "result" in child.ask("server/discover")
    offspring = house.descendants(child.process.pid)
    child.process.stdin.close()
    child.process.wait(15)
    house.eventually(lambda: not [pid for pid in offspring if house.is_alive(pid)], 15, "the end of its children")
