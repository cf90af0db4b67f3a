# Licensed under the Apache License 2.0; see LICENSE.
"""TLS on the listener: what strangers' programs say to it, who is turned away, and new certificates while everybody calls."""

import contextlib
import pathlib
import re
import shutil
import socket
import ssl
import subprocess

import pytest

import gateway as house
import sdk
import wire
from background import Crowd
from secure import Gateway, Shop, openssl


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    assert shutil.which("openssl"), "these tests make certificates with openssl: apt-get install openssl"
    return Shop(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def serve(make, shop, wasm_cache):
    """Starts a gateway behind TLS with an upstream `up` in this process."""
    def start(prepare=lambda gateway: gateway, **more):
        gateway = prepare(Gateway(shop, wasm_cache, upstreams={"up": {"url": make.scripted()}}, **more))
        make.later(gateway.close)
        return gateway.start()

    return start


def curl(gateway, path, *words):
    """curl's exit code, and what it printed."""
    ran = subprocess.run(
        ["curl", "-sS", "--max-time", "20", "--cacert", str(gateway.shop.authority.certificate),
         f"https://localhost:{gateway.port}{path}", *map(str, words)], capture_output=True, text=True, timeout=30)
    return ran.returncode, ran.stdout, ran.stderr


# What is spoken

def test_curl_gets_its_answer_by_the_versions_of_today_and_of_yesterday(serve):
    gateway = serve()
    for words, version in [([], "TLSv1.3"), (["--tls-max", "1.2"], "TLSv1.2")]:
        code, body, said = curl(gateway, "/health", "-v", "-w", "%{http_code} %{http_version} %{ssl_verify_result}", *words)
        assert code == 0 and body.endswith("200 1.1 0"), (body, said)
        assert f"SSL connection using {version}" in said and "ALPN: server accepted http/1.1" in said, said
    assert gateway.failures == 0
    code, _, said = curl(gateway, "/health", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0")
    assert code == 35, said
    house.eventually(lambda: gateway.failures == 1, 5, "the count")
    code, _, said = curl(gateway, "/health", "--tls-max", "1.2", "--ciphers", "AES128-SHA")
    assert code == 35, "a key exchange without forward secrecy"


@pytest.mark.parametrize("kind, mode", [("mcp1", "auto"), ("mcp2", "auto"), ("mcp2", "legacy"), ("fastmcp", "auto")])
def test_clients_that_we_did_not_write_call_over_https(serve, shop, kind, mode, monkeypatch):
    gateway = serve()
    gateway.wait_for_tools("up__echo")
    monkeypatch.setenv("SSL_CERT_FILE", str(shop.authority.certificate))
    with sdk.Client(kind, f"https://localhost:{gateway.port}/mcp", mode) as client:
        assert "up__echo" in client.list()
        for number in range(10):
            assert client.call("up__echo", {"text": str(number)}) == (f'{{"text": "{number}"}}', False)
    assert gateway.failures == 0


def test_sessions_streams_and_large_answers_are_as_without_tls(serve):
    gateway = serve()
    gateway.wait_for_tools("up__big")
    session = gateway.legacy()
    assert session.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False)
    assert gateway.call("up__big", {"size": 3_000_000}) == ("x" * 3_000_000, False)
    with gateway.connect() as connection:
        for id in range(50):
            connection.send(wire.modern_request("tools/call", {"name": "up__echo", "arguments": {"text": str(id)}}, id))
        for id in range(50):
            assert connection.response().json["id"] == id
    with gateway.connect() as connection:
        connection.send(wire.request("GET", "/sse", {"Accept": "text/event-stream"}))
        status, headers = connection.head()
        assert status == 200 and ("content-type", "text/event-stream") in [(name.lower(), value) for name, value in headers]
    assert session.delete().status in (200, 204)


# Who is turned away

def test_plain_http_on_the_port_is_closed_and_disturbs_nobody(serve):
    gateway = serve()
    with gateway.connect() as other:
        for number in range(3):
            with wire.Connection(gateway.port) as connection:
                connection.send(wire.request("GET", "/health", {}))
                assert connection.is_closed_within(5)
                assert b"HTTP" not in connection.pending
        house.eventually(lambda: gateway.failures == 3, 5, "the count")
        other.send(wire.request("GET", "/health", {}))
        assert other.response("GET").status == 200
    assert all("http request" in line and "127.0.0.1" in line for line in gateway.refusals()), gateway.refusals()


def test_one_who_only_looks_whether_somebody_is_there_is_not_counted(serve):
    gateway = serve()
    for _ in range(5):
        socket.create_connection(("127.0.0.1", gateway.port), 5).close()
    assert curl(gateway, "/health")[0] == 0
    assert gateway.failures == 0 and gateway.refusals() == []


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"\x16"], ids=["nothing", "a part", "a byte"])
def test_a_slow_handshake_costs_its_connection_only(serve, said):
    gateway = serve(header_timeout="1s")
    with wire.Connection(gateway.port) as slow:
        slow.send(said)
        assert gateway.get("/health").status == 200, "others do not wait for it"
        assert slow.is_closed_within(6) and slow.pending == b""
    house.eventually(lambda: gateway.failures == 1, 5, "the count")
    assert "not done in time" in gateway.refusals()[0]
    assert gateway.get("/health").status == 200


