# Licensed under the Apache License 2.0; see LICENSE.
"""The modern era: what each mistake in an envelope is answered with, in which order, and what correct ones get."""

import base64
import json

import pytest

import wire
from wire import CAPABILITIES_KEY, MODERN, VERSION_KEY


@pytest.fixture(scope="module")
def gateway(make_once):
    gateway = make_once.gateway(tools=["text", "units"])
    gateway.wait_for_tools("text__echo", "units__convert")
    return gateway


@pytest.fixture(autouse=True)
def a_good_call_still_works(gateway):
    yield
    assert gateway.call("text__echo", {"text": "as if nothing had been"}) == ("as if nothing had been", False)


GOOD = {"name": "text__echo", "arguments": {"text": "x"}}
META = wire.meta()


def send(gateway, method="tools/call", params=GOOD, meta=META, id=77, headers=None, drop=()):
    """A modern request with changes: `headers` replaces fields, `drop` leaves some out, `meta` None leaves `_meta` out."""
    fields = {**wire.modern_headers(method, params.get("name")), **(headers or {})}
    fields = {name: value for name, value in fields.items() if name not in drop}
    params = dict(params) if meta is None else {**params, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()
    return gateway.exchange(wire.request("POST", "/mcp", fields, body))


def encoded(text):
    return "=?base64?" + base64.b64encode(text.encode()).decode() + "?="


OTHER = {VERSION_KEY: "2027-01-01", CAPABILITIES_KEY: {}}
LADDER = {
    # 5: the keys of _meta
    "no _meta at all": (dict(meta=None), 400, -32602),
    "no capabilities": (dict(meta={VERSION_KEY: MODERN}), 400, -32602),
    "no version": (dict(meta={CAPABILITIES_KEY: {}}), 400, -32602),
    "capabilities not an object": (dict(meta={VERSION_KEY: MODERN, CAPABILITIES_KEY: []}), 400, -32602),
    "version not a string": (dict(meta={VERSION_KEY: 20260728, CAPABILITIES_KEY: {}}), 400, -32602),
    "_meta not an object": (dict(meta="x"), 400, -32602),
    # 6: headers equal the body
    "no version header": (dict(drop=["MCP-Protocol-Version"]), 400, -32020),
    "another version header": (dict(headers={"MCP-Protocol-Version": "2025-11-25"}), 400, -32020),
    "no method header": (dict(drop=["Mcp-Method"]), 400, -32020),
    "another method header": (dict(headers={"Mcp-Method": "tools/list"}), 400, -32020),
    "method header in other case": (dict(headers={"Mcp-Method": "Tools/Call"}), 400, -32020),
    "no name header": (dict(drop=["Mcp-Name"]), 400, -32020),
    "another name header": (dict(headers={"Mcp-Name": "units__convert"}), 400, -32020),
    "name header in other case": (dict(headers={"Mcp-Name": "TEXT__ECHO"}), 400, -32020),
    "encoded name without padding": (dict(headers={"Mcp-Name": encoded("text__echo").replace("==", "")}), 400, -32020),
    "encoded name with a wrong letter": (dict(headers={"Mcp-Name": "=?base64?dGV4*F9fZWNobw==?="}), 400, -32020),
    "encoded name in other case of marker": (dict(headers={"Mcp-Name": encoded("text__echo").replace("b", "B", 1)}), 400, -32020),
    # 7: the version
    "a version of the future": (dict(meta=OTHER, headers={"MCP-Protocol-Version": "2027-01-01"}), 400, -32022),
    # 8: the method
    "unknown method": (dict(method="no/such", params={}), 404, -32601),
    "method in other case": (dict(method="Tools/List", params={}), 404, -32601),
    # 11: the parameters
    "unknown tool": (dict(params={"name": "no__such", "arguments": {}}), None, -32602),
    "no tool name": (dict(params={"arguments": {}}), None, (-32602, -32020)),
    "tool name not a string": (dict(params={"name": 7, "arguments": {}}, headers={"Mcp-Name": "7"}), None, (-32602, -32020)),
    "arguments a list": (dict(params={"name": "text__echo", "arguments": ["x"]}), None, -32602),
    "arguments a string": (dict(params={"name": "text__echo", "arguments": "x"}), None, -32602),
    "a cursor nobody gave": (dict(method="tools/list", params={"cursor": "made up"}), None, -32602),
}


@pytest.mark.parametrize("name", LADDER)
def test_each_rung_has_its_status_and_code(gateway, name):
    change, status, code = LADDER[name]
    response = send(gateway, **change)
    message = response.json
    assert message["error"]["code"] in (code if isinstance(code, tuple) else (code,)), message
    assert response.status in ((status,) if status else (200, 400)), response
    assert message["id"] == 77 and message["jsonrpc"] == "2.0"
    assert len(message["error"]["message"]) > 10


def test_an_unsupported_version_is_told_the_supported_ones(gateway):
    data = send(gateway, meta=OTHER, headers={"MCP-Protocol-Version": "2027-01-01"}).json["error"]["data"]
    assert data["requested"] == "2027-01-01" and MODERN in data["supported"]
    discovered = gateway.modern("server/discover")[1]["result"]["supportedVersions"]
    assert set(data["supported"]) <= set(discovered)


REMOVED = [
    "initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "tasks/list", "tasks/result",
    "notifications/initialized", "resources/list", "prompts/list", "completion/complete", "",
]


@pytest.mark.parametrize("method", REMOVED)
def test_methods_that_this_era_lacks_are_not_found(gateway, method):
    response = send(gateway, method=method, params={"protocolVersion": "2025-11-25", "capabilities": {}})
    if method == "":
        assert response.status in (400, 404), response
        return
    assert (response.status, response.json["error"]["code"], response.json["id"]) == (404, -32601, 77), response


ACCEPTED = {
    "an encoded name": {"Mcp-Name": encoded("text__echo")},
    "spaces around values": {"Mcp-Method": "  tools/call \t", "Mcp-Name": " text__echo "},
    "a session header, which is ignored": {"Mcp-Session-Id": "whatever"},
    "a charset": {"Content-Type": "application/json; charset=utf-8"},
    "a content type in other case": {"Content-Type": "Application/JSON"},
    "any accept": {"Accept": "*/*"},
    "accept with weights": {"Accept": "text/event-stream;q=0.5, application/json;q=0.9"},
    "a parameter header nobody knows": {"Mcp-Param-Unknown": "x"},
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_harmless_differences_are_accepted(gateway, name):
    response = send(gateway, headers=ACCEPTED[name])
    assert response.status == 200 and wire.text_of(response.json) == "x", response
    assert response.header("Mcp-Session-Id") is None


def test_header_names_have_no_case(gateway):
    body = wire.modern_body("tools/call", GOOD)
    headers = {name.upper(): value for name, value in wire.modern_headers("tools/call", "text__echo").items()}
    assert gateway.exchange(wire.request("POST", "/mcp", headers, body)).status == 200


def test_a_routing_header_may_not_come_twice(gateway):
    body = wire.modern_body("tools/call", GOOD)
    for name, value in (("Mcp-Name", "units__convert"), ("Mcp-Method", "tools/list"), ("MCP-Protocol-Version", "2025-11-25")):
        raw = wire.request("POST", "/mcp", wire.modern_headers("tools/call", "text__echo"), body)
        response = gateway.exchange(raw.replace(b"\r\n\r\n", f"\r\n{name}: {value}\r\n\r\n".encode(), 1))
        assert response.status == 400, (name, response)


def test_a_notification_is_accepted_without_an_answer(gateway):
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "_meta": META}}
    headers = wire.modern_headers("notifications/cancelled")
    response = gateway.exchange(wire.request("POST", "/mcp", headers, json.dumps(message).encode()))
    assert response.status == 202 and response.body == b"", response


