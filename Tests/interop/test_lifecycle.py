# Licensed under the Apache License 2.0; see LICENSE.
"""Start, stop, crash, a second start, a bad configuration, a missing library."""

import os
import shutil
import signal
import threading

import pytest

import gateway as house
import scripted
import wire
from background import slow_call


def files_under(place):
    return sorted(str(file.relative_to(place)) for file in place.rglob("*"))


def second(gateway, port=None):
    """Starts another gateway on the same storage, and sees that it ends with 1."""
    other = gateway.home / "second.toml"
    text = gateway.configuration.read_text()
    other.write_text(text.replace(f'"127.0.0.1:{gateway.port}"', f'"127.0.0.1:{port or house.free_port()}"'))
    before = files_under(gateway.home)
    ran = house.run("serve", "--config", other, code=1)
    return ran, before, files_under(gateway.home)


def test_a_second_gateway_on_the_same_storage_says_who_is_first(make):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    ran, before, after = second(gateway)
    words = ran.stdout + ran.stderr
    for fact in (str(gateway.process.pid), str(gateway.home / "lib"), str(gateway.port)):
        assert fact in words, (fact, words)
    assert before == after
    assert gateway.call("text__echo", {"text": "served"}) == ("served", False)
    second(gateway, gateway.port)


def test_a_taken_port_is_told_in_words(make):
    first = make.gateway()
    other = make.gateway(start=False)
    other.tables["server"]["listen"] = f"127.0.0.1:{first.port}"
    other.start(wait=False)
    assert other.process.wait(20) == 1
    assert str(first.port) in other.stdout() and "use" in other.stdout(), other.stdout()


def test_the_lock_of_a_killed_gateway_is_no_obstacle(make):
    gateway = make.gateway()

    def told():
        texts = (gateway.stdout(), (gateway.home / "log/app.log").read_text())
        counts = {text.count("the run before did not end cleanly") for text in texts}
        assert len(counts) == 1, "the journal and the file say the same"
        return counts.pop()

    assert told() == 0, "there was none"
    gateway.kill()
    gateway.start()
    rows = lambda: gateway.sql("SELECT error_type, component FROM error_log")
    assert told() == 1 and rows() == "unclean_stop|storage"
    assert gateway.terminate() == 0
    gateway.start()
    assert told() == 1 and rows() == "unclean_stop|storage", "this one did"


def test_a_call_in_flight_is_finished_before_the_end(make):
    scripted.gate.clear()
    gateway = make.gateway({"up": {"url": make.scripted()}}, ["text"], {"server": {"shutdown_grace": "30s"}})
    gateway.wait_for_tools("up__gate", "text__echo")
    before = scripted.calls["gate"]
    thread, answers = slow_call(gateway, "up__gate", {"text": "patience"})
    house.eventually(lambda: scripted.calls["gate"] > before, 10, "the arrival of the call")
    gateway.signal(signal.SIGTERM)

    house.eventually(gateway.announces_its_end, 5, "the announcement of the end")
    assert gateway.process.poll() is None, "it ended with a call in flight"
    scripted.gate.set()
    thread.join(20)
    assert answers == [('{"text": "patience"}', False)]
    assert gateway.process.wait(10) == 0, "nothing was in flight any more, so there was nothing to wait for"
    assert not (gateway.home / "lib/queue.db-wal").exists()
    assert not (gateway.home / "lib/queue.db-shm").exists()
    assert gateway.sql("PRAGMA integrity_check;") == "ok"
    assert not gateway.control.exists()


def test_a_call_that_never_ends_does_not_hold_the_end_up(make):
    upstream = make.server(house.scripted_server())
    gateway = make.gateway({"up": {"url": upstream.url}}, sections={"server": {"shutdown_grace": "1s"}})
    gateway.wait_for_tools("up__hang")
    thread, answers = slow_call(gateway, "up__hang")
    house.eventually(lambda: gateway.call("up__count", {"tool": "hang"})[0] == "1", 10, "the arrival of the call")
    assert gateway.terminate(10) == 0
    thread.join(5)
    # It may have been carried out, which somebody has to know: the client, and whoever looks afterwards.
    (text, is_error), = answers
    assert is_error and "the gateway was stopped before its answer came" in text and "unknown" in text
    assert gateway.sql("SELECT status FROM request_log WHERE tool = 'up__hang'") == "failed"
    assert gateway.sql("SELECT error_type, component FROM error_log") == "outcome_unknown|upstream:up"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_ends_cleanly(make, number):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    idle = wire.Connection(gateway.port)
    gateway.signal(number)
    assert gateway.process.wait(10) == 0
    idle.socket.close()
    assert not (gateway.home / "lib/queue.db-wal").exists()
    assert (gateway.home / "lib/queue.db").exists()


def test_a_kill_under_traffic_leaves_a_sound_database(make):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    for round in range(3):
        stop = threading.Event()

        def traffic():
            while not stop.is_set():
                try:
                    gateway.call("text__echo", {"text": "x"})
                except (OSError, AssertionError, IndexError, ValueError):
                    return

        threads = [threading.Thread(target=traffic) for _ in range(4)]
        for thread in threads:
            thread.start()
        rows = int(gateway.sql("SELECT COUNT(*) FROM request_log;"))
        house.eventually(lambda: int(gateway.sql("SELECT COUNT(*) FROM request_log;")) > rows + 20, 15, "rows")
        gateway.kill()
        stop.set()
        for thread in threads:
            thread.join()
        assert gateway.sql("PRAGMA integrity_check;") == "ok"
        gateway.start()
        gateway.wait_for_tools("text__echo")
        assert gateway.component("storage")["status"] == "healthy"
        assert gateway.sql("PRAGMA integrity_check;") == "ok"
    assert not list(gateway.home.rglob("*.corrupt"))


