# Licensed under the Apache License 2.0; see LICENSE.
"""Who may call: which tokens open which doors, and what belongs to their callers alone."""

import contextlib
import hashlib
import json

import pytest

import gateway as house
import sdk
import wire
from shop import QUEUE, Shop, handle_of
from tokens import TOKEN_MODE, echo, spoilt


@pytest.fixture
def gateway(make):
    return make.guarded()


# Who may call.

def everywhere(gateway, headers):
    """A request of each kind that a client makes."""
    modern = {**wire.modern_headers("tools/list"), **headers}
    legacy = {**wire.LEGACY_HEADERS, **headers}
    return {
        "modern": gateway.exchange(wire.request("POST", "/mcp", modern, wire.modern_body("tools/list"))),
        "discover": gateway.exchange(wire.request("POST", "/mcp", {**wire.modern_headers("server/discover"), **headers},
                                                  wire.modern_body("server/discover"))),
        "initialize": gateway.exchange(wire.request("POST", "/mcp", legacy, wire.initialize_body())),
        "stream": gateway.exchange(wire.request("GET", "/mcp", {**legacy, "Accept": "text/event-stream"}), "GET"),
        "delete": gateway.exchange(wire.request("DELETE", "/mcp", legacy), "DELETE"),
        "sse": gateway.exchange(wire.request("GET", "/sse", {"Accept": "text/event-stream", **headers}), "GET"),
        "messages": gateway.exchange(wire.request("POST", "/messages?session_id=x", legacy, wire.initialize_body())),
        "garbage": gateway.exchange(wire.request("POST", "/mcp", legacy, b"{")),
    }


def test_without_a_token_nobody_calls(gateway):
    for kind, response in everywhere(gateway, {}).items():
        assert response.status == 401, (kind, response)
        assert response.header("WWW-Authenticate").startswith("Bearer"), (kind, response)
        error = response.json["error"]
        assert error["code"] == "token_missing" and error["message"] and error["request_id"] == response.header("X-Request-Id")


def wrong_headers(secret):
    id = secret.split("_")[1]
    return {
        "made up": {"Authorization": "Bearer abc"},
        "nothing": {"Authorization": "Bearer"},
        "nothing but space": {"Authorization": "Bearer  "},
        "another scheme": {"Authorization": f"Basic {secret}"},
        "no scheme": {"Authorization": secret},
        "one letter less": {"Authorization": f"Bearer {secret[:-1]}"},
        "one letter more": {"Authorization": f"Bearer {secret}A"},
        "one letter else": {"Authorization": f"Bearer {secret[:-1]}{'A' if secret[-1] != 'A' else 'E'}"},
        "another case": {"Authorization": f"Bearer {secret.upper()}"},
        "padding": {"Authorization": f"Bearer {secret}="},
        "its id with zeros": {"Authorization": f"Bearer mcpgw_{id}_{'A' * 43}"},
        "another id": {"Authorization": f"Bearer mcpgw_00000000_{secret.split('_', 2)[2]}"},
        "its digest": {"Authorization": f"Bearer {hashlib.sha256(secret.encode()).hexdigest()}"},
        "two in one": {"Authorization": f"Bearer {secret}, Bearer {secret}"},
        "long": {"Authorization": "Bearer " + "A" * 6000},
        "another header": {"X-Api-Key": secret, "Proxy-Authorization": f"Bearer {secret}", "Cookie": f"token={secret}"},
    }


def test_a_wrong_token_opens_nothing(gateway):
    secret = gateway.new_token("erp")
    assert echo(gateway.showing(secret)).status == 200
    for case, headers in wrong_headers(secret).items():
        response = gateway.exchange(wire.request("POST", "/mcp", {**wire.modern_headers("tools/list"), **headers},
                                                 wire.modern_body("tools/list")))
        assert response.status == 401 and response.header("WWW-Authenticate"), (case, response)
        assert secret not in response.body.decode()
    for query in (f"access_token={secret}", f"token={secret}"):
        response = gateway.exchange(wire.request("POST", f"/mcp?{query}", wire.modern_headers("tools/list"), wire.modern_body("tools/list")))
        assert response.status == 401
    # A second header of that name: nobody knows which one counts.
    request = wire.request("POST", "/mcp", {**wire.modern_headers("tools/list"), "Authorization": f"Bearer {secret}"},
                           wire.modern_body("tools/list"))
    assert gateway.exchange(request).status == 200
    double = request.replace(b"\r\nAuthorization:", b"\r\nAuthorization: Bearer x\r\nAuthorization:", 1)
    assert gateway.exchange(double).status in (400, 401)


