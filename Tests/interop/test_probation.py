# Licensed under the Apache License 2.0; see LICENSE.
"""A reload that makes things clearly worse is taken back by itself, and what is no fault of it is not."""

import concurrent.futures
import signal
import sys
import time

import pytest

import gateway as house
from background import Repeated
from scripted import Quiet, WithSessions
from upstreams import linger

X = {"text": "x"}
GOOD = ('{"text": "x"}', False)


class Broken(Quiet):
    """Lists its tools, and answers each call with something that is no answer."""

    def carry_out(self, tool, arguments, meta):
        self.reply(200, b"{this is not JSON")


class Slow(Quiet):
    """Takes most of a second for each call."""

    def carry_out(self, tool, arguments, meta):
        time.sleep(0.8)
        return super().carry_out(tool, arguments, meta)


@pytest.fixture
def gateway(make):
    gateway = make.gateway({"up": {"url": make.scripted(WithSessions)}}, ["text"])
    gateway.wait_for_tools("up__echo", "text__echo")
    for _ in range(30):
        assert gateway.call("up__echo", X) == GOOD
    return gateway


def comes_back(gateway, seconds=15):
    house.eventually(lambda: gateway.call("up__echo", X, timeout=40) == GOOD, seconds, "the former configuration")


def is_told(gateway):
    house.eventually(lambda: "taken back" in gateway.component("configuration")["detail"], 5, "the word in health")
    component = gateway.component("configuration")
    assert component["status"] == "degraded", component
    lines = [line for line in (gateway.home / "log/app.log").read_text().splitlines() if "taken back" in line]
    assert len(lines) == 1 and " error " in lines[0], lines
    rows = lambda: gateway.sql("SELECT message FROM error_log WHERE error_type = 'reload_taken_back'").splitlines()
    house.eventually(lambda: len(rows()) == 1, 10, "the row")
    return component["detail"]


def test_another_server_whose_tool_fails(gateway, make):
    good = dict(gateway.tables["upstreams.up"])
    gateway.tables["upstreams.up"]["url"] = make.scripted(Broken)
    gateway.tables["limits"] = {"max_in_flight": 50}
    gateway.tables["upstreams.extra"] = {"url": make.scripted()}
    gateway.tables["tools.units"] = {"module": house.MODULES / "units.wasm"}
    said = gateway.reload()
    assert said["probation_seconds"] == 60, said
    assert "watched" in gateway.component("configuration")["detail"]
    gateway.wait_for_tools("extra__echo", "units__convert")
    house.eventually(lambda: gateway.call("up__echo", X)[1], 10, "the harm")
    comes_back(gateway)
    detail = is_told(gateway)
    assert "failed" in detail and "before" in detail, detail
    # All of it, not only what was to blame.
    house.eventually(lambda: gateway.tool("extra__echo") is None and gateway.tool("units__convert") is None, 5, "all of it")
    assert gateway.component("upstream:extra") is None
    assert {gateway.call("up__echo", X) for _ in range(40)} == {GOOD}
    # The file is not what is in force. Corrected, it is in force again, and all is well.
    gateway.tables["upstreams.up"] = good
    said = gateway.reload()
    assert sorted(said["changed"]) == ["limits.max_in_flight", "tools.units (new)", "upstreams.extra (new)"], said
    assert gateway.component("configuration")["status"] == "healthy"


def test_a_tiny_timeout(make):
    gateway = make.gateway({"up": {"url": make.scripted(WithSessions)}, "slow": {"url": make.scripted(Slow)}})
    gateway.wait_for_tools("up__echo", "slow__echo")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert set(pool.map(lambda _: gateway.call("slow__echo", X), range(30))) == {GOOD}
    session = gateway.call("up__count")
    gateway.tables["upstreams.slow"]["timeout"] = "100ms"
    gateway.hang_up()
    house.eventually(lambda: gateway.call("slow__echo", X)[1], 10, "the harm")
    house.eventually(lambda: gateway.call("slow__echo", X) == GOOD, 20, "the former timeout")
    is_told(gateway)
    assert gateway.call("up__count") == session, "a server that is not meant goes on"


def test_another_server_that_is_much_slower(gateway, make):
    gateway.tables["upstreams.up"]["url"] = make.scripted(Slow)
    gateway.reload()
    comes_back(gateway)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: gateway.call("up__echo", X, timeout=40), range(60)))

    def is_quick():
        began = time.monotonic()
        return gateway.call("up__echo", X) == GOOD and time.monotonic() - began < 0.5

    house.eventually(is_quick, 20, "the former server")
    assert "P95" in is_told(gateway)


def test_probation_can_be_turned_off(make):
    gateway = make.gateway({"up": {"url": make.scripted()}}, sections={"server": {"reload_probation": "0s"}})
    gateway.wait_for_tools("up__echo")
    for _ in range(30):
        assert gateway.call("up__echo", X) == GOOD
    gateway.tables["upstreams.up"]["url"] = make.scripted(Broken)
    assert gateway.reload()["probation_seconds"] is None
    assert "watched" not in gateway.component("configuration")["detail"]
    house.eventually(lambda: gateway.call("up__echo", X)[1], 10, "the harm")
    stays(gateway, lambda: gateway.call("up__echo", X)[1])
    assert gateway.component("configuration")["status"] == "healthy"


def stays(gateway, condition, seconds=3):
    """Whether it is so while some looks of the watch go by, of which there is one a second."""
    began = gateway.health()["uptime_seconds"]
    while gateway.health()["uptime_seconds"] < began + seconds:
        assert condition()


