# Licensed under the Apache License 2.0; see LICENSE.
"""Mistakes and malice below MCP: methods, types, sizes, slowness, framing. Raw sockets; after each a good call works."""

import contextlib
import select
import socket
import struct
import time

import pytest

import wire

BODY_MAX = 64 * 1024
ECHO = {"name": "text__echo", "arguments": {"text": "x"}}
HEADERS = wire.modern_headers("tools/call", "text__echo")
BODY = wire.modern_body("tools/call", ECHO)


@pytest.fixture(scope="module")
def gateway(make_once):
    limits = {"max_body": "64KiB", "header_timeout": "2s", "max_connections": 600}
    gateway = make_once.gateway(tools=["text"], sections={"server": limits})
    gateway.wait_for_tools("text__echo")
    return gateway


@pytest.fixture(autouse=True)
def a_good_call_still_works(gateway):
    yield
    assert gateway.call("text__echo", {"text": "as if nothing had been"}) == ("as if nothing had been", False)


def post(headers=None, drop=(), body=BODY):
    fields = {name: value for name, value in {**HEADERS, **(headers or {})}.items() if name not in drop}
    return wire.request("POST", "/mcp", fields, body)


def refusal(response):
    """The words of a refusal outside JSON-RPC, or of a JSON-RPC error."""
    error = response.json["error"]
    assert len(error["message"]) > 5, response
    return error


@pytest.mark.parametrize("method", ["PUT", "PATCH", "GET", "TRACE", "BREW"])
def test_a_wrong_method_is_refused_with_the_right_ones(gateway, method):
    response = gateway.exchange(wire.request(method, "/mcp", {"Accept": wire.BOTH}), method)
    if method == "BREW":
        assert response.status in (400, 405, 501), response
        return
    assert response.status == 405, response
    assert "POST" in response.header("Allow")
    refusal(response)


def test_a_get_without_a_session_is_not_allowed(gateway):
    for version in (None, "2025-11-25", wire.MODERN):
        response = gateway.get("/mcp", {"Accept": "text/event-stream", "MCP-Protocol-Version": version})
        assert response.status == 405 and "POST" in response.header("Allow"), response


def test_a_delete_without_a_session_is_refused(gateway):
    assert gateway.get("/mcp", method="DELETE").status in (400, 404, 405)


@pytest.mark.parametrize("path", ["/", "/nothing", "/mcp/more", "/mcp%2f", "//mcp", "/../../etc/passwd", "/%00", "/mcp\xff"])
def test_other_paths_are_not_found(gateway, path):
    response = gateway.get(path)
    assert response.status in (404, 400), response
    if response.status == 404:
        error = refusal(response)
        assert error["code"] and error["request_id"] == response.header("X-Request-Id")


def test_every_answer_has_a_request_id(gateway):
    ids = {gateway.get(path).header("X-Request-Id") for path in ("/health", "/nothing", "/mcp", "/metrics")}
    ids.add(gateway.exchange(post()).header("X-Request-Id"))
    assert None not in ids and len(ids) == 5


@pytest.mark.parametrize("type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", None])
def test_a_wrong_content_type_is_refused(gateway, type):
    response = gateway.exchange(post({"Content-Type": type}))
    assert response.status == 415, response
    refusal(response)


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/xml, text/plain"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_client_must_accept_what_it_will_get(gateway, accept, era):
    if era == "modern":
        response = gateway.exchange(post({"Accept": accept}))
    else:
        headers = {**wire.LEGACY_HEADERS, "Accept": accept}
        response = gateway.exchange(wire.request("POST", "/mcp", headers, wire.initialize_body()))
    assert response.status == 406, response
    refusal(response)


def test_a_client_that_names_nothing_gets_json(gateway):
    """By RFC 9110 no Accept header means that anything will do."""
    response = gateway.exchange(post(drop=["Accept"]))
    assert response.status in (200, 406), response
    if response.status == 200:
        assert response.header("Content-Type").startswith("application/json")


EVIL_HOSTS = [
    "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "user@localhost",
]
EVIL_ORIGINS = [
    "http://evil.example", "null", "http://localhost.evil.example", "file://", "https://127.0.0.1.evil.example",
]


@pytest.mark.parametrize("host", EVIL_HOSTS)
def test_a_foreign_host_is_refused(gateway, host):
    assert gateway.exchange(wire.request("POST", "/mcp", HEADERS, BODY, host=host)).status in (400, 403, 421)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST", "[::1]"])
