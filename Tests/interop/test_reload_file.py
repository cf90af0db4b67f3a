# Licensed under the Apache License 2.0; see LICENSE.
"""What a reload makes of the file: each key that can change at once does."""

import json
import pwd
import re
import threading

import pytest

import gateway as house
import scripted
import wire
from background import slow_call
from shop import counting_server


@pytest.fixture
def gateway(make):
    gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"])
    gateway.wait_for_tools("up__echo", "text__echo")
    return gateway


def change(gateway, section, **keys):
    """Puts keys into a section, `None` takes one out; then reloads, and sees to it that they are what has changed."""
    table = gateway.tables.setdefault(section, {})
    for name, value in keys.items():
        table.pop(name, None) if value is None else table.update({name: value})
    said = gateway.reload(socket=True)
    assert said["waits_for_restart"] == [], said
    assert said["changed"], said
    return said["changed"]


def raw_call(gateway, path="/mcp", text="x", **headers):
    body = wire.modern_body("tools/call", {"name": "text__echo", "arguments": {"text": text}})
    headers = {**wire.modern_headers("tools/call", "text__echo"), **headers}
    return gateway.exchange(wire.request("POST", path, headers, body))


# What changes at once.

def test_the_level_of_the_log(gateway):
    log = gateway.home / "log/app.log"
    assert change(gateway, "log", level="debug") == ["log.level"]
    body = wire.legacy_body("tools/list")
    gateway.exchange(wire.request("POST", "/mcp", {**wire.LEGACY_HEADERS, "Mcp-Session-Id": "made-up"}, body))
    house.eventually(lambda: " debug " in log.read_text(), 10, "lines for debugging")
    change(gateway, "log", level="error")
    size = log.stat().st_size
    gateway.reload()
    assert log.stat().st_size == size, "a notice of a reload is no error"


def test_the_format_of_the_log(gateway):
    log = gateway.home / "log/app.log"
    assert change(gateway, "log", format="json") == ["log.format"]
    assert json.loads(log.read_text().splitlines()[-1])["message"] == "configuration read again"
    change(gateway, "log", format="text")
    assert re.match(r"\d{4}-\d\d-\d\d ", log.read_text().splitlines()[-1])


def test_the_directory_of_the_log(gateway):
    assert change(gateway, "log", directory=gateway.home / "elsewhere") == ["log.directory"]
    assert "configuration read again" in (gateway.home / "elsewhere/app.log").read_text()
    gateway.order("POST", "/admin/cache/clear")
    assert "what=cache.clear" in (gateway.home / "elsewhere/security.log").read_text()
    assert "what=cache.clear" not in (gateway.home / "log/security.log").read_text()


def test_what_counts_as_slow(gateway):
    change(gateway, "log", slow_call="1ms")
    gateway.call("text__echo", {"text": "x" * 500_000})
    house.eventually(lambda: "slow" in (gateway.home / "log/app.log").read_text(), 10, "a line about a slow call")


def test_the_largest_body(gateway):
    big = "x" * 100_000
    assert raw_call(gateway, text=big).status == 200
    assert change(gateway, "server", max_body="64KiB") == ["server.max_body"]
    assert raw_call(gateway, text=big).status == 413
    change(gateway, "server", max_body="8MiB")
    assert raw_call(gateway, text="x" * 5_000_000).status == 200


def test_the_largest_body_on_a_connection_that_was_open_before(gateway):
    with wire.Connection(gateway.port) as connection:
        connection.send(wire.modern_request("tools/list"))
        assert connection.response().status == 200
        change(gateway, "server", max_body="1KiB", path="/other")
        connection.send(wire.modern_request("tools/list"))
        assert connection.response().status == 404
        connection.send(wire.request("POST", "/other", wire.modern_headers("tools/list"), b"x" * 2000))
        assert connection.response().status == 413


def test_hosts_and_origins(gateway):
    assert raw_call(gateway, Host="gateway.example").status == 421
    change(gateway, "server", allowed_hosts=["gateway.example"])
    assert raw_call(gateway, Host="gateway.example").status == 200
    page = "https://app.example"
    assert raw_call(gateway, Origin=page).status == 403
    change(gateway, "server", allowed_origins=[page])
    assert raw_call(gateway, Origin=page).status == 200
    change(gateway, "server", allowed_hosts=None, allowed_origins=None)
    assert (raw_call(gateway, Host="gateway.example").status, raw_call(gateway, Origin=page).status) == (421, 403)