def test_drips_of_a_handshake_do_not_prolong_it(serve):
    gateway = serve(header_timeout="1s")
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(400)
    with wire.Connection(gateway.port) as slow:
        closed = False
        for byte in hello:
            if slow.is_closed_within(0.1):
                closed = True
                break
            slow.send(bytes([byte]))
        assert closed, "it went on for forty seconds"


def test_garbage_of_every_kind_is_survived(serve):
    gateway = serve()
    for garbage in (b"\x00" * 100, b"\xff" * 5000, b"\x16\x03\x01\xff\xff" + b"x" * 20_000, b"\x15\x03\x03\x00\x02\x02\x28", b"\n"):
        with wire.Connection(gateway.port) as connection:
            connection.send(garbage)
            with contextlib.suppress(OSError):  # closed already
                connection.socket.shutdown(socket.SHUT_WR)
            assert connection.is_closed_within(5), garbage[:10]
    assert gateway.get("/health").status == 200


# Client certificates

def test_a_client_certificate_that_is_required_has_to_be_shown(serve, shop):
    gateway = serve(Gateway.ask_clients)
    with pytest.raises((ssl.SSLError, OSError, ConnectionError)):
        gateway.get("/health")
    code, _, said = curl(gateway, "/health")
    assert code in (35, 55, 56), said
    shown = ["--cert", shop.client.certificate, "--key", shop.client.key]
    code, body, said = curl(gateway, "/health", *shown)
    assert code == 0 and '"status"' in body, said
    code, _, said = curl(gateway, "/health", "--cert", shop.stranger.certificate, "--key", shop.stranger.key)
    assert code in (35, 55, 56), said
    code, _, said = curl(gateway, "/health", "--cert", shop.expired.certificate, "--key", shop.expired.key)
    assert code in (35, 55, 56), "of the right authority, and out of date"
    house.eventually(lambda: gateway.failures == 4, 5, "the count")
    said = " ".join(gateway.refusals())
    assert "peer did not return a certificate" in said and "certificate verify failed" in said
    gateway.client = shop.client
    assert gateway.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False)
    # The control socket asks for none.
    assert gateway.order("GET", "/admin/overrides", socket=True)[0] == 200


def test_one_that_is_only_asked_for_may_be_left_out_but_not_be_wrong(serve, shop):
    gateway = serve(lambda gateway: gateway.ask_clients(required=False))
    assert curl(gateway, "/health")[0] == 0
    assert curl(gateway, "/health", "--cert", shop.client.certificate, "--key", shop.client.key)[0] == 0
    assert curl(gateway, "/health", "--cert", shop.stranger.certificate, "--key", shop.stranger.key)[0] in (35, 55, 56)


# Certificates that cannot be used

def refused(gateway):
    """What a start with this configuration prints before it ends."""
    gateway.write_configuration()
    for name in ("lib", "log"):
        (gateway.home / name).mkdir(exist_ok=True)
    ran = gateway.verb("serve", code=78)
    return ran.stdout + ran.stderr


def wrong_key(gateway):
    shutil.copy(gateway.shop.renewed.key, gateway.key)


def cut_short(gateway):
    gateway.certificate.write_text(gateway.certificate.read_text()[:200])


def locked(gateway):
    openssl("pkey", "-in", gateway.shop.server.key, "-aes256", "-passout", "pass:secret", "-out", gateway.key)


