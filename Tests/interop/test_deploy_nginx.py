# Licensed under the Apache License 2.0; see LICENSE.
"""deploy/nginx before real gateways: who is served by whom, what is never sent twice, and that nothing is lost when one
leaves."""

import os
import re
import shutil
import signal
import ssl
import subprocess
import threading

import pytest

import front
import gateway as house
import scripted
import wire

CLIENTS = [f"127.0.1.{number}" for number in range(1, 41)]


@pytest.fixture
def upstream(make):
    server = scripted.serve_in_thread()
    server.handle_error = lambda *_: None  # gateways are killed here, and its answers then reach nobody
    scripted.gate.clear()
    scripted.calls.clear()
    make.later(server.server_close)
    make.later(server.shutdown)
    make.later(scripted.gate.set)
    return {"up": {"url": f"http://127.0.0.1:{server.server_address[1]}/mcp"}}


@pytest.fixture
def fleet(make, upstream):
    """Gateways at 127.0.0.11 and so on, and nginx before them; all with one upstream."""
    def start(count=2, **sections):
        port = house.free_port()
        gateways = [front.Replica(f"127.0.0.{11 + number}", port, upstream, sections) for number in range(count)]
        nginx = front.Front([one.place for one in gateways])
        for one in [*gateways, nginx]:
            make.later(one.close)
            one.start()
        for one in gateways:
            one.knows("up")
        return nginx, gateways

    return start


def open_session(nginx, client):
    """A client of the legacy era from this address: what asks for it."""
    opened = nginx.exchange(wire.request("POST", "/mcp", wire.LEGACY_HEADERS, wire.initialize_body()), client)
    assert opened.status == 200, opened
    headers = {**wire.LEGACY_HEADERS, "Mcp-Session-Id": opened.header("Mcp-Session-Id"),
               "MCP-Protocol-Version": "2025-11-25"}

    def ask(method, params=None, id=1):
        return nginx.exchange(wire.request("POST", "/mcp", headers, wire.legacy_body(method, params, id)), client)

    return ask


def test_a_session_stays_with_its_gateway(fleet):
    nginx, gateways = fleet(3)
    for client in CLIENTS:
        ask = open_session(nginx, client)
        assert ask("notifications/initialized", id=None).status == 202
        answer = ask("tools/call", {"name": "up__echo", "arguments": {"text": client}}, id=2)
        assert answer.status == 200 and client in wire.text_of(answer.json)
        assert nginx.call("up__echo", {"text": "x"}, client).status == 200
    owners = nginx.owners()
    assert all(len(owners[client]) == 1 for client in CLIENTS), owners
    assert set.union(*owners.values()) >= {one.place for one in gateways}, "all of them have work"


def test_a_token_leads_to_the_same_gateway_from_everywhere(fleet):
    nginx, gateways = fleet(3)
    for token in range(12):
        before = len(nginx.served())
        for client in CLIENTS[:6]:
            nginx.call("up__echo", {}, client, {"Authorization": f"Bearer mcpgw_{token}"})
        assert len({upstream for _, upstream in nginx.served()[before:]}) == 1, nginx.served()[before:]
    assert {upstream for _, upstream in nginx.served()} == {one.place for one in gateways}


def test_streams_pass_as_they_come_and_posts_find_them(fleet):
    nginx, _ = fleet(3)
    for client in CLIENTS[:10]:
        with front.Connection(nginx.port, client) as connection:
            connection.send(wire.request("GET", "/sse", {"Accept": "text/event-stream"}))
            stream = wire.Stream(connection, "GET")
            assert stream.status == 200 and stream.is_event_stream
            # It comes although nothing follows, and the answer to what is posted comes on the same stream.
            address = stream.event(5).data
            for id in (1, 2):
                body = wire.initialize_body("2024-11-05", id) if id == 1 else wire.legacy_body("ping", id=id)
                post = wire.request("POST", address, {"Content-Type": "application/json"}, body)
                posted = nginx.exchange(post, client)
                assert posted.status == 202, posted
                assert stream.message(5)["id"] == id


