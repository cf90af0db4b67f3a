# Licensed under the Apache License 2.0; see LICENSE.
"""Who is at the other end: clients behind proxies that are trusted, and the address that is for operators only."""

import os
import pwd
import re
import socket

import pytest

import gateway as house
import scripted
import wire
from operators import NOBODY, curl

ONE, TWO, OURS = "192.0.2.1", "192.0.2.2", "10.0.0.7"


@pytest.fixture
def serve(make):
    """Starts a gateway with an upstream `up` in this process."""
    def start(**sections):
        gateway = make.gateway({"up": {"url": make.scripted()}}, sections=sections)
        house.eventually(lambda: gateway.component("upstream:up")["status"] == "healthy", 20, "the upstream")
        return gateway

    return start


def call(gateway, *lines, port=None):
    """A call with these headers besides: its answer."""
    headers = {**wire.modern_headers("tools/call", "up__echo"), **gateway.credentials}
    body = wire.modern_body("tools/call", {"name": "up__echo", "arguments": {"text": "x"}})
    request = wire.request("POST", "/mcp", headers, body)
    added = "".join(f"{line}\r\n" for line in lines).encode()
    with wire.Connection(port or gateway.port) as connection:
        connection.send(request.replace(b"\r\n\r\n", b"\r\n" + added + b"\r\n", 1))
        return connection.response()


def statuses(gateway, *lines, times):
    return [call(gateway, *lines).status for _ in range(times)]


# Proxies

LIMITED = {"per_caller": {"requests_per_second": 0.01, "burst": 2}}


