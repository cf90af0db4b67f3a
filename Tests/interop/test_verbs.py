# Licensed under the Apache License 2.0; see LICENSE.
"""The verbs of the command line: what they print, how they end, with a gateway and without one."""

import json
import os
import re
import signal
import stat
import subprocess
import threading

import pytest

import gateway as house
import scripted

NOBODY = 65534
VERBS = [
    ["status"], ["top"], ["explain"], ["tools"], ["tools", "list"], ["tools", "inspect"], ["tools", "disable"], ["tools", "enable"],
    ["upstreams"], ["upstreams", "list"], ["upstreams", "check"], ["upstreams", "import"], ["token"], ["token", "new"], ["token", "list"],
    ["token", "revoke"], ["reload"], ["drain"], ["breaker"], ["breaker", "list"], ["breaker", "enable"], ["breaker", "disable"],
    ["limit"], ["limit", "show"], ["limit", "set"], ["limit", "clear"], ["overrides"], ["overrides", "list"], ["overrides", "undo"],
    ["queue"], ["backup"], ["restore"], ["verify"], ["validate-config"], ["serve"], ["stdio"],
]
ASKING = [
    ["status"], ["top", "--count", "1"], ["explain", "tools/call", "up__echo"], ["tools", "list"], ["tools", "inspect", "up__echo"],
    ["tools", "disable", "up__echo"], ["tools", "enable", "up__echo"], ["upstreams", "list"], ["upstreams", "check"], ["reload"], ["drain"],
    ["drain", "--undo"], ["breaker", "list"], ["breaker", "enable"], ["breaker", "disable"], ["limit", "show"], ["limit", "set", "10"],
    ["limit", "clear"], ["overrides", "list"], ["overrides", "undo"],
]
WRONG = [
    ["top", "--interval", "0.1"], ["top", "--interval", "61"], ["top", "--interval", "x"], ["top", "--count", "0"],
    ["explain", "tools/list", "x"], ["explain", "tools/call"], ["tools", "inspect"], ["tools", "disable", "x", "--for", "soon"],
    ["tools", "disable", "x", "--for", "0s"], ["tools", "disable", ""], ["token", "new", "a"], ["token", "new", "a", "--role", "cook"],
    ["token", "new", "--role", "call"], ["token", "new", "a", "--role", "call", "--for", "x"], ["token", "revoke"],
    ["drain", "--wait", "x"],
    ["drain", "--undo", "--for", "1m"], ["breaker", "enable", "--for", "1m"], ["limit", "set"], ["limit", "set", "many"],
    ["limit", "set", "0"], ["limit", "set", "10", "--burst", "0"], ["overrides", "undo", "everything"],
    ["overrides", "undo", "--subject", "up"], ["status", "--colour"], ["breaker", "open"],
]


def said(gateway, *words, code=0):
    """What a verb prints for people, without colours, as a pipe gets it."""
    text = gateway.verb(*words, code=code).stdout
    assert "\x1b" not in text, text
    return text