def test_the_scheme_is_known_in_whatever_case(gateway):
    secret = gateway.new_token("erp")
    for scheme in ("bearer", "BEARER", "BeArEr"):
        headers = {**wire.modern_headers("tools/list"), "Authorization": f"{scheme} {secret}"}
        assert gateway.exchange(wire.request("POST", "/mcp", headers, wire.modern_body("tools/list"))).status == 200


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_revoked_token_opens_nothing_from_then_on(gateway, by):
    erp, other = gateway.caller("erp"), gateway.caller("other")
    with wire.Connection(gateway.port) as connection:
        request = wire.request("POST", "/mcp", {**wire.modern_headers("tools/list"), **erp.credentials}, wire.modern_body("tools/list"))
        connection.send(request)
        assert connection.response().status == 200
        session = erp.legacy()
        _, said = gateway.order("DELETE", f"/admin/tokens/{erp.token.split('_')[1] if by == 'id' else 'erp'}", socket=True)
        assert said["token"]["name"] == "erp" and "erp" in said["words"], said
        connection.send(request)
        assert connection.response().status == 401, "also on a connection that was open before"
    assert session.post(wire.legacy_body("tools/list")).status == 401
    assert echo(other).status == 200
    assert gateway.order("DELETE", "/admin/tokens/erp", socket=True)[0] == 404
    again = gateway.caller("erp")
    assert echo(again).status == 200 and echo(erp).status == 401, "a name may be used again, a secret never"


def test_an_expired_token_opens_nothing(gateway):
    erp = gateway.caller("erp", **{"for": "2s"})
    assert echo(erp).status == 200
    house.eventually(lambda: echo(erp).status == 401, 10, "its end")
    _, said = gateway.order("GET", "/admin/tokens", socket=True)
    assert {one["name"]: one["expired"] for one in said["tokens"]} == {"starter": False, "erp": True}
    assert echo(gateway.caller("erp")).status == 200, "its name is free again"


@pytest.mark.parametrize("roles, call, order, look", [
    (["call"], 200, 403, 403), (["observe"], 403, 403, 200), (["admin"], 403, 200, 200), (["call", "observe"], 200, 403, 200),
    (["call", "observe", "admin"], 200, 200, 200)], ids=lambda one: "-".join(one) if isinstance(one, list) else "")
def test_each_role_opens_its_doors(gateway, roles, call, order, look):
    somebody = gateway.caller("somebody", *roles)
    response = echo(somebody)
    assert response.status == call, response
    if call == 403:
        assert response.json["error"]["code"] == "role_missing" and response.header("WWW-Authenticate") is None
    assert somebody.order("GET", "/admin/queue")[0] == order
    assert somebody.get("/metrics").status == look
    assert ("components" in somebody.health()) == (look == 200)
    # What comes through a proxy is judged by its token alone.
    assert somebody.get("/admin/queue", {"X-Forwarded-For": "203.0.113.9"}).status == order
    assert ("components" in somebody.get("/health", {"X-Forwarded-For": "203.0.113.9"}).json) == (look == 200)


CLIENTS = [("mcp1", "/mcp", "auto"), ("mcp1", "/sse", "auto"), ("mcp2", "/mcp", "auto"), ("mcp2", "/mcp", wire.MODERN),
           ("mcp2", "/mcp", "legacy"), ("mcp2", "/sse", "legacy"), ("fastmcp", "/mcp", "auto"), ("fastmcp", "/mcp", "legacy"),
           ("fastmcp", "/sse", "legacy")]


@pytest.mark.parametrize("kind, path, mode", CLIENTS, ids=lambda one: one.strip("/"))
def test_clients_that_we_did_not_write_show_theirs(gateway, kind, path, mode):
    place = f"http://127.0.0.1:{gateway.port}{path}"
    secret = gateway.new_token(f"{kind}@test")
    with sdk.Client(kind, place, mode, token=secret) as client:
        assert "text__echo" in client.list()
        assert client.call("text__echo", {"text": "grüße"}) == ("grüße", False)
    rows = lambda: gateway.sql(f"SELECT count(*) FROM request_log WHERE caller = '{kind}@test' AND tool = 'text__echo'")
    house.eventually(lambda: rows() == "1", 10, "the row with its name")
    # One that speaks the modern era only says nothing before it is asked for something.
    with pytest.raises(AssertionError), sdk.Client(kind, place, mode, token=spoilt(secret)) as client:
        client.list()