@pytest.mark.parametrize("case", ["nowhere", "not a library"])
def test_without_the_wasmtime_library_it_serves_its_upstreams_and_says_so(make, tmp_path, monkeypatch, case):
    """The library is optional: it is in none of the usual places, or what is there cannot be loaded. (A path in the
    configuration that leads to nothing is another matter: that is a mistake in the configuration, and refused.)"""
    upstream = make.server(house.scripted_server())
    gateway = make.gateway({"up": {"url": upstream.url}}, ["text"], start=False)
    if case == "nowhere":
        shutil.copy(house.BINARY, tmp_path / "mcp-gateway")
        monkeypatch.setattr(house, "BINARY", tmp_path / "mcp-gateway")
    else:
        (tmp_path / "libwasmtime.so").write_bytes(b"this is not a library")
        gateway.tables["wasm"]["library"] = tmp_path / "libwasmtime.so"
    gateway.start()
    gateway.wait_for_tools("up__echo")
    assert gateway.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False)
    wasm = gateway.component("wasm")
    assert wasm["status"] != "healthy" and "libwasmtime.so" in wasm["detail"], wasm
    assert gateway.health()["status"] == "degraded"
    status, message = gateway.modern("tools/call", {"name": "text__echo", "arguments": {"text": "x"}})
    assert "error" in message or message["result"]["isError"]


def test_without_a_compiled_cache_and_with_one(make):
    gateway = make.gateway(tools=["text", "units"], cold=True)
    gateway.wait_for_tools("text__echo", "units__convert")
    compiled = files_under(gateway.home / "wasm-cache")
    assert compiled
    gateway.restart()
    gateway.wait_for_tools("text__echo", "units__convert")
    assert files_under(gateway.home / "wasm-cache") == compiled


def test_a_damaged_cache_is_compiled_anew(make):
    gateway = make.gateway(tools=["text"], cold=True)
    gateway.wait_for_tools("text__echo")
    assert gateway.terminate() == 0
    for file in (gateway.home / "wasm-cache").rglob("*"):
        if file.is_file() and file.stat().st_size > 4096:
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 0xFF
            os.chmod(file, 0o600)
            file.write_bytes(data)
    gateway.start()
    gateway.wait_for_tools("text__echo")
    assert gateway.call("text__echo", {"text": "true again"}) == ("true again", False)


def test_a_module_that_is_none_is_told_and_the_others_serve(make):
    gateway = make.gateway(tools=["text"], start=False)
    bad = gateway.home / "bad.wasm"
    bad.write_bytes(b"\x00asm\x01\x00\x00\x00 and then rubbish")
    gateway.tables["tools.bad"] = {"module": bad}
    gateway.start()
    gateway.wait_for_tools("text__echo")
    assert gateway.call("text__echo", {"text": "served"}) == ("served", False)
    house.eventually(lambda: gateway.component("wasm")["status"] == "degraded", 20, "the bad module in health")
    assert "bad" in gateway.component("wasm")["detail"]


BAD_CONFIGURATIONS = {
    "a typo": ("[server]\nlisten = \"127.0.0.1:0\"\n[upstreams.x]\nurll = \"http://127.0.0.1:1/mcp\"\n", "4", "url"),
    "a wrong type": ("[server]\nlisten = 8080\n", "2", "listen"),
    "not TOML": ("[server\nlisten = \"127.0.0.1:0\"\n", "1", ""),
    "not built yet": ("[alerts]\np95 = \"2s\"\n", "1", "not built"),
    "a library that is not there": ("[wasm]\nlibrary = \"/nonexistent/lib.so\"\n", "2", "/nonexistent/lib.so"),
    "a module that is not there": ("[tools.t]\nmodule = \"nothing.wasm\"\n", "2", "nothing.wasm"),
}


@pytest.mark.parametrize("name", BAD_CONFIGURATIONS)
@pytest.mark.parametrize("verb", ["serve", "validate-config"])
def test_a_bad_configuration_is_refused_with_its_line(tmp_path, name, verb):
    text, line, word = BAD_CONFIGURATIONS[name]
    file = tmp_path / "bad.toml"
    file.write_text(text)
    arguments = ["serve", "--config", file] if verb == "serve" else ["validate-config", "--strict", file]
    ran = house.run(*arguments, code=78, cwd=tmp_path)
    words = ran.stdout + ran.stderr
    assert f"bad.toml:{line}" in words and word in words, words
    assert files_under(tmp_path) == ["bad.toml"]


def test_wrong_usage_is_told_as_such(tmp_path):
    assert house.run("no-such-verb", code=64, cwd=tmp_path).stderr
    assert "serve" in house.run("--help", cwd=tmp_path).stdout
    ran = house.run("serve", "--config", "nothing.toml", code=78, cwd=tmp_path)
    assert "nothing.toml" in ran.stdout + ran.stderr