def test_what_has_passed_is_not_taken_back_later(make):
    upstream = make.server(house.scripted_server())
    gateway = make.gateway({"up": {"url": upstream.url}}, sections={"server": {"reload_probation": "2s"}})
    gateway.wait_for_tools("up__echo")
    gateway.tables["limits"] = {"max_in_flight": 50}
    assert gateway.reload()["probation_seconds"] == 2
    for _ in range(30):
        assert gateway.call("up__echo", X) == GOOD
    house.eventually(lambda: "watched" not in gateway.component("configuration")["detail"], 10, "the end of the probation")
    upstream.kill()
    stays(gateway, lambda: gateway.call("up__echo", X)[1])
    assert gateway.component("configuration")["status"] == "healthy"
    assert gateway.reload()["changed"] == []


def test_what_was_bad_before_is_no_fault_of_a_reload(make):
    upstream = make.server(house.scripted_server())
    gateway = make.gateway({"up": {"url": upstream.url}}, ["text"])
    gateway.wait_for_tools("up__echo")
    upstream.kill()
    for _ in range(30):
        assert gateway.call("up__echo", X)[1]
    gateway.tables["limits"] = {"max_in_flight": 50}
    gateway.reload()
    for _ in range(30):
        assert gateway.call("up__echo", X)[1]
    stays(gateway, lambda: gateway.call("up__echo", X)[1])
    assert gateway.component("configuration")["status"] == "healthy"


def test_refusals_by_limits_and_mistakes_of_clients_are_no_harm(gateway):
    gateway.tables["limits"] = {"requests_per_second": 10, "burst": 1}
    gateway.reload()
    for _ in range(40):
        gateway.modern("tools/call", {"name": "text__echo", "arguments": X})
    for _ in range(40):
        gateway.modern("tools/call", {"name": "no_such_tool", "arguments": X})
    stays(gateway, lambda: gateway.component("configuration")["status"] == "healthy")


def test_a_correction_while_it_is_watched_counts_for_itself(gateway, make):
    good = gateway.tables["upstreams.up"]["url"]
    gateway.tables["upstreams.up"]["url"] = make.scripted(Broken)
    gateway.reload()
    for _ in range(10):
        gateway.call("up__echo", X)
    gateway.tables["upstreams.up"]["url"] = good
    gateway.reload()
    comes_back(gateway)
    assert {gateway.call("up__echo", X) for _ in range(40)} == {GOOD}
    stays(gateway, lambda: gateway.call("up__echo", X) == GOOD)
    assert gateway.component("configuration")["status"] == "healthy"
    assert "taken back" not in gateway.stdout()


def test_a_bad_reload_followed_by_another_one_is_still_taken_back(gateway, make):
    """Two files in one minute are usual where a machine writes them; the second is no excuse for the first."""
    gateway.tables["upstreams.up"]["url"] = make.scripted(Broken)
    gateway.reload()
    gateway.tables["limits"] = {"max_in_flight": 50}
    gateway.hang_up()
    house.eventually(lambda: gateway.call("up__echo", X)[1], 10, "the harm")
    comes_back(gateway)
    is_told(gateway)


def test_what_was_ordered_by_hand_outlives_a_reload_that_is_taken_back(gateway, make):
    gateway.tables["upstreams.up"]["url"] = make.scripted(Broken)
    gateway.tables["limits"] = {"requests_per_second": 900_000}
    gateway.reload()
    assert gateway.order("POST", "/admin/tools/up__big/disable", {})[0] == 200
    assert gateway.order("POST", "/admin/rate-limit", {"requests_per_second": 500_000, "burst": 400_000})[0] == 200
    house.eventually(lambda: gateway.call("up__echo", X)[1], 10, "the harm")
    comes_back(gateway)
    is_told(gateway)
    assert gateway.tool("up__big") is None
    limit = gateway.order("GET", "/admin/rate-limit")[1]
    assert limit["requests_per_second"] == 500_000 and limit["file"] is None, limit


@pytest.mark.parametrize("seconds", [1, 4])
def test_a_process_that_takes_its_time_to_start_is_no_harm(make, seconds):
    """Every process does that is started anew because its line in the file has changed."""
    gateway = make.gateway({"up": linger()})
    gateway.wait_for_tools("up__shout")
    right, call = ("X", False), lambda: gateway.call("up__shout", X, timeout=40)
    assert {call() for _ in range(30)} == {right}

    server = linger()
    late = f"import os, sys, time; time.sleep({seconds}); os.execv({server['command']!r}, {[server['command'], *server['args']]!r})"
    with Repeated(0, call), Repeated(0, call):
        gateway.tables["upstreams.up"] = {"command": sys.executable, "args": ["-c", late]}
        gateway.reload()
        house.eventually(lambda: call() == right, 20, "calls that work")
        stays(gateway, lambda: gateway.component("configuration")["status"] == "healthy")
    assert "taken back" not in gateway.stdout()


def test_a_stop_while_a_reload_is_watched(gateway, make):
    gateway.tables["upstreams.up"]["url"] = make.scripted(Broken)
    gateway.reload()
    assert gateway.terminate() == 0
    # The file is what somebody wanted; there is nobody any more who would take it back.
    gateway.start()
    house.eventually(lambda: gateway.call("up__echo", X)[1], 20, "the file as it is")
    gateway.signal(signal.SIGHUP)
    assert "taken back" not in gateway.stdout()
