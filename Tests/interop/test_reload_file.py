# Licensed under the Apache License 2.0; see LICENSE.
"""What a reload makes of the file: each key that can change at once does, each that cannot is told, and a bad file is refused whole."""

import json
import pwd
import re
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

import gateway as house
import scripted
import wire
from test_lifecycle import slow_call
from test_reload import serve, tool  # noqa: F401 -- a fixture


@pytest.fixture
def gateway(make, serve):  # noqa: F811
    gateway = make.gateway({"up": {"url": serve()}}, ["text"])
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
    status, said = gateway.order("POST", "/admin/tokens", {"name": "erp", "roles": ["call"]})
    erp = gateway.showing(said["secret"])
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
    kept = lambda: int(float(metric(gateway, "mcp_cache_bytes")))
    house.eventually(lambda: kept() > 350_000, 10, "the answers in the cache")
    assert change(gateway, "cache", max_bytes="128KiB") == ["cache.max_bytes"]
    house.eventually(lambda: kept() <= 128 << 10, 10, "the end of what is too much")
    before = scripted.calls["big"]
    gateway.call("up__big", {"size": 50_007})
    assert scripted.calls["big"] == before, "the newest stay"


def metric(gateway, name):
    lines = gateway.get("/metrics").body.decode().splitlines()
    return next(line.split()[-1] for line in lines if line.startswith(name) and line[len(name)] in " {")


def test_how_long_rows_are_kept(gateway):
    gateway.call("text__echo", {"text": "x"})
    house.eventually(lambda: gateway.sql("SELECT count(*) FROM request_log") != "0", 10, "a row")
    gateway.sql("UPDATE request_log SET timestamp = datetime('now', '-2 hours')")
    assert change(gateway, "storage", retention="1h") == ["storage.retention"]
    old = lambda: gateway.sql("SELECT count(*) FROM request_log WHERE timestamp < datetime('now', '-1 hour')")
    house.eventually(lambda: old() == "0", 10, "the end of old rows")


def test_how_many_calls_are_stored(make):
    server = counting_server(make)
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


def counting_server(make):
    port = house.free_port()
    book = tempfile.NamedTemporaryFile(prefix="book-")
    make.later(book.close)
    return make.server(house.ServerProcess([sys.executable, str(house.SERVERS / "counting.py"), str(port), book.name], port))


def test_how_long_a_stop_waits(gateway):
    change(gateway, "server", shutdown_grace="200ms")
    thread, answers = slow_call(gateway, "up__hang")
    house.eventually(lambda: gateway.order("GET", "/admin/drain")[1]["in_flight"] == 1, 10, "the call")
    assert gateway.terminate(8) == 0
    thread.join(5)
    assert "was stopped before its answer came" in answers[0][0]


# What waits.

def test_what_waits_for_a_restart_is_told_and_stays(gateway):
    port, home = house.free_port(), gateway.home
    old_port = gateway.port
    gateway.tables["server"]["listen"] = f"127.0.0.1:{port}"
    gateway.tables["storage"]["directory"] = home / "lib2"
    gateway.tables["wasm"].update(workers=1, max_waiting=7)
    gateway.tables["admin"]["control_socket"] = home / "other.sock"
    gateway.tables["limits"] = {"max_in_flight": 5}
    waiting = ["server.listen", "admin.control_socket", "storage.directory", "wasm"]
    said = gateway.reload()
    assert sorted(said["waits_for_restart"]) == sorted(waiting) and said["changed"] == ["limits.max_in_flight"], said
    assert all(name in said["words"] for name in waiting)
    component = gateway.component("configuration")
    assert all(name in component["detail"] for name in waiting), component
    assert gateway.call("text__echo", {"text": "x"}) == ("x", False)
    assert not house.answers_tcp(port) and not (home / "lib2").exists() and not (home / "other.sock").exists()
    assert gateway.order("GET", "/admin/queue", socket=True)[0] == 200
    assert "waits for a restart" in (home / "log/app.log").read_text()
    # Once more, and it is still told, although nothing is new.
    assert sorted(gateway.reload()["waits_for_restart"]) == sorted(waiting)
    gateway.kill()
    (home / "lib2").mkdir()
    gateway.port, gateway.control = port, home / "other.sock"
    gateway.start()
    gateway.wait_for_tools("text__echo")
    assert not house.answers_tcp(old_port)
    assert gateway.order("GET", "/admin/queue", socket=True)[0] == 200 and (home / "lib2/queue.db").exists()
    assert "restart" not in gateway.component("configuration")["detail"]
    assert gateway.reload()["waits_for_restart"] == []


