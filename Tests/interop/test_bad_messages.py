# Licensed under the Apache License 2.0; see LICENSE.
"""Bodies that are not messages, in both eras: the right code, and the next request is served as if nothing had been."""

import json

import pytest

import wire

PARSE, INVALID = (-32700,), (-32600,)
EITHER = PARSE + INVALID


def call(arguments):
    """A call whose arguments are the given bytes, with or without the modern `_meta`."""
    return b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"text__echo","arguments":%s,"_meta":%s}}' % (
        arguments, json.dumps(wire.meta()).encode())


BODIES = {
    "empty": (b"", EITHER),
    "white space": (b" \n\t ", EITHER),
    "plain text": (b"hello, is anybody there?", PARSE),
    "half an object": (b'{"jsonrpc":"2.0","id":1,"method":"tools/li', PARSE),
    "an object and more": (b'{"jsonrpc":"2.0","id":1,"method":"ping"} x', PARSE),
    "two objects": (b'{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}', PARSE),
    "single quotes": (b"{'jsonrpc':'2.0','id':1,'method':'ping'}", PARSE),
    "a comma too many": (b'{"jsonrpc":"2.0","id":1,"method":"ping",}', PARSE),
    "a comment": (b'{"jsonrpc":"2.0",/* hi */"id":1,"method":"ping"}', PARSE),
    "invalid UTF-8": (call(b'{"text":"\xff\xfe"}'), PARSE),
    "overlong UTF-8": (call(b'{"text":"\xc0\xaf"}'), PARSE),
    "a cut UTF-8 sequence": (call(b'{"text":"\xe4\xb8"}'), PARSE),
    "an encoded surrogate": (call(b'{"text":"\xed\xa0\x80"}'), PARSE),
    "UTF-16": ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"), PARSE),
    "a lone high surrogate": (call(rb'{"text":"\ud800"}'), PARSE),
    "a lone low surrogate": (call(rb'{"text":"\udc00"}'), PARSE),
    "surrogates the wrong way round": (call(rb'{"text":"\udc00\ud800"}'), PARSE),
    "a NUL byte in a string": (call(b'{"text":"a\x00b"}'), PARSE),
    "a NUL byte behind": (call(b'{"text":"a"}') + b"\x00", PARSE),
    "a control character in a string": (call(b'{"text":"a\nb"}'), PARSE),
    "an unknown escape": (call(rb'{"text":"\x41"}'), PARSE),
    "a cut escape": (call(rb'{"text":"\u00"}'), PARSE),
    "not a number": (call(b'{"text":NaN}'), PARSE),
    "infinity": (call(b'{"text":-Infinity}'), PARSE),
    "a leading zero": (call(b'{"text":007}'), PARSE),
    "a lone minus": (call(b'{"text":-}'), PARSE),
    "a duplicate id": (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', EITHER),
    "a duplicate method": (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', EITHER),
    "a duplicate by escape": (rb'{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call"}', EITHER),
    "a duplicate tool name": (
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","name":"text__echo","arguments":{}}}', EITHER),
    "deep lists": (call(b"[" * 10_000 + b"]" * 10_000), EITHER),
    "deep objects": (call(b'{"a":' * 10_000 + b"1" + b"}" * 10_000), EITHER),
    "deep and unfinished": (b"[" * 50_000, EITHER),
    "a number": (b"42", EITHER),
    "a string": (b'"tools/list"', EITHER),
    "null": (b"null", EITHER),
    "an empty object": (b"{}", INVALID),
    "an empty batch": (b"[]", INVALID),
    "a batch": (b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]', INVALID),
    "no version of JSON-RPC": (b'{"id":1,"method":"ping"}', INVALID),
    "JSON-RPC 1.0": (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', INVALID),
    "version as a number": (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', INVALID),
    "a method that is a number": (b'{"jsonrpc":"2.0","id":1,"method":7}', INVALID),
    "no method": (b'{"jsonrpc":"2.0","id":1}', INVALID),
    "an id that is null": (b'{"jsonrpc":"2.0","id":null,"method":"tools/list","params":{}}', INVALID),
    "an id with a fraction": (b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list","params":{}}', INVALID),
    "an id that is a list": (b'{"jsonrpc":"2.0","id":[1],"method":"tools/list","params":{}}', INVALID),
    "an id that is true": (b'{"jsonrpc":"2.0","id":true,"method":"tools/list","params":{}}', INVALID),
    "params a list": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}', INVALID),
    "params a string": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":"x"}', INVALID),
    "result and method": (b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', INVALID),
}
READABLE_ID = {
    "no version of JSON-RPC", "JSON-RPC 1.0", "version as a number", "a method that is a number", "params a list",
    "params a string",
}


@pytest.fixture(scope="module")
def gateway(make_once):
    gateway = make_once.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    return gateway


@pytest.fixture(scope="module")
def session(gateway):
    return gateway.legacy()


@pytest.fixture(autouse=True)
def a_good_call_still_works(gateway, session):
    yield
    assert gateway.call("text__echo", {"text": "as if nothing had been"}) == ("as if nothing had been", False)
    assert session.call("text__echo", {"text": "here too"}) == ("here too", False)


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("name", BODIES)
def test_it_is_refused_with_the_right_code(gateway, session, name, era):
    body, codes = BODIES[name]
    headers = wire.modern_headers("tools/call", "text__echo") if era == "modern" else session.headers
    with wire.Connection(gateway.port) as connection:
        connection.send(wire.request("POST", "/mcp", headers, body))
        response = connection.response()
        assert response.status == 400, response
        message = response.json
        assert message["jsonrpc"] == "2.0" and message["error"]["code"] in codes, message
        assert len(message["error"]["message"]) > 10
        assert message.get("id") in ((1,) if name in READABLE_ID else (None, 1, 7))
        # The connection is still in step.
        connection.send(wire.modern_request("tools/call", {"name": "text__echo", "arguments": {"text": "next"}}))
        assert wire.text_of(connection.response().json) == "next"


STRANGE_BUT_GOOD = {
    "an escaped NUL": rb'{"text":"a\u0000b"}',
    "a big number beside": b'{"text":"x","n":123456789012345678901234567890.5e-300}',
    "every escape": rb'{"text":"\"\\\/\b\f\n\r\t\u00e9\ud83d\udc4b"}',
    "much white space": b' \r\n\t{ "text" \n : \t "x" } ',
}


@pytest.mark.parametrize("name", STRANGE_BUT_GOOD)
def test_strange_but_good_json_is_taken(gateway, name):
    arguments = STRANGE_BUT_GOOD[name]
    headers = wire.modern_headers("tools/call", "text__echo")
    response = gateway.exchange(wire.request("POST", "/mcp", headers, call(arguments)))
    assert response.status == 200, response
    if "beside" not in name:
        assert wire.text_of(response.json) == json.loads(arguments)["text"]


def test_legacy_mistakes_have_legacy_answers(session):
    unknown = session.post(wire.legacy_body("no/such", {}, 9))
    assert (unknown.status, unknown.json["error"]["code"], unknown.json["id"]) == (200, -32601, 9)
    tool = session.post(wire.legacy_body("tools/call", {"name": "no__such", "arguments": {}}, 10))
    assert (tool.status, tool.json["error"]["code"], tool.json["id"]) == (200, -32602, 10)
    arguments = session.post(wire.legacy_body("tools/call", {"name": "text__echo", "arguments": [1]}, 11))
    assert (arguments.status, arguments.json["error"]["code"], arguments.json["id"]) == (200, -32602, 11)
    nameless = session.post(wire.legacy_body("tools/call", {"arguments": {}}, 12))
    assert (nameless.status, nameless.json["error"]["code"], nameless.json["id"]) == (200, -32602, 12)


def test_what_a_client_sent_is_not_quoted_back_raw(gateway):
    """An answer to garbage holds no markup of the garbage, so that no browser or terminal is fooled by it."""
    for evil in (b"<script>alert(1)</script>", b'{"jsonrpc":"2.0","id":1,"method":"\\u001b[31mred"}'):
        response = gateway.exchange(wire.request("POST", "/mcp", wire.modern_headers("x"), evil))
        assert b"<script>" not in response.body and b"\x1b" not in response.body
        assert response.header("Content-Type").startswith("application/json")