def test_a_listening_client_hears_at_once(fleet):
    nginx, _ = fleet(2)
    with front.Connection(nginx.port, CLIENTS[0]) as connection:
        params = {"notifications": {"toolsListChanged": True}}
        connection.send(wire.modern_request("subscriptions/listen", params, id="l"))
        stream = wire.Stream(connection)
        assert stream.status == 200 and stream.is_event_stream, stream.response
        assert stream.message(5)["method"] == "notifications/subscriptions/acknowledged"
        assert not stream.ended


def test_clients_of_a_dead_gateway_are_served_by_another(fleet):
    nginx, gateways = fleet(3)
    assert [nginx.call("up__echo", {}, client).status for client in CLIENTS] == [200] * len(CLIENTS)
    before, seen = nginx.owners(), len(nginx.served())
    gateways[0].kill()
    assert [nginx.call("up__echo", {}, client).status for client in CLIENTS] == [200] * len(CLIENTS)
    for client, upstreams in nginx.owners(seen).items():
        last = {upstream.split(", ")[-1] for upstream in upstreams}
        assert gateways[0].place not in last
        assert before[client] == {gateways[0].place} or last == before[client], "the others stay where they were"
    # A session that was there is opened anew, as the protocol has it.
    assert open_session(nginx, CLIENTS[0])("ping").status == 200


def test_a_call_that_may_have_run_is_not_sent_twice(fleet):
    nginx, gateways = fleet(2)
    nginx.call("up__echo", {}, CLIENTS[0])
    owner = next(one for one in gateways if {one.place} == nginx.owners()[CLIENTS[0]])
    answers = []
    caller = threading.Thread(target=lambda: answers.append(nginx.call("up__gate", {}, CLIENTS[0], timeout=30)))
    caller.start()
    house.eventually(lambda: scripted.calls["gate"] == 1, 10, "the call at its server")
    owner.kill()
    caller.join(20)
    assert [answer.status for answer in answers] == [502], answers
    assert nginx.call("up__echo", {}, CLIENTS[0]).status == 200, "the next one is served elsewhere"
    scripted.gate.set()
    assert scripted.calls["gate"] == 1


def test_taking_one_out_loses_no_call(fleet):
    nginx, gateways = fleet(2)
    leaving, staying = gateways
    for client in CLIENTS:
        nginx.call("up__echo", {}, client)
    owners = nginx.owners()
    moving = [client for client in CLIENTS if owners[client] == {leaving.place}]
    assert 0 < len(moving) < len(CLIENTS), owners
    answers, slow, over = [], [], threading.Event()

    def work(number):
        while not over.is_set():
            client = CLIENTS[number % len(CLIENTS)]
            try:
                answers.append(nginx.call("up__echo", {"text": client}, client).status)
            except OSError as error:
                answers.append(repr(error))
            number += 7

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    threads.append(threading.Thread(target=lambda: slow.append(nginx.call("up__gate", {}, moving[0], timeout=30))))
    for thread in threads:
        thread.start()
    try:
        house.eventually(lambda: len(answers) > 50 and scripted.calls["gate"] == 1, 20, "traffic")
        nginx.list([one.place for one in gateways], out=[leaving.place])
        nginx.reload()
        before = len(nginx.served())
        assert [nginx.call("up__echo", {}, client).status for client in moving] == [200] * len(moving)
        house.eventually(lambda: (moving[0], staying.place) in nginx.served()[before:], 5, "service elsewhere")
        assert not slow, "what was begun goes on where it began"
        scripted.gate.set()
        in_flight = lambda: leaving.order("GET", "/admin/status", socket=True)[1]["in_flight"]
        house.eventually(lambda: in_flight() == 0, 10, "that nothing is in flight")
        assert leaving.terminate() == 0
        done = len(answers)
        house.eventually(lambda: len(answers) > done + 50, 20, "traffic afterwards")
    finally:
        over.set()
        scripted.gate.set()
        for thread in threads:
            thread.join(20)
    assert set(answers) == {200}, {status: answers.count(status) for status in answers}
    assert slow[0].status == 200 and not slow[0].json["result"].get("isError"), slow


