# Licensed under the Apache License 2.0; see LICENSE.
"""Who may call and who may order: tokens, the local door, and everything that must not be found out or mixed up."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import re
import stat
import subprocess
import time

import pytest

import exposition
import gateway as house
import wire
from test_queue import QUEUE, Shop, handle_of

TOKEN_MODE = {"auth": {"mode": "token"}}
SECRET = re.compile(r"mcpgw_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")


def new_token(gateway, name, *roles, **more):
    status, said = gateway.order("POST", "/admin/tokens", {"name": name, "roles": list(roles or ["call"]), **more}, socket=True)
    assert status == 200 and SECRET.fullmatch(said["secret"]), said
    return said["secret"]


def spoilt(secret):
    """Another one, whatever the last letter is."""
    return secret[:-1] + ("B" if secret[-1] == "A" else "A")


def caller(gateway, name, *roles, **more):
    return gateway.showing(new_token(gateway, name, *roles, **more))


@pytest.fixture
def gateway(make):
    gateway = make.gateway(tools=["text"], sections=TOKEN_MODE)
    caller(gateway, "starter").wait_for_tools("text__echo")
    return gateway


def security(gateway):
    return (gateway.home / "log/security.log").read_text().splitlines()


def echo(gateway):
    return gateway.modern_response("tools/call", {"name": "text__echo", "arguments": {"text": "x"}})


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
    secret = new_token(gateway, "erp")
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
    secret = new_token(gateway, "erp")
    for scheme in ("bearer", "BEARER", "BeArEr"):
        headers = {**wire.modern_headers("tools/list"), "Authorization": f"{scheme} {secret}"}
        assert gateway.exchange(wire.request("POST", "/mcp", headers, wire.modern_body("tools/list"))).status == 200


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_revoked_token_opens_nothing_from_then_on(gateway, by):
    erp, other = caller(gateway, "erp"), caller(gateway, "other")
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
    again = caller(gateway, "erp")
    assert echo(again).status == 200 and echo(erp).status == 401, "a name may be used again, a secret never"


def test_an_expired_token_opens_nothing(gateway):
    erp = caller(gateway, "erp", **{"for": "2s"})
    assert echo(erp).status == 200
    house.eventually(lambda: echo(erp).status == 401, 10, "its end")
    _, said = gateway.order("GET", "/admin/tokens", socket=True)
    assert {one["name"]: one["expired"] for one in said["tokens"]} == {"starter": False, "erp": True}
    assert echo(caller(gateway, "erp")).status == 200, "its name is free again"


@pytest.mark.parametrize("roles, call, order, look", [
    (["call"], 200, 403, 403), (["observe"], 403, 403, 200), (["admin"], 403, 200, 200), (["call", "observe"], 200, 403, 200),
    (["call", "observe", "admin"], 200, 200, 200)], ids=lambda one: "-".join(one) if isinstance(one, list) else "")
def test_each_role_opens_its_doors(gateway, roles, call, order, look):
    somebody = caller(gateway, "somebody", *roles)
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
    secret = new_token(gateway, f"{kind}@test")
    with house.Client(kind, place, mode, token=secret) as client:
        assert "text__echo" in client.list()
        assert client.call("text__echo", {"text": "grüße"}) == ("grüße", False)
    rows = lambda: gateway.sql(f"SELECT count(*) FROM request_log WHERE caller = '{kind}@test' AND tool = 'text__echo'")
    house.eventually(lambda: rows() == "1", 10, "the row with its name")
    # One that speaks the modern era only says nothing before it is asked for something.
    with pytest.raises(AssertionError), house.Client(kind, place, mode, token=spoilt(secret)) as client:
        client.list()


def test_the_sockets_of_this_machine_ask_for_none(gateway):
    command = [str(house.BINARY), "stdio", "--config", str(gateway.configuration)]
    with house.Client("mcp1", command) as client:
        assert client.call("text__echo", {"text": "x"}) == ("x", False)


# What is told apart by caller.

def test_a_caller_has_its_name_in_rows_and_in_the_queue(make):
    shop = token_shop(make)
    shop.leave()
    shop.gateway = erp = shop.gateway.showing(new_token(shop.gateway, "erp@site.example"))
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
    one, other = caller(gateway, "one"), caller(gateway, "other")
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
    one, other = caller(gateway, "one"), caller(gateway, "other")
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
    one, other = caller(shop.gateway, "one"), caller(shop.gateway, "other")
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
    one, other = caller(shop.gateway, "one"), caller(shop.gateway, "other")
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
    one, other = caller(shop.gateway, "one"), caller(shop.gateway, "other")
    price = lambda who: keyed_call(who, "a", tool="price")["result"]["content"][0]["text"]
    assert [price(who) for who in (one, one, other, other)] == ["a asked 1 times"] * 2 + ["a asked 2 times"] * 2


def test_each_caller_has_a_limit_of_its_own(make):
    sections = {**TOKEN_MODE, "limits.per_caller": {"requests_per_second": 0.001, "burst": 3}}
    gateway = make.gateway(tools=["text"], sections=sections)
    one, other = caller(gateway, "one"), caller(gateway, "other")
    assert [echo(one).status for _ in range(4)][-1] == 429
    assert echo(other).status == 200
    assert echo(one).status == 429
    assert echo(gateway).status == 401, "who has no token has no limit to use up"


def test_a_token_gives_a_name_where_none_is_asked_for(make):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    erp, wrong, observer = caller(gateway, "erp"), gateway.showing("nonsense"), caller(gateway, "observer", "observe")
    for who in (erp, wrong, observer, gateway):
        assert echo(who).status == 200
    rows = lambda: gateway.sql("SELECT caller, count(*) FROM request_log WHERE tool = 'text__echo' GROUP BY caller").split()
    house.eventually(lambda: rows() == ["anonymous|3", "erp|1"], 10, "the rows")
    session = erp.legacy()
    session.gateway = gateway
    assert session.post(wire.legacy_body("tools/list")).status == 404


# Where it listens.

@pytest.mark.parametrize("listen", ["0.0.0.0", "[::]", ""])
def test_without_tokens_it_does_not_open_itself_to_others(make, listen):
    gateway = make.gateway(start=False)
    gateway.tables["server"]["listen"] = f"{listen}:{gateway.port}"
    gateway.start(wait=False)
    assert gateway.process.wait(20) == 78
    assert "server.listen" in gateway.stdout() and "allow_anonymous" in gateway.stdout(), gateway.stdout()
    assert not (gateway.home / "lib/queue.db").exists()
    gateway.tables["auth"] = {"mode": "none", "allow_anonymous": True}
    gateway.start()
    assert gateway.modern("tools/list")[0] == 200
    gateway.terminate()
    gateway.tables["auth"] = {"mode": "token"}
    gateway.start()
    assert gateway.modern_response("tools/list").status == 401
    assert caller(gateway, "erp").modern("tools/list")[0] == 200


# Of nobody; it is only ever said by a proxy on this machine, so that no test leaves loopback.
ELSEWHERE = "192.0.2.7"


@pytest.fixture
def open_gateway(make):
    gateway = make.gateway(tools=["text"], sections=TOKEN_MODE, start=False)
    gateway.tables["server"]["trusted_proxies"] = ["127.0.0.1"]
    gateway.start()
    caller(gateway, "starter").wait_for_tools("text__echo")
    return gateway


def from_elsewhere(gateway, method, path, body=None, token=None):
    """A request from outside, as a proxy hands it on: the status, the answer and the head."""
    more = ["-H", f"X-Forwarded-For: {ELSEWHERE}"]
    if token:
        more += ["-H", f"Authorization: Bearer {token}"]
    if body is not None:
        more += ["-d", json.dumps(body)]
    ran = subprocess.run(["curl", "-s", "-D", "-", "-X", method, *more, f"http://127.0.0.1:{gateway.port}{path}"],
                         capture_output=True, text=True, timeout=30)
    head, _, text = ran.stdout.partition("\n\n")
    said = json.loads(text) if text.startswith("{") else text
    return int(head.split()[1]), said, head.lower()


def test_operators_from_elsewhere_show_a_token(open_gateway):
    gateway = open_gateway
    admin, observer = new_token(gateway, "boss", "admin"), new_token(gateway, "screen", "observe")
    for path in ("/admin/queue", "/admin/status", "/admin/tokens", "/metrics"):
        assert from_elsewhere(gateway, "GET", path)[0] == 403, path
        assert from_elsewhere(gateway, "GET", path, token=admin)[0] == 200, path
    assert set(from_elsewhere(gateway, "GET", "/health")[1]) == {"status"}
    status, said, _ = from_elsewhere(gateway, "POST", "/admin/tokens", {"name": "new", "roles": ["call"]}, admin)
    assert status == 200 and SECRET.fullmatch(said["secret"])
    assert from_elsewhere(gateway, "POST", "/admin/reload", token=admin)[0] == 200
    assert "components" in from_elsewhere(gateway, "GET", "/health", token=observer)[1]
    assert from_elsewhere(gateway, "GET", "/metrics", token=observer)[0] == 200
    for method, path in (("GET", "/admin/queue"), ("GET", "/admin/tokens"), ("POST", "/admin/reload"), ("GET", "/admin/nothing")):
        assert from_elsewhere(gateway, method, path, token=observer)[0] == 403, path
        assert from_elsewhere(gateway, method, path, token=new_token(gateway, f"c-{time.monotonic_ns()}", "call"))[0] == 403
    gateway.order("DELETE", "/admin/tokens/boss", socket=True)
    status, said, head = from_elsewhere(gateway, "GET", "/admin/queue", token=admin)
    assert status == 401 and "www-authenticate" in head, said
    lines = security(gateway)
    assert any("admin_call" in line and 'who="token boss"' in line and "what=reload" in line for line in lines), lines
    assert any("admin_refused" in line and ELSEWHERE in line for line in lines), lines


def test_who_tries_one_token_after_the_other_is_kept_out_for_a_while(open_gateway):
    gateway = open_gateway
    good = new_token(gateway, "boss", "admin", "call")
    statuses = [from_elsewhere(gateway, "GET", "/admin/queue", token=f"mcpgw_{number:08x}_{'A' * 43}")[0] for number in range(12)]
    assert set(statuses[:10]) == {401}, statuses
    status, said, head = from_elsewhere(gateway, "POST", "/mcp", token=good)
    assert status == 429 and "retry-after" in head, (status, said)
    assert from_elsewhere(gateway, "GET", "/admin/queue", token=good)[0] in (401, 403, 429)
    # Who works on the machine is not locked out by that.
    assert echo(gateway.showing(good)).status == 200 and gateway.showing(good).order("GET", "/admin/queue")[0] == 200
    assert from_elsewhere(gateway, "GET", "/health/live")[0] == 200


# The local door.

def test_the_local_door_can_be_closed(make):
    gateway = make.gateway(sections={**TOKEN_MODE, "admin": {"require_token": True}})
    for path in ("/admin/queue", "/metrics"):
        assert gateway.get(path).status == 403, path
    assert set(gateway.health()) == {"status"}
    assert gateway.order("GET", "/admin/queue", socket=True)[0] == 200
    assert caller(gateway, "boss", "admin").order("GET", "/admin/queue")[0] == 200
    assert "components" in caller(gateway, "screen", "observe").health()
    # The verbs go through the socket.
    ran = subprocess.run([str(house.BINARY), "status", "--config", str(gateway.configuration)], capture_output=True, timeout=20)
    assert ran.returncode == 0, ran


def test_a_wrong_token_is_not_made_good_by_the_machine_it_comes_from(gateway):
    assert gateway.order("GET", "/admin/queue")[0] == 200
    wrong = gateway.showing("mcpgw_00000000_" + "A" * 43)
    for method, path in (("GET", "/admin/queue"), ("POST", "/admin/cache/clear"), ("GET", "/admin/nothing")):
        response = wrong.exchange(wire.request(method, path, wrong.credentials, host="localhost"), method)
        assert response.status == 401 and response.header("WWW-Authenticate"), (path, response)
        assert response.json["error"]["code"] == "token_refused"
    assert set(wrong.health()) == {"status"} and wrong.get("/metrics").status in (401, 403)
    assert wrong.order("GET", "/admin/queue", socket=True)[0] == 200, "the socket asks for none"


# The file of tokens.

def files_with(place, text):
    return [str(file) for file in place.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


def test_a_secret_is_in_its_answer_and_nowhere_else(gateway):
    erp = caller(gateway, "erp", "call", "observe", "admin")
    secret, tail = erp.token, erp.token.split("_", 2)[2]
    tokens = gateway.home / "lib/keys/tokens"
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    assert not [entry for entry in (gateway.home / "lib/keys").iterdir() if stat.S_IMODE(entry.stat().st_mode) & 0o077]
    digest = hashlib.sha256(secret.encode()).hexdigest()
    assert [line.split()[5] for line in tokens.read_text().splitlines() if " erp " in line] == [digest]
    echo(erp)
    erp.call("text__echo", {"text": "x" * 300_000})
    erp.legacy().call("text__echo", {"text": "x"})
    echo(gateway.showing(spoilt(secret)))
    for path in ("/health", "/metrics", "/admin/status", "/admin/tokens", "/admin/openapi.json", "/admin/nothing", "/nothing"):
        said = erp.get(path).body.decode()
        assert tail not in said and digest not in said, path
    gateway.order("POST", "/admin/backup", {}, socket=True)
    gateway.tables["log"]["level"] = "trace"
    gateway.reload(socket=True)
    echo(erp)
    house.eventually(lambda: gateway.sql("SELECT count(*) FROM request_log WHERE caller = 'erp'") >= "4", 10, "the rows")
    gateway.order("DELETE", "/admin/tokens/erp", socket=True)
    gateway.terminate()
    assert files_with(gateway.home, tail) == []
    assert files_with(gateway.home, digest) == []


def test_a_secret_in_a_place_where_nobody_expects_one_is_not_written_down(gateway):
    """Somebody who wants to be rid of a secret, and pastes it instead of its name."""
    secret = new_token(gateway, "erp")
    tail = secret.split("_", 2)[2]
    for through in (False, True):
        gateway.order("DELETE", f"/admin/tokens/{secret}", socket=through)
        gateway.order("GET", f"/admin/tokens/{secret}", socket=through)
        gateway.order("GET", f"/admin/nothing?token={secret}", socket=through)
        gateway.order("POST", "/admin/tokens", {"name": secret, "roles": ["call"]}, socket=through)
        gateway.order("POST", "/admin/tokens", {"name": "x", "roles": [secret]}, socket=through)
        gateway.order("POST", "/admin/cache/clear", {secret: 1}, socket=through)
    assert files_with(gateway.home, tail) == []


def test_tokens_outlive_restarts_and_kills(gateway):
    names = [f"caller-{number}" for number in range(16)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(lambda name: new_token(gateway, name), names))
    gateway.order("DELETE", "/admin/tokens/caller-3", socket=True)
    gateway.kill()
    gateway.start()
    statuses = [gateway.showing(secret).modern_response("tools/list").status for secret in secrets]
    assert statuses == [401 if number == 3 else 200 for number in range(16)]
    assert gateway.terminate() == 0
    gateway.start()
    assert gateway.showing(secrets[0]).modern_response("tools/list").status == 200
    assert gateway.showing(secrets[3]).modern_response("tools/list").status == 401


def test_a_kill_while_tokens_are_made_loses_none_that_was_shown(make):
    gateway = make.gateway(sections=TOKEN_MODE)
    for round in range(3):
        shown = []

        def make_tokens(worker):
            for number in range(1000):
                try:
                    shown.append(new_token(gateway, f"r{round}.w{worker}.n{number}"))
                except (OSError, ValueError, IndexError):
                    return

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            tasks = [pool.submit(make_tokens, worker) for worker in range(3)]
            house.eventually(lambda: len(shown) >= 20 * (round + 1), 20, "some tokens")
            gateway.kill()
            for task in tasks:
                task.result(30)
        gateway.start()
        assert {gateway.showing(secret).modern_response("tools/list").status for secret in shown[-30:]} == {200}


def test_two_of_one_name_are_never_made(gateway):
    ask = lambda _: gateway.order("POST", "/admin/tokens", {"name": "same", "roles": ["call"]}, socket=True)[0]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(8))) == [200] + [409] * 7


DAMAGE = {
    "rubbish": lambda line: "this is no token",
    "a field less": lambda line: " ".join(line.split()[:-1]),
    "a role that is none": lambda line: line.replace(" call ", " root "),
    "half a digest": lambda line: line[:-32],
    "a time that is none": lambda line: line.replace(" - ", " never "),
    "the same id twice": lambda line: line + "\n" + line,
    "binary": lambda line: "\0\1\2\3",
}


@pytest.mark.parametrize("case", DAMAGE)
def test_with_a_damaged_file_it_does_not_start(make, case):
    gateway = make.gateway(sections=TOKEN_MODE)
    secret = new_token(gateway, "erp")
    assert gateway.terminate() == 0
    tokens = gateway.home / "lib/keys/tokens"
    whole = tokens.read_text()
    lines = whole.splitlines()
    damaged = "\n".join([*lines[:-1], DAMAGE[case](lines[-1])]) + "\n"
    tokens.write_text(damaged)
    number = len(lines) + ("\n" in DAMAGE[case](lines[-1]))
    gateway.start(wait=False)
    assert gateway.process.wait(20) in (1, 78)
    words = gateway.stdout()
    assert str(tokens) in words and f"line {number}" in words, words
    assert tokens.read_text() == damaged, "nothing is mended behind anybody's back"
    assert hashlib.sha256(secret.encode()).hexdigest() not in words
    tokens.write_text(whole)
    gateway.start()
    assert gateway.showing(secret).modern_response("tools/list").status == 200


def test_a_file_that_others_may_write_or_that_is_elsewhere_is_not_taken(make):
    gateway = make.gateway(sections=TOKEN_MODE)
    new_token(gateway, "erp")
    assert gateway.terminate() == 0
    tokens = gateway.home / "lib/keys/tokens"
    tokens.chmod(0o666)
    gateway.start(wait=False)
    assert gateway.process.wait(20) in (1, 78) and "chmod 600" in gateway.stdout()
    tokens.chmod(0o600)
    tokens.rename(gateway.home / "tokens")
    tokens.symlink_to(gateway.home / "tokens")
    gateway.start(wait=False)
    assert gateway.process.wait(20) in (1, 78) and "symbolic link" in gateway.stdout()


def test_a_file_that_is_damaged_later_locks_nobody_out_and_lets_nobody_in(gateway):
    erp = caller(gateway, "erp")
    tokens = gateway.home / "lib/keys/tokens"
    whole = tokens.read_text()
    tokens.write_text(whole + "rubbish\n")
    log = gateway.home / "log/app.log"
    number = whole.count("\n") + 1
    house.eventually(lambda: f"line {number}" in log.read_text(), 10, "a word about it")
    assert echo(erp).status == 200 and echo(gateway).status == 401
    status, said = gateway.order("POST", "/admin/tokens", {"name": "more", "roles": ["call"]}, socket=True)
    assert status == 500 and f"line {number}" in said["error"]["message"], said
    tokens.write_text(whole)
    assert echo(caller(gateway, "more")).status == 200
    # By hand, too: without the line, without the access.
    tokens.write_text("".join(line + "\n" for line in tokens.read_text().splitlines() if " erp " not in line))
    house.eventually(lambda: echo(erp).status == 401, 10, "the end of a token that was taken out of the file")


# Who tries.

@pytest.mark.parametrize("path", ["/metrics", "/health", "/admin/queue"])
def test_a_wrong_token_of_an_operator_counts_as_one_of_a_caller(make, path):
    gateway = make.gateway(tools=["text"])
    gateway.get(path, {"Authorization": "Bearer mcpgw_00000000_wrong"})
    # A stranger without one has failed at nothing.
    gateway.get(path, {"Via": "1.1 proxy"})
    line = house.eventually(lambda: [one for one in security(gateway) if "auth_failure" in one], 5, "the line")[0]
    assert "path=/" + path.split("/")[1] in line and "a token that is not good" in line and "wrong" not in line, line
    samples, _ = exposition.parse(gateway.get("/metrics").body.decode())
    assert samples["mcp_auth_failures_total"] == [({}, 1.0)]


def test_a_flood_of_wrong_tokens_is_not_a_flood_of_lines(gateway):
    before, began = len(security(gateway)), time.monotonic()
    with wire.Connection(gateway.port) as connection:
        for number in range(500):
            headers = {**wire.modern_headers("tools/list"), "Authorization": f"Bearer mcpgw_{number:08x}_{'A' * 43}"}
            connection.send(wire.request("POST", "/mcp", headers, wire.modern_body("tools/list")))
            assert connection.response().status == 401
    with wire.Connection(gateway.port) as connection:
        for number in range(200):
            connection.send(wire.request("GET", "/admin/queue", {"Authorization": f"Bearer {number}"}))
            assert connection.response("GET").status == 401
    windows = 1 + (time.monotonic() - began) / 10
    lines = security(gateway)[before:]
    assert 2 <= len(lines) <= 2 * 10 * (windows + 1), len(lines)
    assert all(line.startswith(("security", "auth")) for line in lines), lines
    assert any("auth_failure" in line and "127.0.0.1" in line for line in lines)
    assert not any("AAAA" in line for line in lines), "what was shown is not written down"
    samples, _ = exposition.parse(gateway.get("/metrics").body.decode())
    assert sum(value for _, value in samples["mcp_auth_failures_total"]) >= 700, "of callers and of operators"
    assert echo(caller(gateway, "erp")).status == 200, "who works on the machine is not locked out"


# The routes and the verbs.

BAD_TOKENS = [
    {}, {"name": "x"}, {"roles": ["call"]}, {"name": "", "roles": ["call"]}, {"name": "x", "roles": []}, {"name": "x", "roles": "call"},
    {"name": "x", "roles": ["root"]}, {"name": "x", "roles": [1]}, {"name": 1, "roles": ["call"]}, {"name": None, "roles": ["call"]},
    {"name": "a b", "roles": ["call"]}, {"name": "a\nb", "roles": ["call"]}, {"name": "grüße", "roles": ["call"]},
    {"name": "x" * 65, "roles": ["call"]}, {"name": "0123abcd", "roles": ["call"]}, {"name": "mcpgw_x", "roles": ["call"]},
    {"name": "anonymous", "roles": ["call"]}, {"name": "a/b", "roles": ["call"]}, {"name": "x", "roles": ["call"], "for": "5"},
    {"name": "x", "roles": ["call"], "for": "0s"}, {"name": "x", "roles": ["call"], "for": 5}, {"name": "x", "roles": ["call"], "for": "-1d"},
    {"name": "x", "roles": ["call"], "for": "99999999d"}, {"name": "x", "roles": ["call"], "secret": "mine"}, [], "x", 5,
]


@pytest.mark.parametrize("body", BAD_TOKENS, ids=lambda body: json.dumps(body)[:40])
def test_bad_orders_for_tokens_are_refused_in_words(gateway, body):
    before = (gateway.home / "lib/keys/tokens").read_bytes()
    status, said = gateway.order("POST", "/admin/tokens", body, socket=True)
    assert status == 400 and said["error"]["message"] and said["error"]["code"] == "bad_request", said
    assert (gateway.home / "lib/keys/tokens").read_bytes() == before


def test_names_that_are_good(gateway):
    for name in ("a", "x" * 64, "anna.b@site-1.example", "A_b", "-", ".", "0123abcde", "ABCDEF01"):
        assert echo(caller(gateway, name)).status == 200, name
        assert gateway.order("DELETE", f"/admin/tokens/{name}", socket=True)[0] == 200, name
    for odd in ("nobody", "%20", "a%2Fb", "..", "%00", "x" * 300):
        assert gateway.order("DELETE", f"/admin/tokens/{odd}", socket=True)[0] == 404, odd


def verb(gateway, *words, code=0):
    ran = subprocess.run([str(house.BINARY), "token", *words, "--config", str(gateway.configuration)], capture_output=True, text=True,
                         timeout=30)
    assert ran.returncode == code, (ran.stdout, ran.stderr)
    return ran.stdout if code == 0 else ran.stdout + ran.stderr


def test_the_verbs_with_and_without_a_running_gateway(gateway):
    secret = verb(gateway, "new", "anna", "--role", "call", "--role", "observe", "--for", "30d").splitlines()[-1].strip()
    assert SECRET.fullmatch(secret) and echo(gateway.showing(secret)).status == 200
    listed = verb(gateway, "list")
    assert "anna" in listed and "observe" in listed and secret.split("_", 2)[2] not in listed
    verb(gateway, "new", "anna", "--role", "call", code=1)
    verb(gateway, "new", "bert", "--role", "root", code=64)
    verb(gateway, "new", "bert", code=64)
    verb(gateway, "revoke", "anna")
    assert echo(gateway.showing(secret)).status == 401
    assert verb(gateway, "revoke", "anna", code=1)
    gateway.terminate()
    secret = json.loads(verb(gateway, "new", "bert", "--role", "call", "--json"))["secret"]
    tokens = gateway.home / "lib/keys/tokens"
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600 and tokens.stat().st_uid == os.stat(gateway.home / "lib").st_uid
    assert {one["name"] for one in json.loads(verb(gateway, "list", "--json"))["tokens"]} == {"starter", "bert"}
    verb(gateway, "revoke", "starter")
    gateway.start()
    gateway.showing(secret).wait_for_tools("text__echo")
    assert secret.split("_", 2)[2] not in pathlib.Path(tokens).read_text()


def test_an_open_stream_of_a_revoked_token_tells_nothing_more(gateway):
    """Whoever may not call any more is not told any more what goes on, either."""
    erp = caller(gateway, "erp")
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


def test_a_gateway_that_asks_for_tokens_and_has_none_says_what_to_do(make):
    gateway = make.gateway(tools=["text"], sections=TOKEN_MODE)
    component = gateway.component("tokens")
    assert component["status"] == "degraded" and "mcp-gateway token new" in component["detail"]
    assert "mcp-gateway token new" in gateway.stdout()
    caller(gateway, "first").wait_for_tools("text__echo")
    names = [one["name"] for one in gateway.get("/health").json["components"]]
    assert "tokens" not in names, "all is well"