def test_each_client_behind_a_trusted_proxy_has_limits_of_its_own(serve):
    gateway = serve(server={"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}, limits=LIMITED)
    assert statuses(gateway, f"X-Forwarded-For: {ONE}", times=3) == [200, 200, 429]
    assert statuses(gateway, f"X-Forwarded-For: {TWO}", times=3) == [200, 200, 429]
    # What a client claims of itself stands farther away than what the proxy has added.
    assert call(gateway, f"X-Forwarded-For: 198.51.100.1, {ONE}").status == 429
    assert call(gateway, "X-Forwarded-For: 198.51.100.2", f"X-Forwarded-For: {ONE}").status == 429
    assert call(gateway, f"X-Forwarded-For: 198.51.100.3, {ONE}, {OURS}").status == 429, "two proxies of ours"
    assert call(gateway, f"X-Forwarded-For: ::ffff:{ONE}").status == 429, "another spelling"
    assert call(gateway, f"X-Forwarded-For: {ONE}:4711").status == 429
    assert call(gateway, f"Forwarded: for={ONE};proto=https").status == 429, "the other header"
    assert call(gateway, "Forwarded: for=198.51.100.4", f"X-Forwarded-For: {ONE}").status == 429, "both"
    assert call(gateway, 'Forwarded: for="[2001:db8::1]:80"').status == 200


def test_nonsense_counts_against_the_proxy(serve):
    gateway = serve(server={"trusted_proxies": ["127.0.0.1"]}, limits=LIMITED)
    nonsense = ["nonsense", "unknown", "", "999.1.1.1", "_hidden"]
    assert [call(gateway, f"X-Forwarded-For: {words}").status for words in nonsense] == [200, 200, 429, 429, 429]
    assert call(gateway, 'Forwarded: for="192.0.2.9, for=192.0.2.8').status == 429
    assert call(gateway, f"X-Forwarded-For: {ONE}").status == 200


@pytest.mark.parametrize("proxies", [[], ["10.0.0.0/8"]], ids=["none", "another"])
def test_who_is_no_trusted_proxy_is_not_believed(serve, proxies):
    gateway = serve(server={"trusted_proxies": proxies}, limits=LIMITED)
    answers = [call(gateway, f"X-Forwarded-For: 192.0.2.{number}").status for number in range(5)]
    assert answers == [200, 200, 429, 429, 429]


def test_a_reload_brings_proxies_for_connections_that_are_open(serve):
    gateway = serve(limits=LIMITED)
    with wire.Connection(gateway.port) as connection:
        def ask(address):
            headers = {**wire.modern_headers("tools/call", "up__echo"), "X-Forwarded-For": address}
            body = wire.modern_body("tools/call", {"name": "up__echo", "arguments": {"text": "x"}})
            connection.send(wire.request("POST", "/mcp", headers, body))
            return connection.response().status

        assert [ask(ONE), ask(TWO), ask(ONE)] == [200, 200, 429]
        gateway.tables["server"]["trusted_proxies"] = ["127.0.0.0/8"]
        said = gateway.reload()
        assert said["changed"] == ["server.trusted_proxies"], said
        assert [ask(ONE), ask(ONE), ask(ONE), ask(TWO)] == [200, 200, 429, 200]


def test_wrong_tokens_keep_their_own_sender_away_and_no_other(serve):
    gateway = serve(server={"trusted_proxies": ["127.0.0.1"]})
    ann, wrong = gateway.caller("ann"), gateway.showing("mgw_" + "x" * 43)
    gateway.tables["auth"] = {"mode": "token"}
    gateway.reload()
    assert statuses(wrong, f"X-Forwarded-For: {ONE}", times=10) == [401] * 10
    refused = call(ann, f"X-Forwarded-For: {ONE}")
    assert refused.status == 429 and 1 <= int(refused.header("Retry-After")) <= 60
    assert call(ann, f"X-Forwarded-For: {TWO}").status == 200
    assert statuses(wrong, times=20) == [401] * 20 and call(ann).status == 200, "this machine itself is never kept away"
    lines = [line for line in gateway.security_lines() if "auth_failure" in line]
    assert any(f"peer={ONE}" in line and "proxy=127.0.0.1" in line for line in lines), lines


def test_wrong_tokens_at_the_operators_door_keep_their_own_sender_away(serve):
    gateway = serve(server={"trusted_proxies": ["127.0.0.1"]})
    boss = gateway.new_token("boss", "admin")
    url, right = f"http://localhost:{gateway.port}/admin/overrides", ["-H", f"Authorization: Bearer {boss}"]
    wrong = ["-H", "Authorization: Bearer wrong"]
    assert [curl(url, "-H", f"X-Forwarded-For: {ONE}", *wrong)[0] for _ in range(10)] == [401] * 10
    assert curl(url, "-H", f"X-Forwarded-For: {ONE}", *right)[0] == 401, "what it shows now is not looked at"
    assert curl(url, "-H", f"X-Forwarded-For: {TWO}", *right)[0] == 200
    assert [curl(url, *wrong)[0] for _ in range(12)] == [401] * 12
    assert curl(url, *right)[0] == 200, "this machine itself is never kept away"


@pytest.mark.parametrize("header", [
    "X-Forwarded-For: 127.0.0.1", f"X-Forwarded-For: {ONE}", "Forwarded: for=127.0.0.1", "X-Forwarded-For: nonsense",
    "X-Forwarded-Proto: https", "Via: 1.1 proxy"])
def test_a_trusted_proxy_opens_no_local_door(serve, header):
    gateway = serve(server={"trusted_proxies": ["127.0.0.1"]})
    url = f"http://localhost:{gateway.port}"
    assert curl(f"{url}/admin/overrides")[0] == 200
    status, said = curl(f"{url}/admin/overrides", "-H", header)
    assert status == 403 and said["error"]["code"] == "operators_only"
    assert curl(f"{url}/health", "-H", header)[1].keys() == {"status"}


# The operators' address

class Admin:
    """A gateway with a second address."""

    def __init__(self, serve, **sections):
        self.port = house.free_port()
        sections.setdefault("admin", {})["listen"] = f"127.0.0.1:{self.port}"
        self.gateway = serve(**sections)
        self.url = f"http://localhost:{self.port}"
        house.eventually(lambda: house.answers_tcp(self.port), 10, "the second address")


def test_the_second_address_serves_operators_and_nobody_else(serve):
    admin = Admin(serve)
    assert curl(f"{admin.url}/health")[1]["components"]
    assert curl(f"{admin.url}/health/live")[0] == 200 and curl(f"{admin.url}/health/ready")[0] == 200
    assert curl(f"{admin.url}/admin/overrides")[0] == 200
    assert curl("-X", "POST", f"{admin.url}/admin/cache/clear")[0] == 200
    for path in ("/mcp", "/sse", "/messages", "/", "/nosuch"):
        status, said = curl("-X", "POST", f"{admin.url}{path}", "-d", "{}")
        assert status == 404 and "for operators" in said["error"]["message"], (path, said)
    assert call(admin.gateway, port=admin.port).status == 404
    assert call(admin.gateway).status == 200
    assert curl(f"http://localhost:{admin.gateway.port}/admin/overrides")[0] == 200, "the first one has them as well"
    with wire.Connection(admin.port) as connection:
        connection.send(wire.request("GET", "/metrics", {}, host="localhost"))
        text = connection.response("GET").body.decode()
    assert re.search(r'^mcp_connections\{listener="admin"\} [1-9]', text, re.MULTILINE)
    assert re.search(r'^mcp_connections\{listener="public"\} \d+$', text, re.MULTILINE)


def test_the_second_address_has_the_same_door(serve):
    admin = Admin(serve)
    observer, boss = admin.gateway.new_token("prometheus", "observe"), admin.gateway.new_token("boss", "admin")
    elsewhere = ["-H", "X-Forwarded-For: 192.0.2.1"]
    assert curl(f"{admin.url}/admin/overrides", *elsewhere)[0] == 403
    assert curl(f"{admin.url}/health", *elsewhere)[1].keys() == {"status"}
    shown = ["-H", f"Authorization: Bearer {observer}"]
    assert curl(f"{admin.url}/health", *elsewhere, *shown)[1]["components"]
    assert curl(f"{admin.url}/admin/overrides", *elsewhere, *shown)[0] == 403
    assert curl(f"{admin.url}/admin/overrides", *elsewhere, "-H", f"Authorization: Bearer {boss}")[0] == 200
    assert curl(f"{admin.url}/health", "-H", "Host: evil.example")[0] == 421
    assert curl(f"{admin.url}/health", "-H", "Origin: https://evil.example")[0] == 403
    if os.geteuid() == 0:
        assert curl(f"{admin.url}/admin/overrides", user=pwd.getpwuid(NOBODY).pw_name)[0] == 403
    admin.gateway.tables["admin"]["require_token"] = True
    admin.gateway.reload()
    assert curl(f"{admin.url}/admin/overrides")[0] == 403, "the reload is in force there, too"


def test_when_the_first_address_is_full_the_second_one_answers(serve):
    admin = Admin(serve, server={"max_connections": 1})
    held = [socket.create_connection(("127.0.0.1", admin.gateway.port), 5) for _ in range(40)]
    try:
        for _ in range(5):
            assert curl(f"{admin.url}/health")[0] == 200
    finally:
        for one in held:
            one.close()


def test_the_second_address_tells_how_a_stop_goes_on(serve):
    scripted.gate.clear()
    admin = Admin(serve, server={"shutdown_grace": "20s"})
    with wire.Connection(admin.gateway.port, 30) as connection:
        connection.send(wire.modern_request("tools/call", {"name": "up__gate", "arguments": {"text": "x"}}))
        house.eventually(lambda: scripted.calls["gate"] > 0, 10, "the call")
        admin.gateway.signal(house.signal.SIGTERM)
        house.eventually(lambda: curl(f"{admin.url}/health")[0] == 503, 10, "the word of it")
        assert curl(f"{admin.url}/admin/overrides")[0] == 200
        scripted.gate.set()
        assert connection.response().status == 200
    assert admin.gateway.process.wait(20) == 0


def test_another_address_waits_for_a_restart(serve):
    admin = Admin(serve)
    other = house.free_port()
    admin.gateway.tables["admin"]["listen"] = f"127.0.0.1:{other}"
    said = admin.gateway.reload()
    assert said["waits_for_restart"] == ["admin.listen"], said
    assert curl(f"{admin.url}/health")[0] == 200 and not house.answers_tcp(other)
    admin.gateway.restart()
    house.eventually(lambda: house.answers_tcp(other), 10, "the other address")
    assert curl(f"http://localhost:{other}/health")[0] == 200 and not house.answers_tcp(admin.port)


def test_an_address_that_is_taken_stops_the_start(make):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        gateway = make.gateway(sections={"admin": {"listen": f"127.0.0.1:{port}"}}, start=False)
        gateway.start(wait=False)
        assert gateway.process.wait(30) == 1
        assert "admin.listen" in gateway.stdout() and f"127.0.0.1:{port}" in gateway.stdout()
    same = make.gateway(start=False)
    same.tables["admin"]["listen"] = same.tables["server"]["listen"]
    same.write_configuration()
    ran = house.run("validate-config", same.configuration, code=78)
    assert "admin.listen: server.listen takes port" in ran.stdout + ran.stderr