def asked(gateway, *words, code=0):
    return json.loads(gateway.verb(*words, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def gateway(make_once):
    """One upstream that is there, one that is not, and one whose calls wait for a test."""
    upstream = make_once.server(house.scripted_server())
    tools = {"echo": {"offline": "queue", "rate": "500/s", "max_in_flight": 9}}
    one = make_once.gateway({
        "up": {"url": upstream.url, "tools": tools}, "gone": {"url": f"http://127.0.0.1:{house.free_port()}/mcp"},
        "slow": {"url": make_once.scripted()}})
    one.wait_for_tools("up__echo", "slow__gate")
    return one


@pytest.fixture
def quiet(make):
    """A configuration with no gateway that runs by it."""
    one = make.gateway({"up": {"url": f"http://127.0.0.1:{house.free_port()}/mcp"}}, start=False)
    one.write_configuration()
    return one


# Usage


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(verb, tmp_path):
    ran = house.run(*verb, "--help", cwd=tmp_path)
    assert f"Example: mcp-gateway {verb[0]}" in " ".join(ran.stdout.split()), ran


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_ends_with_64(quiet, words):
    assert quiet.verb(*words, code=64).stderr


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_without_a_gateway_they_say_so(quiet, words):
    ran = quiet.verb(*words, code=1)
    assert "no gateway is running" in ran.stderr and not ran.stdout
    assert not quiet.verb(*words, *([] if words == ["drain", "--undo"] else ["--json"]), code=1).stdout


@pytest.mark.parametrize("words", [*ASKING, ["token", "list"], ["token", "new", "a", "--role", "call"]], ids=" ".join)
def test_a_bad_configuration_ends_with_78(quiet, words):
    quiet.configuration.write_text("[server]\nlisten = 5\n")
    assert "gateway.toml:2" in quiet.verb(*words, code=78).stderr


# Status


def test_status_is_one_screen(gateway):
    text = said(gateway, "status")
    assert re.match(r"mcp-gateway \S+: degraded, up \d", text)
    assert re.search(r"^up +healthy", text, re.M) and re.search(r"^gone +unhealthy", text, re.M)
    assert not re.search(r"^(storage|disk) ", text, re.M) and re.search(r"^storage +healthy", said(gateway, "status", "--all"), re.M)
    facts = asked(gateway, "status")
    assert facts["status"] == "degraded" and {"name", "status", "detail"} <= set(facts["components"][0])
    assert {one["name"] for one in facts["upstreams"]} == {"up", "gone", "slow"}


def test_status_counts_calls(gateway):
    before = asked(gateway, "status")["last_minute"]["calls"]
    for _ in range(3):
        gateway.call("up__echo", {"text": "x"})
    facts = asked(gateway, "status")
    assert facts["last_minute"]["calls"] >= before + 3 and facts["last_minute"]["p95_ms"] > 0
    assert "95 of 100 within" in said(gateway, "status")


# Tools


def test_tools_are_listed_and_taken_out(gateway):
    assert "up__echo" in said(gateway, "tools", "list")
    tools = {tool["name"]: tool for tool in asked(gateway, "tools", "list")["tools"]}
    assert tools["up__echo"]["enabled"] and tools["up__echo"]["offline"] == "queue"
    said(gateway, "tools", "disable", "up__echo", "--for", "1h")
    assert re.search(r"^up__echo .*taken out", said(gateway, "tools", "list"), re.M)
    assert "up__echo" not in gateway.wait_for_tools("up__hang")
    explained = asked(gateway, "explain", "tools/call", "up__echo", code=1)
    assert explained["verdict"] == "refused" and "operator" in explained["why"]
    assert asked(gateway, "tools", "inspect", "up__echo")["tool"]["enabled"] is False
    assert re.search(r"^tool up__echo +disabled", said(gateway, "status"), re.M)
    said(gateway, "tools", "enable", "up__echo")
    gateway.wait_for_tools("up__echo")
    assert gateway.verb("tools", "disable", "up__nothing", code=1).stderr
    assert gateway.verb("tools", "inspect", "up__nothing", code=1).stderr
    assert gateway.verb("tools", "inspect", "a/b", code=1).stderr


def test_explain_says_what_holds(gateway):
    explained = asked(gateway, "explain", "tools/call", "up__echo")
    assert explained["verdict"] == "allowed" and explained["owner"] == "up" and explained["breaker"] == "closed"
    assert explained["limit_of_tool"].startswith("500/s") and explained["in_flight_of_tool"] == "0 of 9"
    assert "queue" in explained["stored_in"] and explained["reachable"] is True
    assert asked(gateway, "explain", "tools/call", "nothing", code=1)["verdict"] == "unknown"
    assert gateway.verb("explain", "tools/call", "up__echo", "--as", "a b", code=1).stderr
    assert asked(gateway, "explain", "tools/call", "up__echo", "--as", "anna@site")["verdict"] == "allowed"
    assert re.search(r"^verdict +allowed$", said(gateway, "tools", "inspect", "up__echo"), re.M)


def test_explain_tells_whose_limit_counts(make):
    upstream = make.server(house.scripted_server())
    one = make.gateway({"up": {"url": upstream.url}}, sections={"limits": {"per_caller.requests_per_second": 50}})
    one.wait_for_tools("up__echo")
    assert asked(one, "explain", "tools/call", "up__echo", "--as", "anna")["limit_of_caller"].startswith("anna: 50/s")
    said(one, "limit", "set", "70")
    explained = asked(one, "explain", "tools/call", "up__echo")
    assert explained["limit_of_caller"].startswith("each: 50/s") and explained["limit_of_all"].startswith("70/s")


# Upstreams, breakers, limits


def test_upstreams_are_listed_and_checked(gateway):
    assert re.search(r"^slow +healthy", said(gateway, "upstreams", "list"), re.M)
    assert len(asked(gateway, "upstreams", "list")["upstreams"]) == 3
    ran = gateway.verb("upstreams", "check", code=1)
    assert "gone" in ran.stderr and re.search(r"^gone +unhealthy", ran.stdout, re.M)
    assert re.search(r"^up +healthy", said(gateway, "upstreams", "check", "up"), re.M)
    assert asked(gateway, "upstreams", "check", "up")["upstreams"]["gone"]["status"] == "unhealthy"
    assert "up, gone, slow" in gateway.verb("upstreams", "check", "nothing", code=1).stderr


def test_breakers_take_orders(gateway):
    assert re.search(r"^up +closed", said(gateway, "breaker", "list"), re.M)
    assert re.search(r"^up +open by order", said(gateway, "breaker", "enable", "--upstream", "up", "--force", "--for", "1h"), re.M)
    assert gateway.call("up__big", {"size": 1})[1] is True
    explained = asked(gateway, "explain", "tools/call", "up__echo")
    assert explained["breaker"] == "open" and "operator" in explained["breaker_order"] and "stored" in explained["now"]
    assert re.search(r"^up +\w+ +open by order", said(gateway, "upstreams", "list"), re.M)
    assert "closed, disarmed" in said(gateway, "breaker", "disable", "--upstream", "up")
    assert gateway.call("up__big", {"size": 1}) == ("x", False)
    said(gateway, "breaker", "enable")
    states = asked(gateway, "breaker", "list")["breakers"]
    assert all(one["armed"] and one["state"] == "closed" for one in states if one["upstream"] == "up")
    assert "up" in gateway.verb("breaker", "enable", "--upstream", "nothing", code=1).stderr
    assert asked(gateway, "overrides", "list")["overrides"] == []


def test_limits_and_overrides(gateway):
    assert "no limit" in said(gateway, "limit", "show")
    assert "at most 900/s, burst 1000" in said(gateway, "limit", "set", "900/s", "--burst", "1000", "--for", "1h")
    assert asked(gateway, "limit", "show")["requests_per_second"] == 900
    one, = asked(gateway, "overrides", "list")["overrides"]
    assert one["what"] == "rate-limit" and one["until"] and one["by"].startswith("uid ")
    assert re.search(r"^rate-limit +900/s", said(gateway, "overrides", "list"), re.M)
    assert "rate-limit" in said(gateway, "status")
    said(gateway, "limit", "clear")
    assert "no limit" in said(gateway, "limit", "show")
    said(gateway, "limit", "set", "30000/m")
    said(gateway, "tools", "disable", "slow__cut")
    said(gateway, "overrides", "undo", "tool", "--subject", "slow__cut")
    assert [one["what"] for one in asked(gateway, "overrides", "list")["overrides"]] == ["rate-limit"]
    said(gateway, "overrides", "undo")
    assert "nothing" in said(gateway, "overrides", "list")


# Drain and reload


def test_drain_waits_for_calls_that_run(gateway):
    scripted.gate.clear()
    answers = []
    call = threading.Thread(target=lambda: answers.append(gateway.call("slow__gate", timeout=40)))
    call.start()
    try:
        house.eventually(lambda: asked(gateway, "status")["in_flight"] == 1, 10, "the call in flight")
        ran = gateway.verb("drain", "--wait", "300ms", code=1)
        assert "still run" in ran.stderr and "1 call" in ran.stdout
        assert "drained" in gateway.verb("status", code=1).stdout
        assert asked(gateway, "status", code=1)["status"] == "unhealthy"
        assert asked(gateway, "drain", "--wait", "0")["in_flight"] == 1
        explained = asked(gateway, "explain", "tools/call", "up__echo", code=1)
        assert explained["verdict"] == "refused" and "drained" in explained["why"], explained
        waiting = subprocess.Popen(gateway.command("drain", "--wait", "30s"), stdout=subprocess.PIPE, text=True)
        house.eventually(lambda: house.name_of(waiting.pid) == "mcpgw-drain", 10, "the name of the verb's process")
        scripted.gate.set()
        assert waiting.wait(30) == 0
        waiting.stdout.close()
    finally:
        scripted.gate.set()
        call.join(40)
        said(gateway, "drain", "--undo")
    assert answers and answers[0][1] is False
    assert asked(gateway, "status")["draining"] is False


def test_reload_says_what_is_in_force_and_what_is_wrong(make):
    one = make.gateway()
    assert "nothing to change" in said(one, "reload")
    one.tables["limits"] = {"requests_per_second": 100}
    one.tables["server"]["listen"] = f"127.0.0.1:{house.free_port()}"
    one.write_configuration()
    text = said(one, "reload")
    assert re.search(r"^in force: .*limits", text, re.M) and re.search(r"^waits for a restart: .*listen", text, re.M), text
    one.configuration.write_text(one.configuration.read_text() + "\n[cache]\nmax_byts = 5\n[auth]\nmode = 7\n")
    # The verb itself needs no more of the file than where the control socket is, and has it by another name.
    good = one.home / "good.toml"
    good.write_text(one.configuration.read_text().split("\n[cache]")[0])
    ran = house.run("reload", "--config", good, code=1)
    assert not ran.stdout, ran
    assert len([line for line in ran.stderr.splitlines() if "gateway.toml:" in line and ("max_byts" in line or "auth.mode" in line)]) == 2
    ran = house.run("reload", "--json", "--config", good, code=1)
    assert len(json.loads(ran.stdout)["error"]["problems"]) >= 2
    limits = json.loads(house.run("limit", "show", "--json", "--config", good).stdout)
    assert limits["requests_per_second"] == 100


# Tokens


def status_with(gateway, secret):
    """The answer to an operator who is not on this machine, as far as can be told, and shows a token."""
    headers = {"Authorization": f"Bearer {secret}", "X-Forwarded-For": "192.0.2.1"}
    return gateway.get("/admin/status", headers).status


def test_the_first_token_is_made_before_the_first_start(quiet):
    lib = quiet.home / "lib"
    assert not lib.exists() and "there are no tokens" in said(quiet, "token", "list")
    text = said(quiet, "token", "new", "op@site", "--role", "admin", "--role", "observe", "--for", "30d")
    secret = text.splitlines()[-1]
    assert re.fullmatch(r"mcpgw_[0-9a-f]{8}_\S{43}", secret) and "this once" in text
    assert stat.S_IMODE(lib.stat().st_mode) == 0o2770 and stat.S_IMODE((lib / "keys/tokens").stat().st_mode) == 0o600
    assert secret not in (lib / "keys/tokens").read_text()
    one, = asked(quiet, "token", "list")["tokens"]
    assert one["name"] == "op@site" and one["roles"] == ["admin", "observe"] and one["expires_at"] and one["expired"] is False
    assert "already" in quiet.verb("token", "new", "op@site", "--role", "call", code=1).stderr
    assert quiet.verb("token", "new", "two words", "--role", "call", code=1).stderr
    quiet.start()
    assert status_with(quiet, secret) == 200
    again = asked(quiet, "token", "new", "other", "--role", "admin")
    assert status_with(quiet, again["secret"]) == 200 and "op@site" in said(quiet, "token", "list")
    assert "revoked" in said(quiet, "token", "revoke", "op@site")
    assert status_with(quiet, secret) == 401
    said(quiet, "token", "revoke", again["token"]["id"])
    assert status_with(quiet, again["secret"]) == 401
    assert quiet.verb("token", "revoke", "other", code=1).stderr
    quiet.terminate()
    secret = said(quiet, "token", "new", "third", "--role", "admin").splitlines()[-1]
    quiet.start()
    assert status_with(quiet, secret) == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to another user")
def test_a_token_that_root_makes_belongs_to_the_service(quiet):
    lib = quiet.home / "lib"
    lib.mkdir()
    os.chown(lib, NOBODY, NOBODY)
    quiet.home.chmod(0o755)
    said(quiet, "token", "new", "a", "--role", "call")
    assert {file.stat().st_uid for file in (lib / "keys", lib / "keys/tokens")} == {NOBODY}
    said(quiet, "token", "revoke", "a")


# A process of its own


@pytest.mark.parametrize("words, name", [
    (["status", "--help"], "mcpgw-status"), (["validate-config", "--help"], "mcpgw-validate"), (["--help"], "mcpgw-help")], ids=str)
def test_a_verb_has_its_name_before_it_does_anything(words, name):
    """What prints help runs nothing of a verb's own code. A full pipe holds it there, for a look and for signals."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(into, b"." * 65536)
    os.set_blocking(into, True)
    process = subprocess.Popen([str(house.BINARY), *words], stdout=into, stderr=subprocess.PIPE)
    os.close(into)
    try:
        house.eventually(lambda: house.name_of(process.pid) == name, 10, "the name of the verb's process")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process.send_signal(number)
        with os.fdopen(out, "rb") as reader:
            assert b"USAGE: mcp-gateway" in reader.read().lstrip(b".")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_stdio_needs_no_secret_where_a_gateway_runs(make, tmp_path):
    """Of /run/credentials only the service reads anything; a client's process passes bytes on."""
    secret = tmp_path / "secret"
    secret.write_text("word")
    headers = {"Authorization": "Bearer ${file:%s}" % secret}
    one = make.gateway({"up": {"url": f"http://127.0.0.1:{house.free_port()}/mcp", "headers": headers}})
    # Where this runs as root no mode hides a file; a folder in its place can be read by nobody.
    secret.unlink()
    secret.mkdir()
    line = '{"jsonrpc":"2.0","id":7,"method":"ping"}\n'
    ran = one.verb("stdio", input=line)
    assert json.loads(ran.stdout.splitlines()[0])["id"] == 7 and not ran.stderr, ran
    one.terminate()
    # By itself it would have to send the secret.
    assert "secret" in one.verb("stdio", input=line, code=78).stderr