def test_what_waits_is_forgotten_when_the_file_says_again_what_is_in_force(gateway):
    gateway.tables["server"]["listen"] = f"127.0.0.1:{house.free_port()}"
    assert gateway.reload()["waits_for_restart"] == ["server.listen"]
    gateway.tables["server"]["listen"] = f"127.0.0.1:{gateway.port}"
    assert gateway.reload()["waits_for_restart"] == []
    assert "restart" not in gateway.component("configuration")["detail"]


def test_a_gateway_that_others_can_reach_is_not_opened_by_half_a_change(make):
    """The file is sound as a whole; but its address waits for a restart, and so does everything that goes with it."""
    gateway = make.gateway(tools=["text"], start=False)
    gateway.tables["server"]["listen"] = f"0.0.0.0:{gateway.port}"
    gateway.tables["auth"] = {"mode": "token"}
    gateway.start()
    assert gateway.modern_response("tools/list").status == 401
    gateway.tables["server"]["listen"] = f"127.0.0.1:{gateway.port}"
    gateway.tables["auth"] = {"mode": "none"}
    gateway.write_configuration()
    gateway.order("POST", "/admin/reload")
    assert gateway.modern_response("tools/list").status == 401


# What is refused.

BROKEN = {
    "not TOML": ("[limits\nmax_in_flight = 5\n", ["{line}"]),
    "a typo": ("[limits]\nmax_in_fligth = 5\n", ["{line1}: limits.max_in_fligth", "max_in_flight"]),
    "a wrong type": ("[limits]\nmax_in_flight = \"five\"\n", ["{line1}: limits.max_in_flight"]),
    "out of range": ("[limits]\nmax_in_flight = 0\n", ["{line1}: limits.max_in_flight"]),
    "half a limit": ("[limits]\nburst = 5\n", ["{line1}: limits.burst"]),
    "an unset variable": ("[upstreams.x]\nurl = \"http://127.0.0.1:1/${NOWHERE_SET}\"\n", ["{line1}: upstreams.x.url", "NOWHERE_SET"]),
    "a module that is not there": ("[tools.x]\nmodule = \"nothing.wasm\"\n", ["{line1}: tools.x.module", "nothing.wasm"]),
    "neither url nor command": ("[upstreams.x]\ntimeout = \"5s\"\n", ["{line}: upstreams.x"]),
    "two of one name": ("[upstreams.text]\nurl = \"http://127.0.0.1:1/mcp\"\n", ["{line}: upstreams.text"]),
    "not built yet": ("[alerts]\np95 = \"2s\"\n", ["alerts", "not built"]),
    "several": ("[limits]\nmax_in_flight = 0\nmax_waiting = -1\n[cache]\nmax_byte = 3\n",
                ["{line1}: limits.max_in_flight", "limits.max_waiting", "cache.max_byte"]),
}