def test_operators_routes_are_not_shown(fleet):
    nginx, _ = fleet(2)
    for path in ("/admin/status", "/admin/drain", "/metrics", "/", "/mcp/x"):
        answer = nginx.exchange(wire.request("GET", path, {}), method="GET")
        assert answer.status == 404 and answer.json["error"]["code"] == "not_found", (path, answer)
    for path in ("/health", "/health/ready"):
        answer = nginx.exchange(wire.request("GET", path, {}), method="GET")
        assert answer.status == 200 and answer.json.keys() == {"status"}, "strangers are told no more"


def test_health_is_that_of_whoever_takes_calls(fleet):
    nginx, gateways = fleet(2)
    ready = lambda client: nginx.exchange(wire.request("GET", "/health/ready", {}), client, "GET").status
    assert gateways[0].order("POST", "/admin/drain", socket=True)[0] == 200
    assert {ready(client) for client in CLIENTS} == {200}
    assert gateways[1].order("POST", "/admin/drain", socket=True)[0] == 200
    house.eventually(lambda: ready(CLIENTS[0]) in (502, 503), 10, "that nobody is ready")


def test_a_client_cannot_lend_itself_another_address(fleet):
    nginx, _ = fleet(
        2, server={"trusted_proxies": ["127.0.0.1"]}, limits={"per_caller": {"requests_per_second": 0.01, "burst": 2}})
    forged = lambda client, number: nginx.call(
        "up__echo", {}, client, {"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"}).status
    assert [forged(CLIENTS[0], number) for number in range(4)] == [200, 200, 429, 429]
    assert [forged(CLIENTS[1], number) for number in range(3)] == [200, 200, 429], "each client for itself"


def test_long_requests_pass_up_to_the_gateways_own_limit(fleet):
    nginx, _ = fleet(1)
    text = "x" * (3 << 20)
    answer = nginx.call("up__echo", {"text": text}, timeout=30)
    assert answer.status == 200 and text in wire.text_of(answer.json)
    assert nginx.call("up__echo", {"text": "x" * (4 << 20)}, timeout=30).status == 413


class Follower:
    """The shipped follow-replicas with nginx below it; which addresses the name has is written into a file."""

    def __init__(self, port):
        self.front = front.Front()
        self.addresses = self.front.home / "addresses"
        tools = self.front.home / "bin"
        tools.mkdir()
        (tools / "getent").write_text(
            f'#!/bin/sh\n[ "$1 $2" = "ahostsv4 mcp-gateway" ] || exit 2\n'
            f'for one in $(cat {self.addresses}); do echo "$one STREAM mcp-gateway"; echo "$one DGRAM"; done\n')
        (tools / "getent").chmod(0o755)
        self.environment = {
            **os.environ, "PATH": f"{tools}:{os.environ['PATH']}:/usr/sbin", "GATEWAY_PORT": str(port),
            "FOLLOW_SECONDS": "0.1", "UPSTREAM_FILE": str(self.front.upstream), "NGINX_CONF": str(self.front.conf)}

    def are(self, *addresses):
        self.addresses.write_text(" ".join(addresses))

    def start(self):
        self.front.said = open(self.front.home / "nginx.txt", "ab")
        self.front.process = subprocess.Popen(
            [str(front.DEPLOY / "nginx/container/follow-replicas")], stdin=subprocess.DEVNULL, stdout=self.front.said,
            stderr=self.front.said, env=self.environment)
        house.eventually(self.front.answers, 10, "nginx")
        return self.front

    def has_listed(self, *lines):
        wanted = [f"server {line};" for line in lines]
        kept = lambda: re.sub(r" max_fails=\d+ fail_timeout=\w+", "", self.front.upstream.read_text()).splitlines()
        house.eventually(lambda: kept() == wanted, 10, f"the list {wanted}")


