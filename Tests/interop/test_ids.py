# Licensed under the Apache License 2.0; see LICENSE.
"""An id comes back as it was sent: same type, same digits, same letters."""

import json
import re

import pytest

import gateway as house
import wire

IDS = [
    "0", "1", '"1"', "-1", "9007199254740993", "-9007199254740993", "9223372036854775807", "-9223372036854775808",
    "1763923744123", '""', '"a b"', '"grüße 世界 👋"', r'"quote \" slash \\ line \n tab \t"', r'"\u00e9\ud83d\udc4b"',
    r'"\u0000"', '"' + "x" * 2000 + '"', '"9007199254740993"', '"null"',
]


@pytest.fixture(scope="module")
def gateway(make_once):
    upstream = make_once.server(house.scripted_server())
    gateway = make_once.gateway({"up": {"url": upstream.url}}, ["text"])
    gateway.wait_for_tools("text__echo", "up__echo")
    return gateway


def id_text(body):
    """The spelling of the id in an answer."""
    text = body.decode()
    position = text.index('"id":') + 5
    while text[position] == " ":
        position += 1
    _, end = json.JSONDecoder().raw_decode(text, position)
    return text[position:end]


def same(sent, received):
    if re.fullmatch(r"-?\d+", sent):
        return sent == received
    return received.startswith('"') and json.loads(sent) == json.loads(received)


def envelope(id, method, params):
    return f'{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{json.dumps(params)}}}'.encode()


CALLS = [
    ("tools/list", {}),
    ("tools/call", {"name": "text__echo", "arguments": {"text": "x"}}),
    ("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}),
    ("tools/call", {"name": "no_such_tool", "arguments": {}}),
    ("no/such/method", {}),
]


@pytest.mark.parametrize("id", IDS, ids=lambda id: id[:24].encode("unicode_escape").decode())
def test_an_id_is_echoed_exactly(gateway, id):
    session = gateway.legacy()
    for method, params in CALLS:
        headers = wire.modern_headers(method, params.get("name"))
        body = envelope(id, method, {**params, "_meta": wire.meta()})
        modern = gateway.exchange(wire.request("POST", "/mcp", headers, body))
        assert same(id, id_text(modern.body)), (method, modern)
        legacy = session.post(envelope(id, method, params))
        assert same(id, id_text(legacy.body)), (method, legacy)


def test_ids_of_calls_in_flight_do_not_mix(gateway):
    """The same id on two connections, and 1 beside "1": each asker gets the answer to its own question."""
    connections = [wire.Connection(gateway.port) for _ in range(20)]
    try:
        for number, connection in enumerate(connections):
            tool = "up__echo" if number % 2 else "text__echo"
            id = 1 if number % 4 < 2 else "1"
            connection.send(wire.modern_request("tools/call", {"name": tool, "arguments": {"text": f"n{number}"}}, id))
        for number, connection in enumerate(connections):
            message = connection.response().json
            assert message["id"] == (1 if number % 4 < 2 else "1") and f"n{number}" in wire.text_of(message)
    finally:
        for connection in connections:
            connection.socket.close()
