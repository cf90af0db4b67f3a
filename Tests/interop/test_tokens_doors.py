# Licensed under the Apache License 2.0; see LICENSE.
"""Where a gateway asks for tokens: addresses, the operators' doors, this machine and others; and who tries one after the other."""

import json
import subprocess
import time

import pytest

import gateway as house
import wire
from tokens import TOKEN_MODE, echo

@pytest.fixture
def gateway(make):
    return make.guarded()


# Where it listens, and who is elsewhere.

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
    assert gateway.caller("erp").modern("tools/list")[0] == 200


# Of nobody; it is only ever said by a proxy on this machine, so that no test leaves loopback.
ELSEWHERE = "192.0.2.7"


@pytest.fixture
def open_gateway(make):
    return make.guarded(trusted_proxies=["127.0.0.1"])


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
    admin, observer = gateway.new_token("boss", "admin"), gateway.new_token("screen", "observe")
    for path in ("/admin/queue", "/admin/status", "/admin/tokens", "/metrics"):
        assert from_elsewhere(gateway, "GET", path)[0] == 403, path
        assert from_elsewhere(gateway, "GET", path, token=admin)[0] == 200, path
    assert set(from_elsewhere(gateway, "GET", "/health")[1]) == {"status"}
    status, said, _ = from_elsewhere(gateway, "POST", "/admin/tokens", {"name": "new", "roles": ["call"]}, admin)
    assert status == 200 and house.SECRET.fullmatch(said["secret"])
    assert from_elsewhere(gateway, "POST", "/admin/reload", token=admin)[0] == 200
    assert "components" in from_elsewhere(gateway, "GET", "/health", token=observer)[1]
    assert from_elsewhere(gateway, "GET", "/metrics", token=observer)[0] == 200
    for method, path in (("GET", "/admin/queue"), ("GET", "/admin/tokens"), ("POST", "/admin/reload"), ("GET", "/admin/nothing")):
        assert from_elsewhere(gateway, method, path, token=observer)[0] == 403, path
        assert from_elsewhere(gateway, method, path, token=gateway.new_token(f"c-{time.monotonic_ns()}", "call"))[0] == 403
    gateway.order("DELETE", "/admin/tokens/boss", socket=True)
    status, said, head = from_elsewhere(gateway, "GET", "/admin/queue", token=admin)
    assert status == 401 and "www-authenticate" in head, said
    lines = gateway.security_lines()
    assert any("admin_call" in line and 'who="token boss"' in line and "what=reload" in line for line in lines), lines
    assert any("admin_refused" in line and ELSEWHERE in line for line in lines), lines


def test_who_tries_one_token_after_the_other_is_kept_out_for_a_while(open_gateway):
    gateway = open_gateway
    good = gateway.new_token("boss", "admin", "call")
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
    assert gateway.caller("boss", "admin").order("GET", "/admin/queue")[0] == 200
    assert "components" in gateway.caller("screen", "observe").health()
    # The verbs go through the socket.
    gateway.verb("status")


def test_a_wrong_token_is_not_made_good_by_the_machine_it_comes_from(gateway):
    assert gateway.order("GET", "/admin/queue")[0] == 200
    wrong = gateway.showing("mcpgw_00000000_" + "A" * 43)
    for method, path in (("GET", "/admin/queue"), ("POST", "/admin/cache/clear"), ("GET", "/admin/nothing")):
        response = wrong.exchange(wire.request(method, path, wrong.credentials, host="localhost"), method)
        assert response.status == 401 and response.header("WWW-Authenticate"), (path, response)
        assert response.json["error"]["code"] == "token_refused"
    assert set(wrong.health()) == {"status"} and wrong.get("/metrics").status in (401, 403)
    assert wrong.order("GET", "/admin/queue", socket=True)[0] == 200, "the socket asks for none"


# Who tries.

@pytest.mark.parametrize("path", ["/metrics", "/health", "/admin/queue"])
def test_a_wrong_token_of_an_operator_counts_as_one_of_a_caller(make, path):
    gateway = make.gateway(tools=["text"])
    gateway.get(path, {"Authorization": "Bearer mcpgw_00000000_wrong"})
    # A stranger without one has failed at nothing.
    gateway.get(path, {"Via": "1.1 proxy"})
    line = house.eventually(lambda: [one for one in gateway.security_lines() if "auth_failure" in one], 5, "the line")[0]
    assert "path=/" + path.split("/")[1] in line and "a token that is not good" in line and "wrong" not in line, line
    assert gateway.metrics()["mcp_auth_failures_total"] == [({}, 1.0)]


def test_a_flood_of_wrong_tokens_is_not_a_flood_of_lines(gateway):
    before, began = len(gateway.security_lines()), time.monotonic()
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
    lines = gateway.security_lines()[before:]
    assert 2 <= len(lines) <= 2 * 10 * (windows + 1), len(lines)
    assert all(line.startswith(("security", "auth")) for line in lines), lines
    assert any("auth_failure" in line and "127.0.0.1" in line for line in lines)
    assert not any("AAAA" in line for line in lines), "what was shown is not written down"
    assert gateway.metric("mcp_auth_failures_total") >= 700, "of callers and of operators"
    assert echo(gateway.caller("erp")).status == 200, "who works on the machine is not locked out"
