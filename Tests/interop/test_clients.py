# Licensed under the Apache License 2.0; see LICENSE.
"""Clients that we did not write, over HTTP, each in the eras it speaks."""

import pytest

import gateway as house
import sdk
from wire import MODERN

CLIENTS = [
    ("mcp1", "auto", "2025-11-25"),
    ("mcp2", "auto", MODERN),
    ("mcp2", MODERN, MODERN),
    ("mcp2", "legacy", "2025-11-25"),
    ("fastmcp", "auto", MODERN),
    ("fastmcp", "legacy", "2025-11-25"),
]


@pytest.fixture(scope="module")
def gateway(make_once):
    upstream = make_once.server(house.scripted_server())
    notes = {"command": "python3", "args": ["server.py"], "cwd": house.ROOT / "examples/upstreams/notes"}
    gateway = make_once.gateway({"up": {"url": upstream.url}, "notes": notes}, ["text", "units", "checksum"])
    gateway.wait_for_tools("text__echo", "units__convert", "up__echo", "notes__add_note")
    return gateway


@pytest.fixture(scope="module", params=CLIENTS, ids=lambda one: "-".join(one[:2]))
def client(request, gateway):
    kind, mode, revision = request.param
    with sdk.Client(kind, f"http://127.0.0.1:{gateway.port}/mcp", mode) as client:
        client.expected_revision = revision
        yield client


def test_it_connects_in_its_era(client):
    assert client.opened["connected"] == client.expected_revision


def test_it_lists_the_tools_of_modules_and_upstreams(client):
    tools = client.list()
    assert {"text__echo", "units__convert", "up__echo", "notes__add_note", "notes__list_notes"} <= set(tools)
    assert len(tools) == len(set(tools))


def test_every_tool_has_what_a_model_needs(client):
    for tool in client.order(do="list")["tools"]:
        assert tool["description"], tool
        assert tool["inputSchema"]["type"] == "object", tool


@pytest.mark.parametrize("text", ["hello", "grüße, 世界 👋", 'quotes " and \\ and \n lines', "x" * 100_000])
def test_it_calls_a_webassembly_tool(client, text):
    assert client.call("text__echo", {"text": text}) == (text, False)


def test_it_calls_another_module(client):
    text, is_error = client.call("units__convert", {"value": 1.5, "from": "km", "to": "m"})
    assert not is_error and "1500" in text.replace(",", "").replace(" ", ""), text


def test_a_tools_own_refusal_is_told_in_words(client):
    text, is_error = client.call("units__convert", {"value": 1, "from": "km", "to": "kg"})
    assert is_error and len(text) > 10, text


def test_it_calls_an_upstream_over_http(client):
    assert client.call("up__echo", {"text": "grüße 👋"}) == ('{"text": "gr\\u00fc\\u00dfe \\ud83d\\udc4b"}', False)


def test_it_calls_an_upstream_over_stdio(client):
    text, is_error = client.call("notes__add_note", {"text": "buy milk"})
    assert not is_error, text
    text, is_error = client.call("notes__list_notes")
    assert not is_error and "buy milk" in text, text


def test_an_unknown_tool_is_refused_and_the_session_goes_on(client):
    answer = client.order(do="call", name="no__such_tool", arguments={})
    assert "failure" in answer and "no__such_tool" in answer["message"] or "tool" in answer["message"], answer
    assert client.call("text__echo", {"text": "still here"}) == ("still here", False)


def test_a_client_that_leaves_ends_cleanly(gateway):
    for kind, mode, _ in CLIENTS:
        with sdk.Client(kind, f"http://127.0.0.1:{gateway.port}/mcp", mode) as client:
            assert "text__echo" in client.list()
            assert client.close() == {"closed": True}, (kind, mode, client.complaints())
