# Licensed under the Apache License 2.0; see LICENSE.
"""Upstreams that are away, slow, broken, or come back; nobody else is delayed by them."""

import json
import socket
import sys

import pytest

import gateway as house
import wire


def words(text):
    """A failure that a model can act on: a sentence, not a code."""
    assert len(text.split()) >= 5, text
    return text


def test_it_starts_with_every_upstream_down_and_picks_them_up(make):
    late = house.scripted_server()
    gateway = make.gateway({
        "late": {"url": late.url},
        "nowhere": {"url": f"http://127.0.0.1:{house.free_port()}/mcp"},
        "missing": {"command": "no-such-command-anywhere"},
    }, ["text"])
    tools = gateway.wait_for_tools("text__echo")
    assert not [tool for tool in tools if tool.startswith("late__")]
    assert gateway.call("text__echo", {"text": "served"}) == ("served", False)
    health = gateway.get("/health")
    assert health.status == 200 and health.json["status"] == "degraded"
    assert gateway.component("upstream:missing")["status"] != "healthy"
    house.eventually(lambda: "no-such-command-anywhere" in gateway.component("upstream:missing")["detail"], 10, "the reason")
    make.server(late)
    gateway.wait_for_tools("late__echo", seconds=40)
    assert gateway.call("late__echo", {"text": "hi"}) == ('{"text": "hi"}', False)
    house.eventually(lambda: gateway.component("upstream:late")["status"] == "healthy", 20, "health of the late one")


def test_a_killed_upstream_is_told_in_words_and_found_again(make):
    upstream = make.server(house.scripted_server())
    gateway = make.gateway({"up": {"url": upstream.url}}, ["text"])
    gateway.wait_for_tools("up__echo", "text__echo")
    assert gateway.call("up__echo", {"text": "1"}) == ('{"text": "1"}', False)
    upstream.kill()
    for session in (None, gateway.legacy()):
        text, is_error = session.call("up__echo") if session else gateway.call("up__echo")
        assert is_error and "up" in words(text)
    assert gateway.call("text__echo", {"text": "served"}) == ("served", False)
    assert "up__echo" in gateway.wait_for_tools()
    house.eventually(lambda: gateway.component("upstream:up")["status"] != "healthy", 30, "the upstream's absence in health")
    make.server(upstream)
    house.eventually(lambda: gateway.call("up__echo", {"text": "2"}) == ('{"text": "2"}', False), 40, "the return")


def test_a_killed_stdio_server_is_started_again(make, tmp_path):
    pids = tmp_path / "pids"
    command = {"command": sys.executable, "args": [str(house.SERVERS / "family.py"), str(pids)]}
    gateway = make.gateway({"family": command}, ["text"])
    gateway.wait_for_tools("family__pid")
    before = json.loads(pids.read_text())
    text, is_error = gateway.call("family__die")
    assert is_error and words(text)
    assert gateway.call("text__echo", {"text": "served"}) == ("served", False)

    def back():
        text, is_error = gateway.call("family__pid")
        return not is_error and text != str(before["self"])

    house.eventually(back, 40, "a new process")
    house.eventually(lambda: not house.is_alive(before["near"]) and not house.is_alive(before["far"]), 20,
                     "the end of the first one's children")


# Each failure is looked at by itself here; what many of them do together is test_queue's.
NO_BREAKER = {"circuit_breaker": {"minimum_calls": 10_000}}


@pytest.fixture(scope="module")
def gateway(make_once):
    upstream = make_once.server(house.scripted_server())
    gateway = make_once.gateway(
        {"up": {"url": upstream.url, "timeout": "3s", **NO_BREAKER}, "deaf": {"url": deaf(make_once), "timeout": "2s", **NO_BREAKER}},
        ["text"])
    gateway.wait_for_tools("up__echo", "text__echo")
    return gateway


def deaf(make):
    """An upstream that accepts connections and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    make.later(listener.close)
    return f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"


def test_a_hanging_upstream_delays_nobody(gateway):
    hanging = [wire.Connection(gateway.port, 30) for _ in range(40)]
    try:
        for connection in hanging:
            connection.send(wire.modern_request("tools/call", {"name": "up__hang", "arguments": {}}))
        house.eventually(lambda: int(gateway.call("up__count", {"tool": "hang"})[0]) >= 16, 10, "the arrival of the calls")
        for _ in range(5):
            assert gateway.call("text__echo", {"text": "served"}) == ("served", False)
            assert gateway.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False)
            assert gateway.modern("tools/list")[0] == 200
            assert gateway.get("/health").status == 200
        for connection in hanging:
            message = connection.response().json
            assert message["result"]["isError"], message
            words(wire.text_of(message))
    finally:
        for connection in hanging:
            connection.socket.close()


@pytest.mark.parametrize("tool", ["broken", "cut"])
def test_garbage_of_an_upstream_becomes_words(gateway, tool):
    text, is_error = gateway.call(f"up__{tool}")
    assert is_error and words(text)
    assert gateway.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False)


def test_a_call_that_was_cut_is_not_sent_twice(gateway):
    """Nothing says that the tool may run twice, so the gateway must not."""
    before = int(gateway.call("up__count", {"tool": "cut"})[0])
    assert gateway.call("up__cut")[1]
    assert int(gateway.call("up__count", {"tool": "cut"})[0]) == before + 1


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 1_000_000])
def test_answers_of_any_size_pass(gateway, size):
    assert gateway.call("up__big", {"size": size}) == ("x" * size, False)