def test_replicas_come_and_go(make, upstream):
    port = house.free_port()
    gateways = [front.Replica(f"127.0.0.{number}", port, upstream) for number in (11, 12, 13)]
    for one in gateways:
        make.later(one.close)
        one.start().knows("up")
    places = [one.place for one in gateways]
    follower = Follower(port)
    make.later(follower.front.close)
    follower.are("127.0.0.12", "127.0.0.11")
    nginx = follower.start()
    follower.has_listed(*places[:2])

    def all_served(*by, refusing=()):
        """Waits until just these serve; on the way nothing may come but answers, and 503 of one that drains."""
        def true():
            before = len(nginx.served())
            statuses = {nginx.call("up__echo", {}, client).status for client in CLIENTS}
            assert statuses <= {200, *refusing}, statuses
            owners = nginx.owners(before)
            return owners if statuses == {200} and set.union(*owners.values()) == set(by) else None

        return house.eventually(true, 15, f"service by {by}")

    before = all_served(*places[:2])
    follower.are("127.0.0.13", "127.0.0.12", "127.0.0.11")  # scaled up; a resolver has no order
    follower.has_listed(*places)
    after = all_served(*places)
    assert all(after[client] in (before[client], {places[2]}) for client in CLIENTS), "nobody else has moved"
    assert gateways[2].order("POST", "/admin/drain", socket=True)[0] == 200
    follower.has_listed(*places[:2], f"{places[2]} down")
    all_served(*places[:2], refusing=[503])
    assert gateways[2].terminate() == 0
    follower.are("127.0.0.11", "127.0.0.12")  # scaled down
    follower.has_listed(*places[:2])
    follower.are()  # a resolver that knows nobody for a moment changes nothing
    all_served(*places[:2])
    follower.has_listed(*places[:2])
    for one in gateways[:2]:
        assert one.order("POST", "/admin/drain", socket=True)[0] == 200
    # Nobody is left to send to; the gateways themselves say why.
    house.eventually(lambda: nginx.call("up__echo", {}).status == 503, 10, "their own words")
    nginx.process.send_signal(signal.SIGTERM)
    assert nginx.process.wait(10) == 0
    house.eventually(lambda: not house.answers_tcp(nginx.port), 10, "the end of nginx")


@pytest.mark.parametrize("site", ["plain", "tls"])
def test_the_sites_for_a_host(fleet, site, tmp_path):
    nginx, _ = fleet(2)
    text = (front.DEPLOY / f"nginx/{site}.conf").read_text()
    log = ("/var/log/nginx/mcp-gateway.log", nginx.home / "site.log")
    if site == "tls":
        assert shutil.which("openssl"), "this test makes a certificate with openssl: apt-get install openssl"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")], check=True, capture_output=True, timeout=30)
        port = house.free_port()
        text = front.replaced(text, ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
                              ("/etc/nginx/mcp-gateway/", f"{tmp_path}/"), log)
    else:
        port = house.free_port()
        text = front.replaced(text, ("listen 8080;", f"listen 127.0.0.1:{port};"), log)
    (nginx.home / "site.conf").write_text(text)
    # As on a host: the distribution's own file has `http`, and takes the site in.
    conf = nginx.conf.read_text()
    head, inside = conf[:conf.index("    include mcp-gateway/pool.conf;")], "    include site.conf;\n}\n"
    nginx.conf.write_text(head + inside)
    nginx.reload()
    house.eventually(lambda: house.answers_tcp(port), 10, "the site")
    connection = wire.Connection(port)
    if site == "tls":
        context = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        connection.socket = context.wrap_socket(connection.socket, server_hostname="localhost")
    with connection:
        connection.send(wire.modern_request("tools/call", {"name": "up__echo", "arguments": {"text": "by the site"}}))
        answer = connection.response()
    assert answer.status == 200 and "by the site" in wire.text_of(answer.json)
    lines = lambda: (nginx.home / "site.log").read_text()
    house.eventually(lambda: "upstream=127.0.0." in lines(), 5, "a line in the log of the site")