def test_the_path_also_of_sessions(gateway):
    session = gateway.legacy()
    assert change(gateway, "server", path="/tools") == ["server.path"]
    assert raw_call(gateway).status == 404
    assert raw_call(gateway, "/tools").status == 200
    body = wire.legacy_body("tools/call", {"name": "text__echo", "arguments": {"text": "x"}})
    response = gateway.exchange(wire.request("POST", "/tools", session.headers, body))
    assert response.status == 200 and wire.text_of(response.json) == "x"
    change(gateway, "server", path=None)
    assert session.call("text__echo", {"text": "x"}) == ("x", False)


def test_compact_tools(gateway):
    names = lambda: {tool["name"] for tool in gateway.modern("tools/list")[1]["result"]["tools"]}
    before = names()
    assert change(gateway, "server", compact_tools=True) == ["server.compact_tools"]
    assert names() == {"search_tools", "call_tool"}
    assert gateway.call("call_tool", {"name": "text__echo", "arguments": {"text": "x"}}) == ("x", False)
    change(gateway, "server", compact_tools=None)
    assert names() == before


def test_how_long_a_call_may_take(gateway):
    scripted.gate.clear()
    change(gateway, "server", request_timeout="300ms")
    text, is_error = gateway.call("up__gate")
    assert is_error and text
    scripted.gate.set()