def test_the_sockets_of_this_machine_ask_for_none(gateway):
    with sdk.Client("mcp1", gateway.command("stdio")) as client:
        assert client.call("text__echo", {"text": "x"}) == ("x", False)


def test_an_open_stream_of_a_revoked_token_tells_nothing_more(gateway):
    """Whoever may not call any more is not told any more what goes on, either."""
    erp = gateway.caller("erp")
    session = erp.legacy()
    streams = {}
    for path, more in (("/sse", erp.credentials), ("/mcp", session.headers)):
        connection = wire.Connection(gateway.port)
        connection.send(wire.request("GET", path, {**more, "Accept": "text/event-stream"}))
        streams[path] = wire.Stream(connection, "GET")
        assert streams[path].status == 200
    place = streams["/sse"].event().data
    for body in (wire.initialize_body("2024-11-05"), wire.legacy_body("notifications/initialized", id=None)):
        assert erp.exchange(wire.request("POST", place, {**wire.LEGACY_HEADERS, **erp.credentials}, body)).status == 202
    assert "result" in streams["/sse"].message()
    try:
        gateway.tables["tools.units"] = {"module": house.MODULES / "units.wasm"}
        gateway.reload(socket=True)
        for path, stream in streams.items():
            assert stream.message()["method"] == "notifications/tools/list_changed", path
        gateway.order("DELETE", "/admin/tokens/erp", socket=True)
        del gateway.tables["tools.units"]
        gateway.reload(socket=True)
        assert {path: told(stream) for path, stream in streams.items()} == {"/sse": [], "/mcp": []}
    finally:
        for stream in streams.values():
            stream.close()


def told(stream, seconds=2):
    """What it still says, until it ends or is quiet for a while."""
    messages = []
    with contextlib.suppress(TimeoutError, ConnectionError):
        while message := stream.message(seconds):
            messages.append(message)
    return messages


# What is told apart by caller.

def test_a_caller_has_its_name_in_rows_and_in_the_queue(make):
    shop = token_shop(make)
    shop.leave()
    shop.gateway = erp = shop.gateway.showing(shop.gateway.new_token("erp@site.example"))
    ask = keyed_call(erp, "a", "k")
    assert ask["result"]["content"][0]["text"].startswith("NOT DONE YET")
    assert shop.rows("caller, status") == ["erp@site.example|queued"]
    _, said = erp.order("GET", "/admin/queue", socket=True)
    assert said["items"][0]["caller"] == "erp@site.example", said
    rows = lambda: erp.sql("SELECT DISTINCT caller FROM request_log WHERE tool = 'up__dispense'")
    house.eventually(lambda: rows() == "erp@site.example", 10, "the row")


def token_shop(make, tools=None):
    """A shop as in test_queue whose gateway asks for tokens; `gateway` shows one."""
    shop = Shop(make, tools, up=True, sections={"auth": {"mode": "none"}})
    shop.gateway.tables["auth"]["mode"] = "token"
    shop.gateway.reload(socket=True)
    return shop