def test_discover_tells_who_and_what(gateway):
    status, message = gateway.modern("server/discover", id="d")
    result = message["result"]
    assert status == 200 and message["id"] == "d"
    assert result["resultType"] == "complete" and MODERN in result["supportedVersions"]
    assert "tools" in result["capabilities"] and "serverInfo" not in result
    assert isinstance(result["ttlMs"], int) and result["cacheScope"] in ("private", "public")
    identity = result["_meta"]["io.modelcontextprotocol/serverInfo"]
    assert identity["name"] and identity["version"]


def test_lists_and_calls_carry_what_this_era_wants(gateway):
    listed = gateway.modern("tools/list")[1]["result"]
    assert listed["resultType"] == "complete" and isinstance(listed["ttlMs"], int)
    assert listed["cacheScope"] in ("private", "public")
    called = gateway.modern("tools/call", GOOD)[1]["result"]
    assert called["resultType"] == "complete" and called["content"] == [{"type": "text", "text": "x"}]


def test_nothing_is_remembered_between_requests(gateway):
    """Two requests of one connection, the first correct: the second gets no help from it."""
    with wire.Connection(gateway.port) as connection:
        connection.send(wire.modern_request("tools/call", GOOD))
        assert connection.response().status == 200
        bad = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": GOOD}).encode()
        connection.send(wire.request("POST", "/mcp", wire.modern_headers("tools/call", "text__echo"), bad))
        response = connection.response()
        assert (response.status, response.json["error"]["code"]) == (400, -32602)


def test_answers_may_be_streams_and_say_so(gateway):
    """A client that takes only an event stream, or only JSON, is either served in it or told what it must accept."""
    for accept in ("application/json", "text/event-stream"):
        response = send(gateway, headers={"Accept": accept})
        assert response.status in (200, 406), response
        if response.status == 200:
            assert response.header("Content-Type").startswith(accept)


def test_an_empty_arguments_member_is_the_tools_business(gateway):
    text, is_error = gateway.call("text__echo", {})
    assert is_error and text
    text, is_error = gateway.call("units__convert", {"value": "three", "from": "km", "to": "m"})
    assert is_error and text


def test_every_era_is_served_beside_the_other(gateway):
    session = gateway.legacy("2025-06-18")
    assert gateway.call("text__echo", {"text": "new"}) == ("new", False)
    assert session.call("text__echo", {"text": "old"}) == ("old", False)
