# Licensed under the Apache License 2.0; see LICENSE.
"""Child processes: their names, and that none outlives the gateway."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

import gateway as house
from upstreams import family


def pids_in(path):
    return list(json.loads(path.read_text()).values())


@pytest.mark.parametrize("way", ["kill -9", "TERM"])
@pytest.mark.parametrize("kind", ["obedient", "stubborn"])
def test_no_child_outlives_the_gateway(make, tmp_path, way, kind):
    places = [tmp_path / "one", tmp_path / "two"]
    more = ["stubborn"] if kind == "stubborn" else []
    gateway = make.gateway({place.name: family(place, *more) for place in places})
    gateway.wait_for_tools("one__pid", "two__pid")
    offspring = house.descendants(gateway.process.pid)
    for place in places:
        assert all(house.is_alive(pid) for pid in pids_in(place))
        assert set(pids_in(place)) <= set(offspring), "the keeper should be between the gateway and its servers"
    if way == "TERM":
        assert gateway.terminate() == 0
    else:
        gateway.kill()
    house.eventually(lambda: not any(house.is_alive(pid) for pid in offspring), 10, "the end of every child")


def test_children_of_a_restarted_gateway_are_new_ones(make, tmp_path):
    place = tmp_path / "pids"
    gateway = make.gateway({"one": family(place)})
    gateway.wait_for_tools("one__pid")
    before = pids_in(place)
    gateway.restart()
    gateway.wait_for_tools("one__pid")
    house.eventually(lambda: not any(house.is_alive(pid) for pid in before), 10, "the end of the first ones")
    assert not set(pids_in(place)) & set(before)


def pgrep():
    ran = subprocess.run(["pgrep", "mcp-gateway"], capture_output=True, text=True)
    return {int(pid) for pid in ran.stdout.split()}


def test_only_the_serving_process_bears_the_name(make, tmp_path):
    """What the playbook types is `top -p $(pgrep mcp-gateway)`. Other gateways of this machine are left out of the count."""
    place = tmp_path / "pids"
    gateway = make.gateway({"one": family(place)}, ["text", "units"], start=False, cold=True)
    gateway.start(wait=False)
    names = {}

    def ready():
        for pid in house.descendants(gateway.process.pid):
            try:
                names.setdefault(pid, []).append(pathlib.Path(f"/proc/{pid}/comm").read_text().strip())
            except (FileNotFoundError, ProcessLookupError):
                pass
        try:
            return {"text__echo", "one__pid"} <= set(gateway.wait_for_tools(seconds=1))
        except (OSError, AssertionError):
            return False

    house.eventually(ready, 60, "a start with nothing compiled")
    assert names, "the server and its keeper should have been seen"
    for pid, seen in names.items():
        assert "mcp-gateway" not in seen[-1], f"a child was called {seen}"
    own = {gateway.process.pid, *house.descendants(gateway.process.pid)}
    assert pgrep() & own == {gateway.process.pid}


def test_another_verb_renames_itself(make):
    gateway = make.gateway(tools=["text"])
    before = pgrep()
    house.run("validate-config", gateway.configuration)
    assert gateway.process.pid in before


def test_descriptors_do_not_leak_into_children(make, tmp_path):
    place = tmp_path / "pids"
    gateway = make.gateway({"one": family(place)}, ["text"])
    gateway.wait_for_tools("one__pid")
    server = json.loads(place.read_text())["self"]
    for link in pathlib.Path(f"/proc/{server}/fd").iterdir():
        target = str(link.readlink())
        assert "queue.db" not in target and "control.sock" not in target, target
        assert int(link.name) < 3 or not target.startswith("socket:"), f"descriptor {link.name} is {target}"


def test_a_process_that_fails_is_told_and_counted(make, tmp_path):
    place = tmp_path / "pids"
    gateway = make.gateway({"one": family(place)})
    gateway.wait_for_tools("one__pid")
    told = lambda: re.findall(r".* warning upstreams: its process failed and is started again .*", gateway.stdout())
    assert gateway.metric("mcp_upstream_restarts_total", upstream="one") == 0
    os.kill(json.loads(place.read_text())["self"], signal.SIGKILL)
    house.eventually(told, 10, "the line")
    assert "upstream=one" in told()[0] and "signal 9" in told()[0], told()
    house.eventually(lambda: not gateway.call("one__pid")[1], 40, "a new process")
    assert gateway.metric("mcp_upstream_restarts_total", upstream="one") == 1
    # One that we end has not failed.
    gateway.tables["upstreams.one"] = family(place, "stubborn")
    old = json.loads(place.read_text())["self"]
    gateway.reload()
    house.eventually(lambda: not house.is_alive(old) and not gateway.call("one__pid")[1], 40, "another process")
    assert gateway.metric("mcp_upstream_restarts_total", upstream="one") == 0, "another upstream begins anew"
    assert gateway.terminate() == 0
    assert len(told()) == 1, told()


def test_repeated_calls_leave_no_zombies_and_no_descriptors(make, tmp_path):
    place = tmp_path / "pids"
    gateway = make.gateway({"one": family(place)}, ["text"])
    gateway.wait_for_tools("one__pid", "text__echo")
    for _ in range(5):
        gateway.call("one__die")
        house.eventually(lambda: not gateway.call("one__pid")[1], 40, "a new process")
    root = pathlib.Path(f"/proc/{gateway.process.pid}")
    count = len(list((root / "fd").iterdir()))
    gateway.call("one__die")
    house.eventually(lambda: not gateway.call("one__pid")[1], 40, "a new process")
    house.eventually(lambda: len(list((root / "fd").iterdir())) <= count + 2, 10, "as few descriptors as before")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        children = [pid for pid in house.descendants(gateway.process.pid) if not house.is_alive(pid)]
        if not children:
            break
    assert not children, "zombies are left"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGPIPE])
def test_signals_of_a_healthy_day_end_nothing(make, number):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    gateway.signal(number)
    assert gateway.call("text__echo", {"text": "still here"}) == ("still here", False)
    assert gateway.process.poll() is None


@pytest.mark.parametrize("kind", ["never", "soon"])
def test_a_server_that_keeps_ending_is_started_less_and_less_often(make, tmp_path, kind):
    """One ends before it has said anything, the other right after it was greeted."""
    starts = tmp_path / "starts"
    ending = "import sys, json\nopen(sys.argv[1], 'a').write('x')\n"
    if kind == "soon":
        ending += (
            "for line in sys.stdin:\n m = json.loads(line)\n"
            " if m.get('method') == 'initialize': r = {'protocolVersion': '2025-06-18', 'capabilities': {'tools': {}},"
            " 'serverInfo': {'name': 's', 'version': '1'}}\n"
            " elif m.get('method') == 'tools/list': r = {'tools': [{'name': 'do', 'inputSchema': {'type': 'object'}}]}\n"
            " else: r = None\n"
            " if 'id' in m: print(json.dumps({'jsonrpc': '2.0', 'id': m['id'], **({'result': r} if r else"
            " {'error': {'code': -32601, 'message': 'no'}})}), flush=True)\n"
            " if m.get('method') == 'tools/list': sys.exit(3)\n")
    gateway = make.gateway({"dead": {"command": sys.executable, "args": ["-c", ending, str(starts)]}})
    began = time.monotonic()
    house.eventually(lambda: starts.exists() and len(starts.read_text()) >= 4, 30, "the first starts")
    house.eventually(lambda: time.monotonic() - began > 8, 20, "some seconds")
    count = len(starts.read_text())
    assert count <= 10, f"{count} starts in eight seconds"
    if kind == "soon":
        asked = time.monotonic()
        gateway.call("dead__do", {})
        assert time.monotonic() - asked < 8, "a call does not wait for one start after the other"
