# Licensed under the Apache License 2.0; see LICENSE.
"""The doctor on gateways that are well, in trouble, stopped and broken; the look ahead at an outage, and the drill."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

import gateway as house
from background import Repeated
from upstreams import Moody, upstream

POLICIES = {"work": {"offline": "queue", "expires": "6h"}, "safe": {"offline": "stale", "cache": "1s"}}


def doctor(gateway, *words, code, config=None):
    """What somebody sees who types it, without a terminal."""
    ran = house.run("doctor", *words, "--config", config or gateway.configuration, code=code)
    return ran.stdout + ran.stderr


def findings(gateway, code, **more):
    return json.loads(doctor(gateway, "--json", code=code, **more))["findings"]


def of(found, area, rank=None):
    return [one for one in found if one["area"] == area and rank in (None, one["rank"])]


@pytest.fixture
def shop(make):
    server = make.server(Moody())
    gateway = make.gateway({"erp": upstream(server, tools=POLICIES)}, tools=["units"])
    gateway.erp = server
    gateway.wait_for_tools("erp__work", "units__convert")
    return gateway


def test_a_gateway_that_is_well_needs_nobody(shop):
    screen = doctor(shop, code=0)
    assert "nothing found that needs anybody" in screen and "!!" not in screen
    found = findings(shop, 0)
    assert {"config", "service", "port", "server", "storage", "disk", "queue", "upstream", "backup", "errors", "memory",
            "calls"} <= {one["area"] for one in found}
    assert of(found, "backup")[0]["rank"] == "well"
    assert {one["rank"] for one in found} <= {"well", "note"}


def test_the_worst_stands_first_and_each_has_its_next_command(shop):
    shop.erp.kill()
    shop.call("erp__other", {"n": "1"})  # a call notices it
    house.eventually(lambda: shop.component("upstream:erp")["status"] == "unhealthy", 20, "the loss of the upstream")
    shop.order("POST", "/admin/drain")
    found = findings(shop, 1)
    ranks = [one["rank"] for one in found]
    order = ["urgent", "attention", "note", "well"]
    assert ranks == sorted(ranks, key=order.index) and ranks[0] == "urgent"
    file = f" --config {shop.configuration}"
    assert of(found, "by hand", "urgent")[0]["next"] == "mcp-gateway drain --undo" + file
    away = of(found, "upstream", "attention")
    assert "erp is unhealthy" in away[0]["words"] and away[0]["next"] == "mcp-gateway upstreams check erp" + file
    assert all(one["next"] for one in found if one["rank"] in ("urgent", "attention"))


def test_its_own_looking_is_no_change_and_an_order_is_one(shop):
    doctor(shop, code=0)
    assert not [one for one in findings(shop, 0) if "order" in one["words"]]
    shop.order("POST", "/admin/cache/clear")
    assert of(findings(shop, 0), "changed")
    assert any("1 order of operators" in one["words"] for one in findings(shop, 0))


def test_it_works_when_no_gateway_runs(shop):
    shop.erp.kill()
    text, is_error = house.eventually(lambda: stored(shop), 20, "a stored call")
    assert "NOT DONE YET" in text and not is_error
    assert shop.terminate() == 0
    found = findings(shop, 1)
    service = of(found, "service", "urgent")[0]
    assert "no gateway runs here" in service["words"] and "mcp-gateway serve" in service["next"]
    assert "is sound" in of(found, "database", "well")[0]["words"]
    assert of(found, "queue", "attention")[0]["words"].startswith("1 stored call")
    assert of(found, "queue")[0]["next"] == f"mcp-gateway serve --config {shop.configuration}"
    assert not [one for one in found if (one["next"] or "").startswith("mcp-gateway backup")], "nobody is there to make one"
    # A log of a gateway that was not ended cleanly may hold more of them.
    pathlib.Path(f"{shop.database}-wal").write_bytes(bytes(4096))
    found = findings(shop, 1)
    assert of(found, "queue", "attention")[0]["words"].startswith("at least 1 stored call")


def stored(shop):
    text, is_error = shop.call("erp__work", {"n": "x"})
    return (text, is_error) if text.startswith("NOT DONE YET") else None


def test_a_damaged_database_and_a_taken_port_are_named(shop):
    assert shop.terminate() == 0
    with open(shop.database, "r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 8192)
    (shop.home / "lib/queue.db.corrupt").write_bytes(b"x")
    with socket.create_server(("127.0.0.1", shop.port)):
        found = findings(shop, 1)
    assert "is damaged" in of(found, "database", "urgent")[0]["words"]
    assert "mcp-gateway restore" in of(found, "database", "urgent")[0]["next"]
    assert "another program has" in of(found, "port", "urgent")[0]["words"]
    assert "queue.db.corrupt" in of(found, "storage", "attention")[0]["words"]


def test_a_file_that_would_be_refused_is_urgent_while_the_old_one_is_in_force(shop):
    shop.configuration.write_text(shop.configuration.read_text() + "\n[servr]\nlisten = 1\n")
    found = findings(shop, 1)
    assert "would be refused" in of(found, "config", "urgent")[0]["words"]
    assert "servr" in of(found, "config", "urgent")[0]["words"]
    assert of(found, "config")[0]["next"] == f"mcp-gateway validate-config {shop.configuration}"


def test_a_gateway_that_stands_still_is_told_from_one_that_is_gone(shop):
    shop.signal(signal.SIGSTOP)
    try:
        found = findings(shop, 1)
        assert of(found, "service", "urgent"), found
        assert "no gateway runs" not in of(found, "service")[0]["words"]
        assert "nobody answers" in " ".join(one["words"] for one in of(found, "port")) or of(found, "port", "urgent")
    finally:
        shop.signal(signal.SIGCONT)


def test_failures_and_refused_strangers_are_counted(shop):
    shop.erp.feel("failing", status=500)
    for n in range(25):
        shop.call("erp__other", {"n": str(n)})
    for _ in range(3):
        assert shop.get("/admin/status", {"Authorization": "Bearer mcpgw_wrong"}).status == 401
    found = house.eventually(
        lambda: (lambda all: all if of(all, "errors", "attention") and of(all, "security") else None)(findings(shop, 1)),
        15, "the rows of the errors")
    assert re.search(r"\d+ × \w+ of upstream:erp", of(found, "errors", "attention")[0]["words"])
    assert any("call failed" in one["words"] for one in of(found, "logs"))


def test_what_comes_from_elsewhere_cannot_move_the_cursor(make):
    gateway = make.gateway({"evil": {"url": f"http://127.0.0.1:{house.free_port()}/mcp"}})
    (gateway.home / "log/app.log").open("a").write("2126-11-23 18:20:01.123Z error  x: \x1b[2Jgone key=1\n")
    screen = doctor(gateway, code=1)
    assert "gone" in screen and "\x1b" not in screen


def test_the_look_ahead_says_what_goes_on_and_for_how_long(shop):
    for n in range(4):
        shop.call("erp__work", {"n": str(n)})
    shop.call("erp__safe", {"n": "1"})
    house.eventually(
        lambda: shop.sql("SELECT count(*) FROM request_log WHERE tool = 'erp__work'") == "4", 10, "the rows")
    house.eventually(lambda: shop.sql("SELECT count(*) FROM reply_cache") == "1", 10, "the kept answer")
    assert "runs in the gateway itself" in doctor(shop, "offline", code=0), "all goes on when its server is on this machine"
    said = doctor(shop, "offline", "--away", "erp", code=1)
    rows = {line.split()[0]: line for line in said.splitlines() if "__" in line}
    assert "stored" in rows["erp__work"] and "kept answers" in rows["erp__safe"]
    assert "fails" in rows["erp__other"] and "goes on" in rows["units__convert"]
    assert "1 of 5 tools would fail at once" in said
    # Four calls in what counts as an hour, ten thousand places.
    assert "4 calls an hour" in said and "it is full in 104 days" in said and "within 6h is given up" in said
    shop.new_token("till", **{"for": "36h"})
    said = json.loads(doctor(shop, "offline", "--away", "erp", "--json", code=1).split("\nmcp-gateway")[0])
    assert [one["what"] for one in said["runs_out"]] == ["the token of till"] and said["ready"] is False
    assert abs(said["runs_out"][0]["in_seconds"] - 36 * 3600) < 60
    assert "no upstream nobody" in doctor(shop, "offline", "--away", "nobody", code=1)


def test_an_upstream_that_never_answered_cannot_go_on(make):
    gateway = make.gateway({"dark": {"url": f"http://127.0.0.1:{house.free_port()}/mcp"}}, tools=["units"])
    assert "what dark offers is not known" in doctor(gateway, "offline", code=1)


def test_a_drill_cuts_off_and_tells_what_became_of_the_calls(shop):
    shop.call("erp__safe", {"n": "kept"})
    answers = []

    def client():
        answers.append(shop.call("erp__work", {"n": f"w{len(answers)}"}))
        answers.append(shop.call("erp__safe", {"n": "kept"}))

    with Repeated(0.05, client):
        said = json.loads(doctor(shop, "drill", "erp", "--for", "2s", "--json", code=0))
    assert said["stored"] > 0 and said["kept_answers"] > 0 and said["refused"] == 0
    assert said["still_waiting"] == 0 and said["sent_afterwards"] >= 0
    assert not [one for one in answers if one[1]], "nobody's call was refused"
    assert shop.order("GET", "/admin/overrides")[1]["overrides"] == []
    house.eventually(lambda: shop.sql("SELECT count(*) FROM queue_items WHERE status <> 'completed'") == "0", 20, "the end")
    calls = [call["n"] for call in shop.erp.arrivals(tool="work")]
    assert len(calls) == len(set(calls)), "each was sent once"
    assert shop.call("erp__work", {"n": "after"})[0] == "work after"


def test_a_drill_says_what_is_refused_and_ends_by_hand(shop):
    process = subprocess.Popen(
        shop.command("doctor", "drill", "erp", "--for", "10m"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]})
    try:
        house.eventually(lambda: shop.order("GET", "/admin/overrides")[1]["overrides"], 10, "the cut")
        text, is_error = shop.call("erp__other", {"n": "1"})
        assert is_error
        assert "already" in doctor(shop, "drill", "erp", "--for", "1s", code=1), "two drills at a time"
        # The rows are written a moment later than the answer is given.
        house.eventually(
            lambda: shop.sql("SELECT count(*) FROM request_log WHERE tool = 'erp__other'") == "1", 10, "the row")
        process.send_signal(signal.SIGINT)
        out, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1 and "ended by hand" in out and "refused: 1 call," in complaints
    assert shop.order("GET", "/admin/overrides")[1]["overrides"] == [], "the cut is undone at once"
    assert "there is no upstream nobody" in doctor(shop, "drill", "nobody", "--for", "1s", code=1)
    for wrong in ("soon", "25h"):
        assert "at most 24h" in doctor(shop, "drill", "erp", "--for", wrong, code=64)


def breaker(shop):
    all = shop.order("GET", "/admin/circuit-breaker")[1]["breakers"]
    return next(one for one in all if one["upstream"] == "erp" and not one["tool"])


def test_a_drill_undoes_no_order_but_its_own_and_leaves_the_breaker_closed(shop):
    doctor(shop, "drill", "erp", "--for", "1s", code=0)
    assert breaker(shop)["state"] == "closed", "no call has failed: many at once may go"
    for change, words, left in (
            (("DELETE", "/admin/overrides"), "was undone meanwhile", 0),
            (("POST", "/admin/circuit-breaker/enable", {"upstream": "erp", "force": True}), "was changed meanwhile", 1)):
        process = subprocess.Popen(
            shop.command("doctor", "drill", "erp", "--for", "10m"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]})
        try:
            house.eventually(lambda: breaker(shop)["forced"], 10, "the cut")
            assert shop.order(*change)[0] == 200
            _, complaints = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 1 and words in complaints, complaints
        assert len(shop.order("GET", "/admin/overrides")[1]["overrides"]) == left
    # What holds calls back is an order, and checking the upstream would tell nothing.
    found = findings(shop, 1)
    cut = of(found, "breaker", "attention")[0]
    assert "held open by order" in cut["words"]
    assert cut["next"] == f"mcp-gateway overrides undo circuit-breaker --subject erp --config {shop.configuration}"
    assert not of(found, "upstream", "attention") and not of(found, "upstream", "urgent")


def test_a_full_queue_is_urgent_and_a_dead_server_of_this_machine_does_not_go_on(make):
    server = make.server(Moody())
    gateway = make.gateway(
        {"erp": upstream(server, tools=POLICIES)}, tools=["units"], sections={"storage": {"max_queue_items": 2}})
    gateway.wait_for_tools("erp__work")
    server.kill()
    for n in range(2):
        house.eventually(
            lambda: gateway.call("erp__work", {"n": str(n)})[0].startswith("NOT DONE YET"), 20, "a stored call")
        house.eventually(lambda: gateway.order("GET", "/admin/status")[1]["queue"]["waiting"] == n + 1, 10, "the count")
    house.eventually(lambda: gateway.component("upstream:erp")["status"] == "unhealthy", 20, "the loss of the upstream")
    found = findings(gateway, 1)
    full = [one for one in of(found, "queue") if one["rank"] != "well"]
    assert len(full) == 1 and full[0]["rank"] == "urgent" and "the queue is full" in full[0]["words"], full
    # What the file says now is not in force.
    gateway.tables["storage"]["max_queue_items"] = 5000
    gateway.write_configuration()
    said = doctor(gateway, "offline", code=1)
    rows = {line.split()[0]: line for line in said.splitlines() if "__" in line}
    assert "stored" in rows["erp__work"] and "does not answer now" in rows["erp__work"]
    assert "fails" in rows["erp__other"] and "fails" in rows["erp__safe"] and "no answer is kept" in rows["erp__safe"]
    assert "2 of 2 places taken: full now" in said and "the queue is full now" in said
    assert "not fill soon" not in said


def test_a_gateway_without_its_socket_runs_all_the_same(shop):
    shop.control.unlink()
    found = findings(shop, 1)
    service = of(found, "service", "urgent")[0]
    assert f"a gateway runs (process {shop.process.pid}, port {shop.port})" in service["words"]
    assert service["next"].startswith(f"kill {shop.process.pid} ") and "no gateway" not in json.dumps(found)
    assert not of(found, "port", "urgent")


def test_a_copy_put_there_by_hand_is_no_damage_and_a_lost_database_is(shop):
    backups = shop.home / "lib/backups"
    house.eventually(lambda: list(backups.glob("queue-*.db")), 20, "the backup of today")
    shop.erp.kill()
    house.eventually(lambda: stored(shop), 20, "a stored call")
    shop.kill()
    copy = next(backups.glob("queue-*.db"))
    shutil.copy(copy, shop.database)
    found = findings(shop, 1)
    (database,) = of(found, "database")
    assert database["rank"] == "attention" and "belongs to another file" in database["words"]
    assert database["next"] == f"mcp-gateway serve --config {shop.configuration}"
    for file in (shop.home / "lib").glob("queue.db*"):
        file.unlink()
    (database,) = of(findings(shop, 1), "database")
    assert database["rank"] == "urgent" and "is gone" in database["words"]
    assert database["next"] == f"mcp-gateway restore {copy} --config {shop.configuration}"


def test_what_a_start_would_refuse_is_said_while_all_is_well(shop):
    module = shop.home / "own.wasm"
    shutil.copy(house.MODULES / "units.wasm", module)
    shop.tables["tools.own"] = {"module": module}
    shop.reload()
    module.unlink()
    config = of(findings(shop, 1), "config", "attention")[0]
    assert "a restart would not come back" in config["words"] and "own.wasm" in config["words"]
    assert config["next"] == f"mcp-gateway validate-config --strict {shop.configuration}"
    mistyped = findings(shop, 1, config=shop.home / "gatewai.toml")
    assert [one["area"] for one in mistyped] == ["config"] and "there is no such file" in mistyped[0]["words"]
    shop.configuration.write_text("[[[")
    assert "is a guess" in of(findings(shop, 1), "config", "urgent")[0]["words"]


def test_who_lists_tokens_makes_no_directory(make):
    gateway = make.gateway()
    assert gateway.terminate() == 0
    gateway.tables["storage"]["directory"] = gateway.home / "elsewhere"
    gateway.write_configuration()
    assert "there are no tokens" in gateway.verb("token", "list").stdout
    assert not (gateway.home / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_stranger_is_told_that_he_may_not_look_and_nothing_untrue(shop):
    shop.home.chmod(0o711)
    shop.configuration.chmod(0o600)
    # The binary may lie where others cannot read; what root has opened for it they can run.
    copy = pathlib.Path(tempfile.mkdtemp(prefix="gwd-")) / "mcp-gateway"
    try:
        shutil.copy(house.BINARY, copy)
        copy.parent.chmod(0o755)
        libraries = os.environ.get("LD_LIBRARY_PATH", "")
        ran = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(copy), "doctor", "--config", str(shop.configuration)],
            capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libraries})
    finally:
        shutil.rmtree(copy.parent)
    assert ran.returncode == 1, ran
    assert "you may not look at this gateway" in ran.stdout and "another program" not in ran.stdout
    assert "would be refused" not in ran.stdout


def test_a_rotation_makes_nobody_forget_what_was_just_before(shop):
    shop.erp.feel("failing", status=500)
    for n in range(3):
        shop.call("erp__other", {"n": str(n)})
    for name in ("app.log", "security.log"):
        (shop.home / "log" / name).rename(shop.home / "log" / f"{name}.1")
    shop.signal(signal.SIGUSR2)
    house.eventually(lambda: "opened anew" in shop.stdout() and (shop.home / "log/app.log").exists(), 10, "the new file")
    found = findings(shop, 0)
    assert any("call failed" in one["words"] for one in of(found, "logs"))
    assert any("started 1 time" in one["words"] for one in of(found, "changed"))


def test_every_next_command_can_be_typed(shop):
    """By a shell, and beginning with a program there is."""
    shop.erp.kill()
    shop.call("erp__other", {"n": "1"})
    shop.order("POST", "/admin/drain")
    shop.order("POST", "/admin/rate-limit", {"requests_per_second": 5})
    commands = [one["next"] for one in findings(shop, 1) if one["next"]]
    assert shop.terminate() == 0
    commands += [one["next"] for one in findings(shop, 1) if one["next"]]
    known = {"mcp-gateway", "systemctl", "journalctl", "grep", "sqlite3", "df", "du", "ls", "ss", "kill", "top", "tail", "timedatectl",
             "date", "ps", "sudo", "find"}
    assert len(commands) > 6
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
        assert command.split()[0] in known, command


def test_a_lockout_is_an_event_of_its_own_and_counted(make):
    proxied = {"X-Forwarded-For": "203.0.113.9"}
    one = make.gateway(sections={"auth": {"mode": "token"}, "server": {"trusted_proxies": ["127.0.0.1"]}})
    for n in range(14):
        one.get("/mcp", {**proxied, "Authorization": f"Bearer mcpgw_wrong{n}"}, "GET")
    log = one.security_lines()
    locked = [line for line in log if " lockout " in line]
    assert len(locked) == 1 and "suspected intrusion" in locked[0] and "peer=203.0.113.9" in locked[0], log
    metrics = one.get("/metrics").body.decode()
    assert 'mcp_security_events_total{event="lockout"} 1' in metrics
    assert 'mcp_security_events_total{event="auth_failure"} 14' in metrics, "also those without a line"
    assert 'mcp_security_events_total{event="tool_pin_mismatch"} 0' in metrics
