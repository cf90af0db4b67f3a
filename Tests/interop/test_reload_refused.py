# Licensed under the Apache License 2.0; see LICENSE.
"""What a reload leaves as it is: what waits for a restart, a bad file as a whole, what was ordered by hand."""

import signal

import pytest

import gateway as house


@pytest.fixture
def gateway(make):
    gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"])
    gateway.wait_for_tools("up__echo", "text__echo")
    return gateway


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
    assert gateway.tool("renamed__echo") is None
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

def test_what_was_ordered_by_hand_outlives_reloads(gateway, make):
    assert gateway.order("POST", "/admin/rate-limit", {"requests_per_second": 5000, "burst": 4000})[0] == 200
    assert gateway.order("POST", "/admin/tools/up__big/disable", {})[0] == 200
    assert gateway.order("POST", "/admin/circuit-breaker/enable", {"upstream": "up", "force": True})[0] == 200
    gateway.tables["limits"] = {"requests_per_second": 100, "burst": 90, "max_in_flight": 50}
    gateway.tables["upstreams.up"].update(timeout="9s", tools={"big": {"description": "Changed."}})
    gateway.reload()
    limit = gateway.order("GET", "/admin/rate-limit")[1]
    assert (limit["requests_per_second"], limit["burst"]) == (5000, 4000) and limit["file"] == {"requests_per_second": 100, "burst": 90}
    assert gateway.tool("up__big") is None
    text, is_error = gateway.call("up__echo")
    assert is_error and "Nothing was sent" in text, text
    assert {one["what"] for one in gateway.health()["overrides"]} == {"rate-limit", "tool", "circuit-breaker"}
    # Another server under the same name is under the same order.
    gateway.tables["upstreams.up"]["url"] = make.scripted()
    gateway.reload()
    assert gateway.call("up__echo")[1] and gateway.tool("up__big") is None
    assert gateway.order("POST", "/admin/drain", {})[0] == 200
    gateway.reload()
    assert gateway.order("GET", "/admin/drain")[1]["draining"]
    assert gateway.order("DELETE", "/admin/overrides")[0] == 200
    assert gateway.order("GET", "/admin/rate-limit")[1]["requests_per_second"] == 100
    house.eventually(lambda: gateway.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False), 10, "calls")
    assert gateway.tool("up__big")["description"] == "Changed."


def test_an_order_about_what_a_reload_takes_away_waits_for_it(gateway):
    assert gateway.order("POST", "/admin/tools/up__big/disable", {})[0] == 200
    up = gateway.tables.pop("upstreams.up")
    gateway.reload()
    assert [one["subject"] for one in gateway.health()["overrides"]] == ["up__big"]
    gateway.tables["upstreams.up"] = up
    gateway.reload()
    gateway.wait_for_tools("up__echo")
    assert gateway.tool("up__big") is None
    assert gateway.order("POST", "/admin/tools/up__big/enable", {})[0] == 200
    assert gateway.tool("up__big")


@pytest.mark.parametrize("spoilt", ["[servr]\nlisten = 1\n", "[server\n", "\x00"])
def test_the_verb_reaches_the_gateway_whatever_the_file_says(make, spoilt):
    """As the unit's ExecReload has it: the gateway refuses, says so in its health and its log, and stays as it was."""
    one = make.gateway()
    # Where the socket is has to be in the file, or be the usual place.
    one.configuration.write_text(one.configuration.read_text() + spoilt)
    if spoilt != "[servr]\nlisten = 1\n":
        # No socket can be read in it, and no gateway is at the usual place.
        assert str(one.configuration) in one.verb("reload", code=78).stderr
        return
    ran = one.verb("reload", code=1)
    assert "servr" in ran.stderr and "would be refused; asking the gateway that runs" in ran.stderr
    assert one.component("configuration")["status"] == "degraded"
    assert "the configuration was refused" in one.stdout()
    assert "configuration" in one.verb("status").stdout


def test_a_file_that_names_no_gateway_leads_to_none(make):
    """Orders for a gateway whose file cannot be read must not be carried out at another one."""
    one = make.gateway()
    lost = one.home / "lost.toml"
    other = one.home / "other.toml"
    other.write_text("[server\n")
    for words in (["drain"], ["reload"], ["breaker", "disable"], ["queue", "purge", "failed"]):
        for file in (lost, other):
            ran = house.run(*words, "--config", file, code=78)
            assert "asking the gateway" not in ran.stderr, (words, ran)
    assert one.order("GET", "/admin/drain")[1]["draining"] is False