@pytest.mark.parametrize("how", ["curl", "HUP"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_as_a_whole(gateway, case, how):
    text, wanted = BROKEN[case]
    # The rest would be a change that nobody could overlook.
    gateway.tables["server"]["path"] = "/elsewhere"
    gateway.tables["upstreams.up"]["prefix"] = "renamed"
    gateway.write_configuration()
    whole = gateway.configuration.read_text()
    line = whole.count("\n") + 1
    gateway.configuration.write_text(whole + text)
    wanted = [one.format(line=f"{gateway.configuration}:{line}", line1=f"{gateway.configuration}:{line + 1}") for one in wanted]
    log = gateway.home / "log/app.log"
    if how == "curl":
        status, said = gateway.order("POST", "/admin/reload")
        assert status == 409 and said["error"]["code"] == "configuration_refused", said
        problems = said["error"]["problems"]
        assert str(gateway.configuration) in said["error"]["message"] and said["error"]["request_id"]
        for one in wanted:
            assert any(one in problem for problem in problems), (one, problems)
        assert len(problems) == (3 if case == "several" else 1), problems
    else:
        gateway.signal(signal.SIGHUP)
        house.eventually(lambda: "configuration was refused" in log.read_text(), 10, "the refusal")
    for one in wanted:
        house.eventually(lambda: any(one in row and " error " in row for row in log.read_text().splitlines()), 5, f"a line with {one}")
    component = gateway.component("configuration")
    assert component["status"] == "degraded" and "refused" in component["detail"], component
    assert gateway.health()["status"] == "degraded" and gateway.get("/health").status == 200
    house.eventually(lambda: "configuration_refused" in gateway.sql("SELECT error_type FROM error_log"), 10, "the row")
    assert gateway.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False)
    assert gateway.call("text__echo", {"text": "x"}) == ("x", False)
    assert tool(gateway, "renamed__echo") is None
    # And the way back.
    gateway.tables["server"].pop("path")
    gateway.tables["upstreams.up"].pop("prefix")
    assert gateway.reload()["changed"] == []
    assert gateway.component("configuration")["status"] == "healthy"


def test_a_file_that_is_gone(gateway):
    gateway.configuration.unlink()
    status, said = gateway.order("POST", "/admin/reload")
    assert status == 409 and str(gateway.configuration) in said["error"]["problems"][0], said
    gateway.configuration.mkdir()
    assert gateway.order("POST", "/admin/reload")[0] == 409
    gateway.configuration.rmdir()
    gateway.configuration.write_bytes(b"\xff\xfe\x00[limits]")
    assert gateway.order("POST", "/admin/reload")[0] == 409
    assert gateway.component("configuration")["status"] == "degraded"
    assert gateway.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False)
    gateway.reload()
    assert gateway.component("configuration")["status"] == "healthy"


def test_a_file_that_says_next_to_nothing_is_a_file(gateway):
    """Every key has a default; what needs a restart stays, and the rest goes."""
    gateway.configuration.write_text(f'[log]\ndirectory = "{gateway.home}/log"\n')
    status, said = gateway.order("POST", "/admin/reload", socket=True)
    assert status == 200 and {"server.listen", "storage.directory"} <= set(said["waits_for_restart"]), said
    assert {"upstreams.up (gone)", "tools.text (gone)"} == set(said["changed"]), said
    assert gateway.modern("tools/list")[1]["result"]["tools"] == []
    gateway.reload(socket=True)
    gateway.wait_for_tools("up__echo", "text__echo")


def test_a_file_that_takes_the_place_of_a_route(gateway):
    """Nobody can call any more where the operators' routes are, and the other way round."""
    for path in ("/health", "/metrics", "/admin/queue", "/sse", "/messages"):
        gateway.tables["server"]["path"] = path
        gateway.write_configuration()
        status, said = gateway.order("POST", "/admin/reload")
        assert status == 409 and "server.path" in said["error"]["problems"][0], (path, said)


# Changes by hand.