def test_how_long_a_request_may_arrive(gateway):
    change(gateway, "server", header_timeout="200ms")
    with wire.Connection(gateway.port) as connection:
        connection.send(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n")
        assert connection.is_closed_within(5)


def test_how_many_connections(gateway):
    change(gateway, "server", max_connections=2)
    held = [wire.Connection(gateway.port) for _ in range(2)]
    try:
        for connection in held:
            connection.send(wire.modern_request("tools/list"))
            assert connection.response().status == 200
        assert raw_call(gateway).status == 503
        assert gateway.get("/health").status == 200
        change(gateway, "server", max_connections=100)
        assert raw_call(gateway).status == 200
    finally:
        for connection in held:
            connection.socket.close()


def test_who_may_call(gateway):
    erp = gateway.caller("erp")
    session = gateway.legacy()
    assert change(gateway, "auth", mode="token") == ["auth.mode"]
    assert gateway.modern_response("tools/list").status == 401
    assert session.post(wire.legacy_body("tools/list")).status == 401, "a session is no credential"
    assert erp.call("text__echo", {"text": "x"}) == ("x", False)
    change(gateway, "auth", mode="none")
    assert gateway.call("text__echo", {"text": "x"}) == ("x", False)
    assert session.call("text__echo", {"text": "x"}) == ("x", False)


def test_who_is_an_operator(gateway):
    assert gateway.order("GET", "/admin/queue")[0] == 200
    nobody = pwd.getpwuid(65534).pw_name
    assert change(gateway, "admin", local=[nobody]) == ["admin.local"]
    assert gateway.order("GET", "/admin/queue")[0] == 403
    assert set(gateway.health()) == {"status"} and gateway.get("/metrics").status == 403
    assert gateway.order("GET", "/admin/queue", socket=True)[0] == 200, "the socket's door is its file's"
    change(gateway, "admin", local=None)
    assert gateway.order("GET", "/admin/queue")[0] == 200
    change(gateway, "admin", require_token=True)
    assert gateway.order("GET", "/admin/queue")[0] == 403
    assert gateway.order("GET", "/admin/queue", socket=True)[0] == 200
    change(gateway, "admin", public_metrics=True)
    assert gateway.get("/metrics").status == 200 and "components" in gateway.health()
    assert gateway.order("GET", "/admin/queue")[0] == 403, "to see is not to order"


def test_how_often(gateway):
    assert change(gateway, "limits", requests_per_second=0.001, burst=2) == ["limits.requests_per_second"]
    statuses = [gateway.modern_response("tools/call", {"name": "text__echo", "arguments": {"text": "x"}}).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    change(gateway, "limits", requests_per_second=10_000, burst=10_000)
    house.eventually(lambda: raw_call(gateway).status == 200, 5, "the new limit")
    change(gateway, "limits", requests_per_second=None, burst=None)
    assert {raw_call(gateway).status for _ in range(20)} == {200}
    del gateway.tables["limits"]
    gateway.tables["limits.per_caller"] = {"requests_per_second": 0.001, "burst": 1}
    assert gateway.reload()["changed"] == ["limits.per_caller"]
    assert [raw_call(gateway).status for _ in range(2)] == [200, 429]


def test_how_many_at_once(gateway):
    change(gateway, "limits", max_in_flight=1, max_waiting=0)
    scripted.gate.clear()
    before = scripted.calls["gate"]
    thread, answers = slow_call(gateway, "up__gate", {"text": "first"})
    house.eventually(lambda: scripted.calls["gate"] > before, 10, "the arrival of the call")
    assert raw_call(gateway).status == 503
    change(gateway, "limits", max_in_flight=2)
    assert raw_call(gateway).status == 200
    scripted.gate.set()
    thread.join(20)
    assert answers == [('{"text": "first"}', False)]


def test_a_limit_that_is_far_away_refuses_nobody(gateway):
    gateway.tables["tools.text"]["tools"] = {"echo": {"rate": "100000/s"}}
    gateway.tables["limits.per_caller"] = {"requests_per_second": 100_000}
    change(gateway, "limits", requests_per_second=100_000)
    wrong = []

    def calls():
        with wire.Connection(gateway.port) as connection:
            for _ in range(100):
                connection.send(wire.modern_request("tools/call", {"name": "text__echo", "arguments": {"text": "x"}}))
                response = connection.response()
                if response.status != 200:
                    wrong.append(response)

    threads = [threading.Thread(target=calls) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong, (len(wrong), wrong[0])


def test_how_much_is_cached(gateway):
    policy = {"big": {"cache": "1h"}}
    gateway.tables["upstreams.up"]["tools"] = policy
    gateway.reload()
    for size in range(50_000, 50_008):
        gateway.call("up__big", {"size": size})
    kept = lambda: gateway.metric("mcp_cache_bytes")
    house.eventually(lambda: kept() > 350_000, 10, "the answers in the cache")
    assert change(gateway, "cache", max_bytes="128KiB") == ["cache.max_bytes"]
    house.eventually(lambda: kept() <= 128 << 10, 10, "the end of what is too much")
    before = scripted.calls["big"]
    gateway.call("up__big", {"size": 50_007})
    assert scripted.calls["big"] == before, "the newest stay"


def test_how_long_rows_are_kept(gateway):
    gateway.call("text__echo", {"text": "x"})
    house.eventually(lambda: gateway.sql("SELECT count(*) FROM request_log") != "0", 10, "a row")
    gateway.sql("UPDATE request_log SET timestamp = datetime('now', '-2 hours')")
    assert change(gateway, "storage", retention="1h") == ["storage.retention"]
    old = lambda: gateway.sql("SELECT count(*) FROM request_log WHERE timestamp < datetime('now', '-1 hour')")
    house.eventually(lambda: old() == "0", 10, "the end of old rows")


def test_how_many_calls_are_stored(make):
    server, _ = counting_server(make)
    server.start()
    gateway = make.gateway({"up": {"url": server.url, "tools": {"dispense": {"offline": "queue"}}}})
    gateway.wait_for_tools("up__dispense")
    server.kill()
    gateway.order("POST", "/admin/sync/force")
    house.eventually(lambda: gateway.component("upstream:up")["status"] == "unhealthy", 10, "the gateway to notice")
    store = lambda n: gateway.call("up__dispense", {"n": n})[0]
    assert store("a").startswith("NOT DONE YET")
    assert change(gateway, "storage", max_queue_items=1) == ["storage.max_queue_items"]
    assert not store("b").startswith("NOT DONE YET")
    change(gateway, "storage", when_full="drop_oldest")
    assert store("c").startswith("NOT DONE YET")
    assert gateway.sql("SELECT status FROM queue_items ORDER BY id").split() == ["cancelled", "queued"]
    change(gateway, "storage", max_queue_items=None, when_full=None)
    assert store("d").startswith("NOT DONE YET")


def test_how_long_a_stop_waits(gateway):
    change(gateway, "server", shutdown_grace="200ms")
    thread, answers = slow_call(gateway, "up__hang")
    house.eventually(lambda: gateway.order("GET", "/admin/drain")[1]["in_flight"] == 1, 10, "the call")
    assert gateway.terminate(8) == 0
    thread.join(5)
    assert "was stopped before its answer came" in answers[0][0]