def keyed_call(gateway, n, key=None, tool="dispense", capabilities=None, id=1):
    meta = wire.meta(capabilities=capabilities, **({"mcp-gateway/idempotency-key": key} if key else {}))
    params = {"name": f"up__{tool}", "arguments": {"n": n}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()
    headers = {**wire.modern_headers("tools/call", f"up__{tool}"), **gateway.credentials}
    return gateway.exchange(wire.request("POST", "/mcp", headers, body)).json


def test_a_session_is_its_callers_alone(gateway):
    one, other = gateway.caller("one"), gateway.caller("other")
    session = one.legacy()
    session.gateway = other
    assert session.post(wire.legacy_body("tools/list")).status == 404
    stream = other.exchange(wire.request("GET", "/mcp", {**session.headers, "Accept": "text/event-stream"}), "GET")
    assert stream.status == 404, stream
    assert session.delete().status == 404
    session.gateway = one
    assert session.call("text__echo", {"text": "x"}) == ("x", False), "nobody else could end it"
    gateway.restart()
    one.wait_for_tools("text__echo")
    session.gateway = other
    assert session.post(wire.legacy_body("tools/list")).status == 404, "also after a restart"
    session.gateway = one
    assert session.call("text__echo", {"text": "x"}) == ("x", False)
    # Whoever has the next token of that name is not the one before.
    gateway.order("DELETE", "/admin/tokens/one", socket=True)
    assert session.post(wire.legacy_body("tools/list")).status == 401


def test_an_sse_session_is_its_callers_alone(gateway):
    one, other = gateway.caller("one"), gateway.caller("other")
    connection = wire.Connection(gateway.port)
    connection.send(wire.request("GET", "/sse", {"Accept": "text/event-stream", **one.credentials}))
    with wire.Stream(connection, "GET") as stream:
        place = stream.event().data
        post = lambda who: who.exchange(wire.request("POST", place, {**wire.LEGACY_HEADERS, **who.credentials}, wire.initialize_body()))
        assert post(other).status == 404
        assert post(gateway).status == 401
        assert post(one).status == 202
        assert stream.event().data


def test_stored_calls_are_their_callers_alone(make):
    shop = token_shop(make)
    one, other = shop.gateway.caller("one"), shop.gateway.caller("other")
    shop.leave()
    handle = handle_of(keyed_call(one, "a"))
    for tool in ("gateway__queue_result", "gateway__queue_status"):
        text, is_error = other.call(tool, {"handle": handle})
        assert is_error and "NOT DONE YET" not in text, (tool, text)
        unknown = other.call(tool, {"handle": "call-" + "A" * (len(handle) - 5)})
        assert text.replace(handle, "") == unknown[0].replace("call-" + "A" * (len(handle) - 5), ""), "as if there were none"
    tasks = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    task = keyed_call(one, "b", capabilities=tasks)["result"]["taskId"]

    def ask(who, method):
        params = {"taskId": task, "_meta": wire.meta(capabilities=tasks)}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        return who.exchange(wire.request("POST", "/mcp", {**wire.modern_headers(method, task), **who.credentials}, body)).json

    assert ask(other, "tasks/cancel")["error"]["code"] == -32602
    assert ask(other, "tasks/get")["error"]["code"] == -32602
    assert ask(one, "tasks/get")["result"]["status"] == "working"
    shop.server.start()
    house.eventually(lambda: shop.rows() == ["completed", "completed"], 20)
    assert other.call("gateway__queue_result", {"handle": handle})[1]
    assert one.call("gateway__queue_result", {"handle": handle}) == ("dispense a", False)


def test_keys_and_repeated_calls_are_their_callers_alone(make):
    shop = token_shop(make, {"dispense": {**QUEUE, "dedupe": "1h"}, "assign": {**QUEUE, "idempotent": True}})
    one, other = shop.gateway.caller("one"), shop.gateway.caller("other")
    for who in (one, other, one, other):
        assert keyed_call(who, "a", "the-key", "assign")["result"]["content"][0]["text"] == "assign a"
    assert shop.done() == [["assign", "a"]] * 2, "once for each of them"
    for who in (one, other, one, other):
        keyed_call(who, "b")
    assert shop.done()[2:] == [["dispense", "b"]] * 2
    shop.leave()
    handles = {handle_of(keyed_call(who, "c", "another", "assign")) for who in (one, other, one, other)}
    assert len(handles) == 2
    assert shop.rows("caller, status")[-2:] == ["one|queued", "other|queued"]


def test_kept_answers_are_their_callers_alone(make):
    """What a server answers may depend on who asks, as far as it is told."""
    shop = token_shop(make)
    one, other = shop.gateway.caller("one"), shop.gateway.caller("other")
    price = lambda who: keyed_call(who, "a", tool="price")["result"]["content"][0]["text"]
    assert [price(who) for who in (one, one, other, other)] == ["a asked 1 times"] * 2 + ["a asked 2 times"] * 2


def test_each_caller_has_a_limit_of_its_own(make):
    sections = {**TOKEN_MODE, "limits.per_caller": {"requests_per_second": 0.001, "burst": 3}}
    gateway = make.gateway(tools=["text"], sections=sections)
    one, other = gateway.caller("one"), gateway.caller("other")
    assert [echo(one).status for _ in range(4)][-1] == 429
    assert echo(other).status == 200
    assert echo(one).status == 429
    assert echo(gateway).status == 401, "who has no token has no limit to use up"


def test_a_token_gives_a_name_where_none_is_asked_for(make):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    erp, wrong, observer = gateway.caller("erp"), gateway.showing("nonsense"), gateway.caller("observer", "observe")
    for who in (erp, wrong, observer, gateway):
        assert echo(who).status == 200
    rows = lambda: gateway.sql("SELECT caller, count(*) FROM request_log WHERE tool = 'text__echo' GROUP BY caller").split()
    house.eventually(lambda: rows() == ["anonymous|3", "erp|1"], 10, "the rows")
    session = erp.legacy()
    session.gateway = gateway
    assert session.post(wire.legacy_body("tools/list")).status == 404
