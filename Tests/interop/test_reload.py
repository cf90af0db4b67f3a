# Licensed under the Apache License 2.0; see LICENSE.
"""A new configuration while the gateway serves: nobody's call fails, what is not changed is not touched, what is gone ends well."""

import concurrent.futures
import itertools
import json
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

import gateway as house
import scripted
import sdk
import wire
from background import Crowd, slow_call
from operators import curl
from scripted import WithSessions
from upstreams import family, linger


class Callers(Crowd):
    """Clients of everything that a gateway has."""

    def __init__(self, gateway, pid):
        super().__init__(self.module, self.kept, self.process, self.session, self.listing, self.operator)
        self.gateway, self.pid = gateway, str(pid)

    def module(self):
        while True:
            yield self.gateway.call("text__echo", {"text": "x"}), ("x", False)

    def kept(self):
        with wire.Connection(self.gateway.port) as connection:
            while True:
                connection.send(wire.modern_request("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}))
                message = connection.response().json
                yield wire.text_of(message) if "result" in message else message, '{"text": "x"}'

    def process(self):
        while True:
            yield self.gateway.call("family__pid"), (self.pid, False)

    def session(self):
        session = self.gateway.legacy()
        for id in itertools.count(2):
            yield session.call("up__echo", {"text": "x"}, id), ('{"text": "x"}', False)

    def listing(self):
        while True:
            names = [tool["name"] for tool in self.gateway.modern("tools/list")[1]["result"]["tools"]]
            yield [name for name in ("text__echo", "up__echo", "family__pid") if name not in names], []

    def operator(self):
        while True:
            yield (self.gateway.get("/health").status, self.gateway.get("/metrics").status), (200, 200)


def test_ten_reloads_under_load_fail_no_request(make, tmp_path):
    pids = tmp_path / "pids"
    gateway = make.gateway({"up": {"url": make.scripted()}, "family": family(pids)}, ["text"])
    gateway.wait_for_tools("text__echo", "up__echo", "family__pid")
    extra = {"url": make.scripted()}
    with Callers(gateway, json.loads(pids.read_text())["self"]) as crowd:
        crowd.goes_on()
        for number in range(10):
            gateway.tables["limits"] = {"max_in_flight": 200 + number, "requests_per_second": 10_000 + number, "burst": 5000}
            gateway.tables["tools.text"]["timeout"] = f"{3 + number}s"
            gateway.tables["upstreams.up"]["timeout"] = f"{20 + number}s"
            gateway.tables["upstreams.up"]["tools"] = {
                "echo": {"description": f"Number {number}.", "rate": f"{9000 + number}/s", "max_in_flight": 90 + number}}
            gateway.tables.pop("upstreams.extra", None)
            if number % 2 == 0:
                gateway.tables["upstreams.extra"] = extra
                gateway.write_configuration()
                status, said = curl("-X", "POST", f"http://localhost:{gateway.port}/admin/reload")
                assert status == 200 and {"limits.max_in_flight", "tools.text", "upstreams.up"} <= set(said["changed"]), said
                assert "upstreams.extra (new)" in said["changed"] and said["waits_for_restart"] == [], said
                gateway.wait_for_tools("extra__echo")
            else:
                gateway.hang_up()
                assert gateway.tool("extra__echo") is None
            assert gateway.tool("up__echo")["description"] == f"Number {number}."
            crowd.goes_on()
    assert crowd.wrong == [], (len(crowd.wrong), crowd.wrong[:5], crowd.done)
    assert gateway.component("configuration")["status"] == "healthy"


def test_what_the_file_does_not_change_keeps_its_process_and_its_session(make, tmp_path):
    pids = tmp_path / "pids"
    gateway = make.gateway({"up": {"url": make.scripted(WithSessions)}, "family": family(pids)}, ["text"])
    gateway.wait_for_tools("up__count", "family__pid", "text__echo")
    before = gateway.call("up__count"), gateway.call("family__pid")
    assert before == (("session-1", False), (str(json.loads(pids.read_text())["self"]), False))
    gateway.tables["limits"] = {"max_in_flight": 5}
    gateway.tables["upstreams.other"] = {"url": make.scripted()}
    gateway.reload()
    gateway.wait_for_tools("other__echo")
    assert (gateway.call("up__count"), gateway.call("family__pid")) == before
    # What is said about calls to a server says nothing about the server.
    for name in ("up", "family"):
        gateway.tables[f"upstreams.{name}"].update(
            timeout="9s", prefix=f"the-{name}", deny_tools=["big"], retry={"attempts": 2}, circuit_breaker={"failures": 0.9})
    gateway.reload()
    assert (gateway.call("the-up__count"), gateway.call("the-family__pid")) == before
    assert gateway.tool("the-up__big") is None and gateway.tool("up__count") is None
    for number in range(3):
        gateway.hang_up()
    assert (gateway.call("the-up__count"), gateway.call("the-family__pid")) == before


def test_the_same_file_once_more_changes_nothing(make):
    gateway = make.gateway({"up": {"url": make.scripted(WithSessions)}}, ["text"])
    gateway.wait_for_tools("up__count", "text__echo")
    said = gateway.reload()
    assert said["changed"] == [] and said["waits_for_restart"] == [] and said["probation_seconds"] is None
    assert "nothing to change" in said["words"]
    assert gateway.call("up__count") == ("session-1", False)


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_call_on_its_way_to_a_server_that_is_removed_ends_well(make, era):
    gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"])
    gateway.wait_for_tools("up__gate", "text__echo")
    caller = gateway.legacy() if era == "legacy" else gateway
    scripted.gate.clear()
    before = scripted.calls["gate"]
    thread, answers = slow_call(caller, "up__gate", {"text": "late"}) if era == "modern" else session_call(caller)
    house.eventually(lambda: scripted.calls["gate"] > before, 10, "the arrival of the call")
    del gateway.tables["upstreams.up"]
    assert "upstreams.up (gone)" in gateway.reload()["changed"]
    assert gateway.component("upstream:up") is None
    assert gateway.tool("up__gate") is None and gateway.tool("text__echo")
    status, message = gateway.modern("tools/call", {"name": "up__echo", "arguments": {}})
    assert message["error"]["code"] == -32602, message
    assert not answers
    scripted.gate.set()
    thread.join(20)
    assert answers == [('{"text": "late"}', False)]


def session_call(session):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(session.call("up__gate", {"text": "late"})), daemon=True)
    thread.start()
    return thread, answers


def test_a_process_that_is_removed_ends_its_call_and_then_itself(make, tmp_path):
    pids = tmp_path / "pids"
    gateway = make.gateway({"first": linger(), "family": family(pids)})
    gateway.wait_for_tools("first__linger", "family__pid")
    child = next(pid for pid in house.descendants(gateway.process.pid) if b"mcp1_server" in command_line(pid))
    thread, answers = slow_call(gateway, "first__linger", {"seconds": 1.5})
    house.eventually(lambda: in_flight(gateway, "first") == 1, 10, "the call's being on its way")
    del gateway.tables["upstreams.first"], gateway.tables["upstreams.family"]
    gateway.reload()
    whole = json.loads(pids.read_text())
    house.eventually(lambda: not any(house.is_alive(pid) for pid in whole.values()), 20, "the end of an idle process")
    thread.join(20)
    assert answers == [("done lingering", False)]
    house.eventually(lambda: not house.is_alive(child), 20, "the end of the other")


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def in_flight(gateway, name):
    _, said = gateway.order("GET", "/admin/upstreams")
    return next((one["in_flight"] for one in said["upstreams"] if one["name"] == name), None)


def test_a_process_whose_command_changes_is_replaced(make, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    gateway = make.gateway({"family": family(first)}, ["text"])
    gateway.wait_for_tools("family__pid")
    old = json.loads(first.read_text())
    gateway.tables["upstreams.family"] = family(second)
    assert gateway.reload()["changed"] == ["upstreams.family"]
    assert gateway.tool("family__pid"), "its tools stay listed while the new one starts"
    text = other_process(gateway, old["self"])
    assert text == str(json.loads(second.read_text())["self"])
    house.eventually(lambda: not any(house.is_alive(pid) for pid in old.values()), 20, "the end of the old ones")
    for change in ({"env": {"A": "1"}}, {"cwd": str(tmp_path)}):
        before = gateway.call("family__pid")[0]
        gateway.tables["upstreams.family"].update(change)
        gateway.reload()
        other_process(gateway, before)
        house.eventually(lambda: not house.is_alive(int(before)), 20, "the end of the one before")


def other_process(gateway, before):
    """The pid of the one that has taken the place."""
    def pid():
        text, is_error = gateway.call("family__pid")
        return text if not is_error and text != str(before) else None

    return house.eventually(pid, 10, "the new process")


def test_a_call_on_its_way_to_a_process_that_is_replaced_ends_well(make):
    gateway = make.gateway({"first": linger()})
    gateway.wait_for_tools("first__linger")
    thread, answers = slow_call(gateway, "first__linger", {"seconds": 1.5})
    house.eventually(lambda: in_flight(gateway, "first") == 1, 10, "the call's being on its way")
    gateway.tables["upstreams.first"] = linger(env={"A": "1"})
    gateway.reload()
    assert house.eventually(lambda: not gateway.call("first__add", {"a": 1, "b": 2})[1], 10, "the new process")
    thread.join(20)
    assert answers == [("done lingering", False)]


@pytest.mark.parametrize("kind", ["http", "stdio"])
def test_no_call_fails_while_a_server_is_replaced(make, kind):
    """By the old one as long as the new one is not there, or a moment later by the new one."""
    places = [{"url": make.scripted()}, {"url": make.scripted()}] if kind == "http" else [linger(), linger(env={"A": "1"})]
    name, arguments = ("up__echo", {"text": "x"}) if kind == "http" else ("up__shout", {"text": "x"})
    gateway = make.gateway({"up": places[0]}, sections={"server": {"reload_probation": "0s"}})
    gateway.wait_for_tools(name)
    right = gateway.call(name, arguments)

    def calls():
        while True:
            yield gateway.call(name, arguments), right

    with Crowd(calls, calls) as crowd:
        for place in (places[1], places[0], places[1]):
            gateway.tables["upstreams.up"] = place
            gateway.reload()
            crowd.goes_on(21)
    assert crowd.wrong == [], (len(crowd.wrong), crowd.wrong[0])


def test_a_server_that_moves_is_called_at_its_new_place(make):
    gateway = make.gateway({"up": {"url": make.scripted(WithSessions)}})
    gateway.wait_for_tools("up__count", "up__gate")
    assert gateway.call("up__count") == ("session-1", False)
    scripted.gate.clear()
    before = scripted.calls["gate"]
    thread, answers = slow_call(gateway, "up__gate", {"text": "old"})
    house.eventually(lambda: scripted.calls["gate"] > before, 10, "the arrival of the call")
    gateway.tables["upstreams.up"] = {"url": make.scripted(), "headers": {"X-New": "1"}}
    gateway.reload()
    house.eventually(lambda: gateway.call("up__count", {"tool": "nothing"}) == ("0", False), 10, "the new place")
    scripted.gate.set()
    thread.join(20)
    assert answers == [('{"text": "old"}', False)]


def test_old_clients_that_listen_hear_of_other_tools(make):
    gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"])
    gateway.wait_for_tools("up__echo", "text__echo")
    session = gateway.legacy()
    connection = wire.Connection(gateway.port)
    connection.send(wire.request("GET", "/mcp", {**session.headers, "Accept": "text/event-stream"}))
    with wire.Stream(connection, "GET") as stream:
        assert stream.status == 200
        for change in (
                lambda tables: tables.update({"upstreams.extra": {"url": make.scripted()}}),
                lambda tables: tables["upstreams.up"].update(tools={"echo": {"description": "Sharper."}}),
                lambda tables: tables["upstreams.up"].update(deny_tools=["big"]),
                lambda tables: tables.pop("upstreams.extra"),
                lambda tables: tables["server"].update(compact_tools=True)):
            change(gateway.tables)
            gateway.reload()
            assert stream.message(10)["method"] == "notifications/tools/list_changed"
            drain(stream)
        gateway.tables["limits"] = {"max_in_flight": 5}
        gateway.reload()
        assert not drain(stream), "the tools are the same as before"


def drain(stream, seconds=0.5):
    """What else comes, until it is quiet for a while."""
    messages = []
    try:
        while message := stream.message(seconds):
            messages.append(message)
    except TimeoutError:
        return messages
    raise AssertionError("the stream ended")


def test_new_clients_that_listen_hear_of_other_tools(make):
    gateway = make.gateway({"up": {"url": make.scripted()}})
    gateway.wait_for_tools("up__echo")
    with sdk.Client("mcp2", f"http://127.0.0.1:{gateway.port}/mcp", wire.MODERN) as client:
        assert client.order(do="listen", tools=True)["honoured"]
        gateway.tables["upstreams.extra"] = {"url": make.scripted()}
        gateway.reload()
        house.eventually(lambda: [one for one in client.heard("event") if "Tools" in one["event"]], 10, "the news")
        house.eventually(lambda: "extra__echo" in client.list(), 10, "the new tools")


# Modules.

def test_a_module_that_was_replaced_on_disk_is_taken_up(make):
    gateway = make.gateway(start=False)
    module = gateway.home / "mine.wasm"
    shutil.copy(house.MODULES / "text.wasm", module)
    gateway.tables["tools.mine"] = {"module": module}
    gateway.start()
    gateway.wait_for_tools("mine__echo")
    shutil.copy(house.MODULES / "units.wasm", gateway.home / "new.wasm")
    (gateway.home / "new.wasm").rename(module)
    assert gateway.call("mine__echo", {"text": "still"}) == ("still", False), "not before somebody says so"
    said = gateway.reload()
    assert any("tools.mine" in one for one in said["changed"]), said
    names = gateway.wait_for_tools("mine__convert")
    assert "mine__echo" not in names
    assert not gateway.call("mine__convert", {"value": 1.5, "from": "km", "to": "m"})[1]
    # In place this time, as `cp` does it.
    shutil.copy(house.MODULES / "text.wasm", module)
    gateway.hang_up()
    gateway.wait_for_tools("mine__echo")
    assert gateway.call("mine__echo", {"text": "back"}) == ("back", False)


@pytest.mark.parametrize("case", ["rubbish", "truncated", "digest"])
def test_a_module_that_cannot_be_loaded_changes_nothing_at_all(make, case):
    gateway = make.gateway({"up": {"url": make.scripted(WithSessions)}}, ["text"])
    gateway.wait_for_tools("up__count", "text__echo")
    module = gateway.home / "bad.wasm"
    whole = (house.MODULES / "units.wasm").read_bytes()
    module.write_bytes({"rubbish": b"\0asm\1\0\0\0 and then rubbish", "truncated": whole[:len(whole) // 2], "digest": whole}[case])
    gateway.tables["tools.bad"] = {"module": module, **({"sha256": "0" * 64} if case == "digest" else {})}
    gateway.tables["limits"] = {"requests_per_second": 0.001, "burst": 1}
    gateway.tables["upstreams.extra"] = {"url": make.scripted()}
    del gateway.tables["upstreams.up"]
    said = gateway.reload(409)
    assert "tools.bad" in said["error"]["message"], said
    assert gateway.component("configuration")["status"] == "degraded"
    for _ in range(3):
        assert gateway.call("up__count") == ("session-1", False)
        assert gateway.call("text__echo", {"text": "x"}) == ("x", False)
    assert gateway.tool("extra__echo") is None
    if case == "digest":
        assert "tool_pin_mismatch" in (gateway.home / "log/security.log").read_text()
    gateway.tables["tools.bad"] = {"module": house.MODULES / "units.wasm"}
    del gateway.tables["limits"]
    gateway.reload()
    gateway.wait_for_tools("bad__convert", "extra__echo")
    assert gateway.component("configuration")["status"] == "healthy"


def test_health_tells_of_the_modules_in_force_whatever_was_refused(make):
    gateway = make.gateway(start=False)
    module = gateway.home / "mine.wasm"
    shutil.copy(house.MODULES / "text.wasm", module)
    gateway.tables["tools.mine"] = {"module": module}
    gateway.start()
    gateway.wait_for_tools("mine__echo")
    before = gateway.component("wasm")["detail"]
    bad = gateway.home / "bad.wasm"
    bad.write_bytes(b"\0asm\1\0\0\0 and then rubbish")
    gateway.tables["tools.bad"] = {"module": bad}
    gateway.reload(409)
    shutil.copy(bad, module)
    gateway.reload(409)
    assert gateway.call("mine__echo", {"text": "x"}) == ("x", False)
    wasm = gateway.component("wasm")
    assert (wasm["status"], wasm["detail"]) == ("healthy", before), "the trouble is the configuration's"
    shutil.copy(house.MODULES / "text.wasm", module)
    del gateway.tables["tools.bad"]
    gateway.reload()
    wasm = gateway.component("wasm")
    assert (wasm["status"], wasm["detail"]) == ("healthy", before)
    assert gateway.health()["status"] == "healthy"


def test_a_module_in_the_middle_of_calls_can_be_changed_and_removed(make):
    gateway = make.gateway(tools=["text", "checksum"])
    gateway.wait_for_tools("text__echo")

    def calls():
        while True:
            answer = gateway.modern("tools/call", {"name": "text__echo", "arguments": {"text": "x" * 10_000}})[1]
            # Once it is gone, it is gone; what it may never do is fail.
            failed = "result" in answer and answer["result"].get("isError") or "error" in answer and answer["error"]["code"] != -32602
            yield answer if failed else None, None

    with Crowd(*[calls] * 4) as crowd:
        text = gateway.tables["tools.text"]
        for number in range(6):
            gateway.tables["tools.text"] = {**text, "memory": f"{32 + number}MiB"}
            gateway.reload()
            assert gateway.call("text__echo", {"text": "x"}) == ("x", False)
            del gateway.tables["tools.text"]
            gateway.reload()
            assert gateway.tool("text__echo") is None
    assert crowd.wrong == [], crowd.wrong[:3]


# Signals.

def test_twenty_hups_at_once(make):
    gateway = make.gateway({"up": {"url": make.scripted(WithSessions)}}, ["text"])
    gateway.wait_for_tools("up__count")
    gateway.tables["limits"] = {"max_in_flight": 77}
    gateway.tables["upstreams.up"]["tools"] = {"echo": {"description": "Twenty."}}
    gateway.write_configuration()
    for _ in range(20):
        gateway.signal(signal.SIGHUP)
    house.eventually(lambda: "limits.max_in_flight" in gateway.stdout(), 10, "the reload")
    assert gateway.tool("up__echo")["description"] == "Twenty."
    assert gateway.call("up__count") == ("session-1", False)
    # The last of many counts: what is written after them is in force after one more.
    gateway.tables["limits"] = {"max_in_flight": 78}
    gateway.write_configuration()
    for _ in range(20):
        gateway.signal(signal.SIGHUP)
    house.eventually(lambda: gateway.stdout().count("in force: limits.max_in_flight") == 1, 10, "the second reload")
    assert gateway.component("configuration")["status"] == "healthy"
    assert gateway.terminate() == 0


def test_twenty_reloads_at_once_are_all_answered(make):
    gateway = make.gateway({"up": {"url": make.scripted(WithSessions)}}, ["text"])
    gateway.wait_for_tools("up__count")
    gateway.tables["limits"] = {"max_in_flight": 77}
    gateway.write_configuration()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: gateway.order("POST", "/admin/reload"), range(20)))
    assert all(status == 200 for status, _ in answers), answers
    assert sum(said["changed"] == ["limits.max_in_flight"] for _, said in answers) == 1
    assert gateway.call("up__count") == ("session-1", False)


def test_a_reload_in_the_middle_of_a_long_call(make):
    gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"])
    gateway.wait_for_tools("up__gate")
    scripted.gate.clear()
    before = scripted.calls["gate"]
    thread, answers = slow_call(gateway, "up__gate", {"text": "patience"})
    house.eventually(lambda: scripted.calls["gate"] > before, 10, "the arrival of the call")
    # Calls end as they began, whatever is allowed from now on.
    gateway.tables["limits"] = {"max_in_flight": 1, "max_waiting": 0}
    gateway.tables["server"].update(request_timeout="100ms", path="/elsewhere")
    gateway.tables["upstreams.up"].update(timeout="100ms", deny_tools=["gate"], max_in_flight=1)
    gateway.hang_up()
    assert gateway.get("/mcp").status == 404
    assert not answers
    scripted.gate.set()
    thread.join(20)
    assert answers == [('{"text": "patience"}', False)]


def test_a_hup_right_after_the_start_is_not_lost(make):
    """As soon as the process takes the signal at all; before that, nobody can be told that it runs."""
    for _ in range(5):
        gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"], start=False)
        gateway.start(wait=False)
        house.eventually(lambda: takes_hangups(gateway.process), 10, "the handler of the signal")
        gateway.tables["upstreams.up"]["tools"] = {"echo": {"description": "Changed at once."}}
        gateway.write_configuration()
        gateway.signal(signal.SIGHUP)
        gateway.wait_until_healthy()
        gateway.wait_for_tools("up__echo")
        house.eventually(lambda: gateway.tool("up__echo")["description"] == "Changed at once.", 10, "the new file")
        gateway.close()


def takes_hangups(process):
    assert process.poll() is None, "it did not live that long"
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) >> (signal.SIGHUP - 1) & 1


def test_a_reload_does_not_hold_the_end_up(make):
    gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"])
    gateway.wait_for_tools("up__echo")
    gateway.tables["upstreams.extra"] = {"url": make.scripted()}
    gateway.tables["tools.units"] = {"module": house.MODULES / "units.wasm"}
    gateway.write_configuration()
    gateway.signal(signal.SIGHUP)
    assert gateway.terminate() == 0
    assert gateway.sql("PRAGMA integrity_check;") == "ok"


def test_a_kill_in_the_middle_of_reloads_leaves_everything_usable(make):
    gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"])
    for number in range(3):
        gateway.wait_for_tools("up__echo")
        gateway.tables["limits"] = {"max_in_flight": 50 + number}
        gateway.write_configuration()
        for _ in range(5):
            gateway.signal(signal.SIGHUP)
        gateway.restart()
        assert gateway.component("configuration")["status"] == "healthy"
    gateway.wait_for_tools("up__echo", "text__echo")


def test_the_reload_of_an_operator_is_written_down(make):
    gateway = make.gateway(tools=["text"])
    gateway.tables["limits"] = {"max_in_flight": 5}
    gateway.reload()
    line = next(line for line in (gateway.home / "log/security.log").read_text().splitlines() if "what=reload" in line)
    assert line.startswith("security") and "status=200" in line and "limits.max_in_flight" in line
    gateway.tables["limits"] = {"max_in_flight": 6}
    gateway.reload(socket=True)
    log = (gateway.home / "log/app.log").read_text().splitlines()
    told = [line for line in log if "configuration read again" in line]
    assert len(told) == 2 and all("limits.max_in_flight" in line for line in told), log
    ran = subprocess.run(["grep", "-icE", "error|fail|panic|slow|timeout|deadline|oom|memory|resource"], input="\n".join(told),
                         capture_output=True, text=True)
    assert ran.stdout.strip() == "0", "an ordinary reload is no trouble"