WRONG = {
    "key of another": (wrong_key, ["server.tls.key", "key.pem", "does not belong to the certificate"]),
    "expired": (lambda gateway: gateway.put(gateway.shop.expired), ["server.tls.certificate", "was valid until", "put a new one"]),
    "cut short": (cut_short, ["server.tls.certificate", "certificate.pem", "no certificate that can be read"]),
    "absent": (lambda gateway: gateway.key.unlink(), ["server.tls.key", "there is no file", "key.pem"]),
    "locked": (locked, ["server.tls.key", "needs a passphrase", "openssl pkey"]),
    "a directory": (lambda gateway: (gateway.key.unlink(), gateway.key.mkdir()), ["server.tls.key", "not a regular file"]),
    "no key named": (lambda gateway: gateway.tables["server.tls"].pop("key"), ["server.tls", "no key is given"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_served_stops_the_start_with_words(make, shop, wasm_cache, case):
    spoil, words = WRONG[case]
    gateway = Gateway(shop, wasm_cache)
    make.later(gateway.close)
    spoil(gateway)
    said = refused(gateway)
    assert all(word in said for word in words), said
    assert "BEGIN" not in said.replace("-----BEGIN CERTIFICATE-----", "").replace("-----BEGIN PRIVATE KEY-----", "")


def test_an_early_end_and_a_key_for_everybody_are_warnings(make, shop, wasm_cache):
    gateway = Gateway(shop, wasm_cache, shop.soon)
    make.later(gateway.close)
    gateway.key.chmod(0o644)
    gateway.start()
    ran = house.run("validate-config", gateway.configuration)
    said = ran.stdout + ran.stderr
    assert "warning: the certificate in" in said and "2 days" in said, said
    assert "every user of this machine can read" in said, said
    assert gateway.get("/health").status == 200


# Other certificates while it serves

class Callers(Crowd):
    """One that stays connected, and two that come anew for each call."""

    def __init__(self, gateway):
        super().__init__(self.stay, self.come, self.come)
        self.gateway, self.serials = gateway, set()

    def call(self, connection):
        connection.send(wire.modern_request("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}))
        answer = connection.response()
        return (answer.status, wire.text_of(answer.json)), (200, '{"text": "x"}')

    def stay(self):
        with self.gateway.connect() as connection:
            while True:
                yield self.call(connection)

    def come(self):
        while True:
            with self.gateway.connect() as connection:
                self.serials.add(connection.serial)
                outcome = self.call(connection)
            yield outcome


def test_new_certificates_at_the_same_places_are_taken_and_no_call_is_lost(serve, shop):
    gateway = serve()
    gateway.wait_for_tools("up__echo")
    with Callers(gateway) as crowd:
        for pair in [shop.renewed, shop.server] * 3:
            crowd.goes_on()
            gateway.put(pair)
            assert gateway.hang_up()
            with gateway.connect() as connection:
                assert connection.serial == pair.serial
        crowd.goes_on()
    assert crowd.wrong == []
    assert crowd.serials == {shop.server.serial, shop.renewed.serial}
    assert gateway.failures == 0
    assert gateway.reload(socket=True)["changed"] == [], "the same files are no change"


@pytest.mark.parametrize("case", ["key of another", "expired", "cut short", "absent"])
def test_files_that_cannot_be_used_change_nothing(serve, shop, case):
    gateway = serve()
    spoil, words = WRONG[case]
    with gateway.connect() as connection:
        spoil(gateway)
        assert not gateway.hang_up()
        assert all(word in gateway.stdout() for word in words), gateway.stdout()
        connection.send(wire.request("GET", "/health", {}))
        assert connection.response("GET").status == 200
    with gateway.connect() as connection:
        assert connection.serial == shop.server.serial
    assert gateway.order("GET", "/health", socket=True)[1]["status"] == "degraded"
    for path in (gateway.certificate, gateway.key):
        path.unlink(missing_ok=True)
    gateway.put(shop.renewed)
    assert gateway.hang_up()
    with gateway.connect() as connection:
        assert connection.serial == shop.renewed.serial


def test_asking_clients_for_certificates_begins_with_the_next_connection(serve, shop):
    gateway = serve()
    with gateway.connect() as old:
        gateway.ask_clients()
        assert gateway.hang_up()
        with pytest.raises((ssl.SSLError, OSError, ConnectionError)):
            gateway.get("/health")
        old.send(wire.request("GET", "/health", {}))
        assert old.response("GET").status == 200
    gateway.client = shop.client
    assert gateway.get("/health").status == 200


def test_a_stop_ends_connections_in_order(serve):
    gateway = serve()
    with gateway.connect() as idle, wire.Connection(gateway.port) as mute:
        idle.send(wire.request("GET", "/health", {}))
        assert idle.response("GET").status == 200
        assert gateway.terminate() == 0
        assert idle.is_closed_within(5) and mute.is_closed_within(5)


def test_a_healthy_day_leaves_no_word_that_a_grep_would_find(serve):
    gateway = serve()
    gateway.wait_for_tools("up__echo")
    gateway.put(gateway.shop.renewed)
    assert gateway.hang_up()
    assert gateway.call("up__echo", {"text": "x"})[1] is False
    assert gateway.terminate() == 0
    log = (gateway.home / "log/app.log").read_text()
    assert not re.search("error|fail|panic|slow|timeout|deadline|oom|memory|resource", log, re.IGNORECASE), log
    secret = pathlib.Path(gateway.key).read_text().splitlines()[1]
    assert secret not in log + gateway.stdout()