def test_the_names_of_this_machine_are_good_hosts(gateway, host):
    for text in (host, f"{host}:{gateway.port}"):
        assert gateway.exchange(wire.request("POST", "/mcp", HEADERS, BODY, host=text)).status == 200


@pytest.mark.parametrize("origin", EVIL_ORIGINS)
def test_a_foreign_origin_is_refused_on_every_method(gateway, origin):
    assert gateway.exchange(post({"Origin": origin})).status == 403
    assert gateway.get("/mcp", {"Origin": origin, "Accept": "text/event-stream"}).status == 403
    assert gateway.get("/mcp", {"Origin": origin, "Mcp-Session-Id": "x"}, "DELETE").status == 403


SIZED = wire.modern_body("tools/call", {"name": "text__echo", "arguments": {"text": "x" * BODY_MAX}})


def one_answer_then_closed(connection, statuses):
    """Exactly one refusal, and no second answer that the rest of the bytes might have been taken for."""
    response = connection.response()
    assert response.status in statuses, response
    assert connection.is_closed_within(6), "the connection was left open"
    assert b"HTTP/1.1" not in connection.pending, connection.pending
    return response


def test_a_body_over_the_limit_is_refused(gateway):
    response = gateway.exchange(post(body=SIZED))
    assert response.status == 413, response
    refusal(response)


def test_a_body_over_the_limit_is_refused_before_it_comes(gateway):
    with wire.Connection(gateway.port) as connection:
        connection.send(post({"Content-Length": str(10 ** 12)}, body=b""))
        assert connection.response().status == 413


def test_a_body_over_the_limit_in_chunks_is_refused(gateway):
    with wire.Connection(gateway.port) as connection:
        with contextlib.suppress(ConnectionError):  # the gateway may hang up while we still talk
            connection.send(post({"Transfer-Encoding": "chunked"}, body=wire.chunked(SIZED)))
        assert connection.response().status == 413


def test_an_endless_body_in_chunks_is_cut(gateway):
    """The refusal may be followed by a little patience, so that the client can read it, but not by an endless one."""
    end = time.monotonic() + 10
    with wire.Connection(gateway.port) as connection:
        connection.send(post({"Transfer-Encoding": "chunked"}, body=b""))
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                connection.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        assert time.monotonic() < end, "the gateway went on reading for 10 s"


def test_a_good_body_in_chunks_is_taken(gateway):
    response = gateway.exchange(post({"Transfer-Encoding": "chunked"}, body=wire.chunked(BODY, 7)))
    assert wire.text_of(response.json) == "x"


def test_a_body_right_below_the_limit_is_taken(gateway):
    text = "x" * (BODY_MAX - len(BODY) - 1000)
    assert gateway.call("text__echo", {"text": text}) == (text, False)


def test_more_bytes_than_announced_are_not_part_of_the_call(gateway):
    with wire.Connection(gateway.port) as connection:
        connection.send(post(body=BODY) + b"EXTRA RUBBISH\r\n\r\n")
        assert wire.text_of(connection.response().json) == "x"
        rest = connection.is_closed_within(6)
        assert rest and (not connection.pending or connection.pending.startswith(b"HTTP/1.1 400"))


def test_fewer_bytes_than_announced_are_waited_for_and_then_given_up(gateway):
    with wire.Connection(gateway.port) as connection:
        connection.send(post({"Content-Length": str(len(BODY) + 10)}, body=BODY))
        assert connection.is_closed_within(8)
        assert b"HTTP/1.1 200" not in connection.pending