def test_what_was_ordered_by_hand_outlives_reloads(gateway):
    assert gateway.order("POST", "/admin/rate-limit", {"requests_per_second": 5000, "burst": 4000})[0] == 200
    assert gateway.order("POST", "/admin/tools/up__big/disable", {})[0] == 200
    assert gateway.order("POST", "/admin/circuit-breaker/enable", {"upstream": "up", "force": True})[0] == 200
    gateway.tables["limits"] = {"requests_per_second": 100, "burst": 90, "max_in_flight": 50}
    gateway.tables["upstreams.up"].update(timeout="9s", tools={"big": {"description": "Changed."}})
    gateway.reload()
    limit = gateway.order("GET", "/admin/rate-limit")[1]
    assert (limit["requests_per_second"], limit["burst"]) == (5000, 4000) and limit["file"] == {"requests_per_second": 100, "burst": 90}
    assert tool(gateway, "up__big") is None
    text, is_error = gateway.call("up__echo")
    assert is_error and "Nothing was sent" in text, text
    assert {one["what"] for one in gateway.health()["overrides"]} == {"rate-limit", "tool", "circuit-breaker"}
    # Another server under the same name is under the same order.
    server = scripted.serve_in_thread()
    gateway.tables["upstreams.up"]["url"] = f"http://127.0.0.1:{server.server_address[1]}/mcp"
    gateway.reload()
    assert gateway.call("up__echo")[1] and tool(gateway, "up__big") is None
    assert gateway.order("POST", "/admin/drain", {})[0] == 200
    gateway.reload()
    assert gateway.order("GET", "/admin/drain")[1]["draining"]
    assert gateway.order("DELETE", "/admin/overrides")[0] == 200
    assert gateway.order("GET", "/admin/rate-limit")[1]["requests_per_second"] == 100
    house.eventually(lambda: gateway.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False), 10, "calls")
    assert tool(gateway, "up__big")["description"] == "Changed."
    server.shutdown()
    server.server_close()


def test_an_order_about_what_a_reload_takes_away_waits_for_it(gateway):
    assert gateway.order("POST", "/admin/tools/up__big/disable", {})[0] == 200
    up = gateway.tables.pop("upstreams.up")
    gateway.reload()
    assert [one["subject"] for one in gateway.health()["overrides"]] == ["up__big"]
    gateway.tables["upstreams.up"] = up
    gateway.reload()
    gateway.wait_for_tools("up__echo")
    assert tool(gateway, "up__big") is None
    assert gateway.order("POST", "/admin/tools/up__big/enable", {})[0] == 200
    assert tool(gateway, "up__big")


@pytest.mark.parametrize("spoilt", ["[servr]\nlisten = 1\n", "[server\n", "\x00"])
def test_the_verb_reaches_the_gateway_whatever_the_file_says(make, spoilt):
    """As the unit's ExecReload has it: the gateway refuses, says so in its health and its log, and stays as it was."""
    one = make.gateway()
    # Where the socket is has to be in the file, or be the usual place.
    one.configuration.write_text(one.configuration.read_text() + spoilt)
    ran = subprocess.run(
        [str(house.BINARY), "reload", "--config", str(one.configuration)], capture_output=True, text=True, timeout=60)
    if spoilt != "[servr]\nlisten = 1\n":
        # No socket can be read in it, and no gateway is at the usual place.
        assert ran.returncode == 78 and str(one.configuration) in ran.stderr
        return
    assert ran.returncode == 1, ran
    assert "servr" in ran.stderr and "would be refused; asking the gateway that runs" in ran.stderr
    assert one.component("configuration")["status"] == "degraded"
    assert "the configuration was refused" in one.stdout()
    ran = subprocess.run(
        [str(house.BINARY), "status", "--config", str(one.configuration)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0 and "configuration" in ran.stdout


def test_a_file_that_names_no_gateway_leads_to_none(make):
    """Orders for a gateway whose file cannot be read must not be carried out at another one."""
    one = make.gateway()
    lost = one.home / "lost.toml"
    other = one.home / "other.toml"
    other.write_text("[server\n")
    for words in (["drain"], ["reload"], ["breaker", "disable"], ["queue", "purge", "failed"]):
        for file in (lost, other):
            ran = subprocess.run([str(house.BINARY), *words, "--config", str(file)], capture_output=True, text=True, timeout=60)
            assert ran.returncode == 78 and "asking the gateway" not in ran.stderr, (words, ran)
    assert one.order("GET", "/admin/drain")[1]["draining"] is False