@pytest.mark.parametrize("partial", [b"P", b"POST /mcp HTTP/1.1\r\n", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-A: b"])
def test_a_head_that_never_ends_is_cut_and_delays_nobody(gateway, partial):
    crowd = [wire.Connection(gateway.port) for _ in range(50)]
    try:
        for connection in crowd:
            connection.send(partial)
        assert gateway.call("text__echo", {"text": "served"}) == ("served", False)
        assert gateway.get("/health").status == 200
        for connection in crowd:
            assert connection.is_closed_within(8)
            assert not connection.pending or connection.pending.startswith(b"HTTP/1.1 4"), connection.pending
    finally:
        for connection in crowd:
            connection.socket.close()


def test_a_head_that_drips_is_cut(gateway):
    """Byte after byte keeps no connection beyond the limit: the time counts from the first byte."""
    with wire.Connection(gateway.port) as connection:
        connection.send(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n")
        end = time.monotonic() + 10
        closed = False
        while not closed and time.monotonic() < end:
            with contextlib.suppress(ConnectionError):
                connection.send(b"x")
            readable, _, _ = select.select([connection.socket], [], [], 0.1)
            if readable:
                try:
                    closed = not connection.fill()
                except ConnectionError:
                    closed = True
        assert closed, "a dripping connection was kept for 10 s although the limit is 2 s"


def test_hundreds_of_idle_connections_delay_nobody(gateway):
    crowd = [wire.Connection(gateway.port) for _ in range(200)]
    try:
        for connection in crowd[::2]:
            connection.send(wire.request("GET", "/health", {}))
            assert connection.response("GET").status == 200
        for _ in range(5):
            assert gateway.call("text__echo", {"text": "served"}) == ("served", False)
    finally:
        for connection in crowd:
            connection.socket.close()


def test_pipelined_requests_are_answered_in_order(gateway):
    with wire.Connection(gateway.port) as connection:
        calls = [wire.modern_request("tools/call", {"name": "text__echo", "arguments": {"text": f"n{n}"}}, n) for n in range(8)]
        connection.send(b"".join(calls[:4]) + wire.request("GET", "/health", {}) + b"".join(calls[4:]))
        for number in range(8):
            if number == 4:
                assert connection.response("GET").json["status"] in ("healthy", "degraded")
            message = connection.response().json
            assert message["id"] == number and wire.text_of(message) == f"n{number}"


def test_a_request_in_single_bytes_is_understood(gateway):
    with wire.Connection(gateway.port) as connection:
        for byte in post():
            connection.send(bytes([byte]))
        assert wire.text_of(connection.response().json) == "x"


def test_a_client_of_http_1_0_is_answered_and_let_go(gateway):
    with wire.Connection(gateway.port) as connection:
        connection.send(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert connection.response("GET").status == 200
        assert connection.is_closed_within(6)
    with wire.Connection(gateway.port) as connection:
        connection.send(post().replace(b"HTTP/1.1", b"HTTP/1.0"))
        response = connection.response()
        assert response.status == 200 and wire.text_of(response.json) == "x"
        assert (response.header("Transfer-Encoding") or "") == ""


def test_a_client_may_ask_before_it_sends(gateway):
    with wire.Connection(gateway.port) as connection:
        head = post({"Expect": "100-continue", "Content-Length": str(len(BODY))}, body=b"")
        connection.send(head)
        status, _ = connection.head()
        assert status == 100
        connection.send(BODY)
        assert wire.text_of(connection.response().json) == "x"
    with wire.Connection(gateway.port) as connection:
        connection.send(post({"Expect": "100-continue", "Content-Length": str(10 * BODY_MAX)}, body=b""))
        status, _ = connection.head()
        assert status in (413, 417)


def test_connection_close_is_obeyed(gateway):
    with wire.Connection(gateway.port) as connection:
        connection.send(post({"Connection": "close"}))
        assert connection.response().status == 200
        assert connection.is_closed_within(6)


HIDDEN = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def framed(*lines, body=b""):
    fields = [f"{name}: {value}" for name, value in HEADERS.items()] + ["Host: localhost"]
    head = ["POST /mcp HTTP/1.1", *fields, *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


SMUGGLED = {
    "length and chunks": framed(f"Content-Length: {5 + len(HIDDEN)}", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
    "chunks and length": framed("Transfer-Encoding: chunked", "Content-Length: 3", body=b"0\r\n\r\n" + HIDDEN),
    "two lengths": framed("Content-Length: 0", f"Content-Length: {len(HIDDEN)}", body=HIDDEN),
    "two lengths in one": framed(f"Content-Length: 0, {len(HIDDEN)}", body=HIDDEN),
    "a length with a sign": framed("Content-Length: +5", body=b"hello" + HIDDEN),
    "a negative length": framed("Content-Length: -5", body=HIDDEN),
    "a length in hex": framed("Content-Length: 0x5", body=b"hello" + HIDDEN),
    "a length beyond 64 bits": framed("Content-Length: 18446744073709551621", body=b"hello" + HIDDEN),
    "an unknown coding": framed("Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + HIDDEN),
    "chunked not last": framed("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + HIDDEN),
    "a space before the colon": framed("Content-Length : 5", body=b"hello" + HIDDEN),
    "a folded line": framed("Transfer-Encoding:", " chunked", f"Content-Length: {5 + len(HIDDEN)}", body=b"0\r\n\r\n" + HIDDEN),
    "a chunk size that is no number": framed("Transfer-Encoding: chunked", body=b"zz\r\nhello\r\n0\r\n\r\n" + HIDDEN),
    "a chunk size beyond 64 bits": framed("Transfer-Encoding: chunked", body=b"fffffffffffffffff\r\nhello\r\n" + HIDDEN),
    "a negative chunk size": framed("Transfer-Encoding: chunked", body=b"-1\r\nhello\r\n0\r\n\r\n" + HIDDEN),
    "a NUL in a field": framed("X-Field: a\x00b", "Content-Length: 0", body=HIDDEN),
    "a bare CR in a field": framed("X-Field: a\rTransfer-Encoding: chunked", "Content-Length: 0", body=HIDDEN),
    "a field name with a space": framed("X Field: a", "Content-Length: 0", body=HIDDEN),
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_ambiguous_framing_is_refused_and_hides_nothing(gateway, name):
    with wire.Connection(gateway.port) as connection:
        connection.send(SMUGGLED[name])
        one_answer_then_closed(connection, (400, 413, 501))


@pytest.mark.parametrize("first", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, b"\x00" * 100, b"HELO there\r\n\r\n", b"GET\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /health HTTP/9.9\r\n\r\n", b"GET " + b"/" * 200_000,
], ids=["TLS", "zeros", "mail", "no target", "HTTP/2", "version", "endless target"])
def test_other_languages_are_hung_up_on(gateway, first):
    with wire.Connection(gateway.port) as connection:
        with contextlib.suppress(ConnectionError):
            connection.send(first)
        assert connection.is_closed_within(8)
        assert not connection.pending or connection.pending.split(b" ")[1][:1] in (b"4", b"5"), connection.pending


def test_a_head_without_end_is_bounded_in_size(gateway):
    for bomb in ("".join(f"X-{n}: {'y' * 100}\r\n" for n in range(5000)), "X-Long: " + "y" * 600_000 + "\r\n"):
        with wire.Connection(gateway.port) as connection:
            with contextlib.suppress(ConnectionError):
                connection.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + bomb.encode() + b"\r\n")
            closed = connection.is_closed_within(6)
            assert b"HTTP/1.1 200" not in connection.pending
            assert closed or connection.pending.startswith(b"HTTP/1.1 4"), connection.pending


@pytest.mark.parametrize("hosts", [[], ["localhost", "evil.example"], ["localhost", "localhost"]], ids=["none", "two", "twice"])
def test_there_is_exactly_one_host(gateway, hosts):
    lines = b"".join(f"Host: {host}\r\n".encode() for host in hosts)
    with wire.Connection(gateway.port) as connection:
        connection.send(b"GET /health HTTP/1.1\r\n" + lines + b"\r\n")
        assert connection.response("GET").status in (400, 403, 421)


def test_a_client_that_goes_away_disturbs_nobody(gateway):
    for cut in (1, 50, len(post()) - 5, len(post())):
        for _ in range(10):
            with wire.Connection(gateway.port) as connection:
                connection.send(post()[:cut])
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert gateway.process.poll() is None


def test_visits_without_a_word_use_nothing_up(gateway):
    """More than the connections allowed at once come and leave at once; each gives its place back."""
    for number in range(1500):
        connection = wire.Connection(gateway.port)
        if number % 2:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.socket.close()
    for _ in range(3):
        assert gateway.call("text__echo", {"text": "served"}) == ("served", False)


def test_the_log_of_all_this_has_no_forged_lines(gateway):
    forged = "x\r\n2026-01-01 00:00:00 info everything is fine\x1b[31m"
    body = wire.modern_body("tools/call", {"name": forged, "arguments": {}})
    gateway.exchange(wire.request("POST", "/mcp", {**HEADERS, "Mcp-Name": "x"}, body))
    gateway.exchange(wire.request("POST", "/mcp", {**HEADERS, "User-Agent": "a\tb"}, b"{"))
    for file in (gateway.home / "log").iterdir():
        text = file.read_text(errors="replace")
        assert "\x1b" not in text
        assert not any(line.startswith("2026-01-01 00:00:00 info everything") for line in text.splitlines())
