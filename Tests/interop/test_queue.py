# Licensed under the Apache License 2.0; see LICENSE.
"""Calls that are stored while their server is away: accepted, asked for, sent, and never lost."""

import random
import subprocess
import time

import pytest

import gateway as house
import sdk
import torture
import wire
from shop import QUEUE, TASKS, Shop, handle_in, handle_of


@pytest.fixture
def shop(make):
    return Shop(make)


def test_a_client_with_tasks_gets_one_and_its_result_when_the_server_is_back(shop):
    shop.leave()
    answer = shop.call("dispense", "a", TASKS)["result"]
    assert (answer["resultType"], answer["status"]) == ("task", "working")
    assert isinstance(answer["ttlMs"], int) and isinstance(answer["pollIntervalMs"], int)
    assert shop.rows("status, upstream, tool, payload, caller") == ['queued|up|up__dispense|{"n": "a"}|anonymous']
    assert shop.task(answer["taskId"])["status"] == "working"
    shop.server.start()
    task = house.eventually(lambda: (lambda task: task if task["status"] != "working" else None)(shop.task(answer["taskId"])), 20)
    assert task["status"] == "completed"
    assert task["result"]["content"][0]["text"] == "dispense a"
    assert shop.done() == [["dispense", "a"]]
    assert shop.gateway.sql("SELECT status, COUNT(*) FROM queue_items GROUP BY status;") == "completed|1"


@pytest.mark.parametrize("version", wire.LEGACY)
def test_an_old_client_is_told_what_to_ask(shop, version):
    session = shop.gateway.legacy(version)
    listed = {tool["name"]: tool for tool in session.request("tools/list")["result"]["tools"]}
    assert {"gateway__queue_result", "gateway__queue_status"} <= set(listed)
    shop.leave()
    text, is_error = session.call("up__dispense", {"n": "a"}, id=7)
    assert not is_error and text.startswith("NOT DONE YET: stored as call-")
    handle = handle_in(text)
    assert f"NOT DONE YET: stored as {handle}; do not call again; ask gateway__queue_result" in text
    assert "queued" in session.call("gateway__queue_status", {"handle": handle})[0]
    assert session.call("gateway__queue_result", {"handle": handle})[0].startswith("NOT DONE YET")
    shop.server.start()

    def there():
        answer = session.call("gateway__queue_result", {"handle": handle})
        return None if answer[0].startswith("NOT DONE YET") else answer

    assert house.eventually(there, 20) == ("dispense a", False)
    assert "completed" in session.call("gateway__queue_status", {"handle": handle})[0]


@pytest.mark.parametrize("kind, mode", [("mcp1", "auto"), ("mcp2", "auto"), ("mcp2", "legacy"), ("fastmcp", "auto")])
def test_a_client_that_we_did_not_write_waits_for_its_result(shop, kind, mode):
    with sdk.Client(kind, f"http://127.0.0.1:{shop.gateway.port}/mcp", mode) as client:
        assert {"up__dispense", "gateway__queue_result", "gateway__queue_status"} <= set(client.list())
        assert client.call("up__dispense", {"n": "online"}) == ("dispense online", False)
        shop.leave()
        text, is_error = client.call("up__dispense", {"n": "later"})
        assert not is_error and text.startswith("NOT DONE YET: stored as ")
        handle = handle_in(text)
        assert "queued" in client.call("gateway__queue_status", {"handle": handle})[0]
        shop.server.start()

        def there():
            answer = client.call("gateway__queue_result", {"handle": handle})
            return None if answer[0].startswith("NOT DONE YET") else answer

        assert house.eventually(there, 20) == ("dispense later", False)
        assert client.call("up__dispense", {"n": "again"}) == ("dispense again", False)
    assert [n for _, n in shop.done()] == ["online", "later", "again"]


def test_what_was_acknowledged_survives_a_kill(shop):
    shop.leave()
    handles = [handle_of(shop.call("dispense", f"n{number}")) for number in range(20)]
    shop.gateway.restart()
    assert shop.rows() == ["queued"] * 20
    assert shop.result(handles[0]) is None
    shop.server.start()
    house.eventually(lambda: set(shop.rows()) == {"completed"}, 20)
    assert shop.done() == [["dispense", f"n{number}"] for number in range(20)], "in their order, once each"
    assert [shop.result(handle) for handle in handles] == [(f"dispense n{number}", False) for number in range(20)]
    assert shop.gateway.sql("PRAGMA integrity_check;") == "ok"


def test_a_start_without_network_knows_the_tools(shop):
    shop.leave()
    shop.gateway.restart()
    listed = [tool["name"] for tool in shop.gateway.modern("tools/list")[1]["result"]["tools"]]
    assert "up__dispense" in listed
    handle = handle_of(shop.call("dispense", "a"))
    assert shop.gateway.component("upstream:up")["status"] == "unhealthy"
    assert shop.gateway.health()["status"] == "degraded"
    shop.server.start()
    assert house.eventually(lambda: shop.result(handle), 20) == ("dispense a", False)


def test_bad_arguments_are_refused_at_once(shop):
    shop.leave()
    for arguments in ({}, {"n": 5}):
        text, is_error = shop.gateway.call("up__dispense", arguments)
        assert is_error and "arguments" in text
    assert shop.rows() == []


def test_a_lost_answer_waits_for_a_person_unless_twice_is_harmless(shop):
    shop.leave()
    lost, safe = shop.call("dispense", "a!"), shop.call("assign", "b!")
    shop.server.start()
    house.eventually(lambda: shop.rows()[0] == "unknown", 20)
    assert [line for line in shop.done() if line[0] == "dispense"] == [["dispense", "a!"]]
    assert shop.result(handle_of(lost))[1], "the client is told in words"
    assert shop.gateway.component("queue")["status"] == "degraded"
    # Sent again and again, always with the same key.
    house.eventually(lambda: sum(line[0] == "assign" for line in shop.done()) >= 2, 20)
    keys = {line.split()[2] for line in open(shop.book.name) if line.startswith("assign")}
    assert len(keys) == 1 and "-" not in keys


def test_later_calls_line_up_behind_those_that_wait(shop):
    shop.leave()
    shop.call("dispense", "first")
    shop.server.start()
    for number in range(5):
        shop.call("dispense", f"then{number}")
    house.eventually(lambda: len(shop.done()) == 6, 20)
    assert [n for _, n in shop.done()] == ["first"] + [f"then{number}" for number in range(5)]


def test_a_call_whose_time_is_over_is_not_sent(make):
    shop = Shop(make, {"dispense": {**QUEUE, "expires": "1s"}})
    shop.leave()
    handle = handle_of(shop.call("dispense", "a"))
    house.eventually(lambda: shop.rows() == ["expired"], 20)
    shop.server.start()
    assert shop.result(handle)[1]
    assert shop.done() == []


def test_a_full_queue_refuses_in_words_or_gives_up_its_oldest(make):
    shop = Shop(make, sections={"storage": {"max_queue_items": 2}})
    shop.leave()
    first = handle_of(shop.call("dispense", "a"))
    shop.call("dispense", "b")
    text, is_error = shop.gateway.call("up__dispense", {"n": "c"})
    assert is_error and "could not be stored" in text and "2" in text
    assert shop.rows() == ["queued"] * 2
    shop.gateway.terminate()
    shop.gateway.tables["storage"]["when_full"] = "drop_oldest"
    shop.gateway.start()
    shop.call("dispense", "c")
    assert shop.rows("status, COALESCE(last_error, '')") == ["cancelled|dropped: queue full", "queued|", "queued|"]
    assert shop.result(first)[1]


# Re-sent calls.

def keyed(shop, n, key, **more):
    return shop.call("dispense", n, meta={"mcp-gateway/idempotency-key": key}, **more)


def test_a_call_that_is_sent_again_with_its_key_is_carried_out_once(shop):
    first, second = keyed(shop, "a", "k1"), keyed(shop, "a", "k1", id=2)
    assert (first["id"], second["id"]) == (1, 2)
    assert first["result"]["content"] == second["result"]["content"]
    assert shop.done() == [["dispense", "a"]]
    assert [line.split()[2] for line in open(shop.book.name)] == ["k1"], "the server is told the client's key"
    shop.gateway.restart()
    assert keyed(shop, "a", "k1")["result"]["content"] == first["result"]["content"], "also after a restart"
    assert keyed(shop, "b", "k1")["error"]["code"] == -32602, "the key of another call"
    assert keyed(shop, "a", "k2")["result"]["content"] == first["result"]["content"]
    assert len(shop.done()) == 2, "two keys are two calls"


def test_without_a_key_two_equal_calls_are_two(shop):
    for _ in range(2):
        shop.call("dispense", "a")
    assert len(shop.done()) == 2


def test_a_stored_call_that_is_sent_again_is_the_same_one(shop):
    shop.leave()
    handles = {handle_of(keyed(shop, "a", "k1")) for _ in range(3)}
    assert len(handles) == 1 and len(shop.rows()) == 1
    shop.gateway.restart()
    assert handle_of(keyed(shop, "a", "k1")) in handles
    shop.server.start()
    house.eventually(lambda: shop.rows() == ["completed"], 20)
    assert keyed(shop, "a", "k1")["result"]["content"][0]["text"] == "dispense a"
    assert shop.done() == [["dispense", "a"]]


def test_an_old_client_that_sends_a_request_again_in_its_session(shop):
    session = shop.gateway.legacy("2025-06-18")
    assert session.call("up__dispense", {"n": "a"}, id=5) == session.call("up__dispense", {"n": "a"}, id=5)
    assert len(shop.done()) == 1
    session.call("up__dispense", {"n": "a"}, id=6)
    assert len(shop.done()) == 2


def test_equal_calls_within_the_time_of_dedupe(make):
    shop = Shop(make, {"dispense": {"dedupe": "1m"}})
    session, other = shop.gateway.legacy("2025-06-18"), shop.gateway.legacy("2025-06-18")
    for id in (1, 2):
        session.call("up__dispense", {"n": "a"}, id=id)
    assert len(shop.done()) == 1
    other.call("up__dispense", {"n": "a"}, id=1)
    assert len(shop.done()) == 2, "another client's call is another call"
    for id in (1, 2):
        shop.call("dispense", "a", id=id)
    assert len(shop.done()) == 4, "nobody knows whether two callers without a name are one"


# Answers given again.

def test_answers_are_given_again_while_they_are_fresh_and_when_there_is_no_other(make):
    shop = Shop(make, {"price": {"offline": "stale", "cache": "1h"}})
    first = shop.call("price", "a")["result"]
    again = shop.call("price", "a")["result"]
    assert first["content"] == again["content"]
    kept = again["_meta"]["mcp-gateway/kept-answer"]
    assert kept["is_stale"] is False and kept["owner"] == "up" and kept["age_seconds"] >= 0
    assert shop.call("price", "b")["result"]["content"][0]["text"] == "b asked 1 times"
    shop.gateway.terminate()
    shop.gateway.tables["upstreams.up"]["tools"] = {"price": {"offline": "stale"}}
    shop.gateway.start()
    shop.gateway.wait_for_tools("up__price")
    assert shop.call("price", "a")["result"]["content"][0]["text"] == "a asked 2 times", "without cache it is asked"
    shop.leave()
    # Kept answers are written behind; a stop waits for them.
    shop.gateway.terminate()
    shop.gateway.start()
    stale = shop.call("price", "a")["result"]
    assert stale["content"][0]["text"] == "a asked 2 times" and not stale.get("isError")
    kept = stale["_meta"]["mcp-gateway/kept-answer"]
    assert kept["is_stale"] is True and kept["reason"]
    assert shop.call("price", "never")["result"]["isError"] is True


# Breakers.

def test_the_breaker_opens_and_closes_and_says_so(make):
    shop = Shop(make, {"dispense": {}}, sections=None)
    shop.leave()
    for _ in range(12):
        assert shop.gateway.call("up__dispense", {"n": "a"})[1]
    assert "breaker open" in shop.gateway.component("upstream:up")["detail"]
    assert 'mcp_circuit_breaker_state{upstream="up"} 2' in shop.gateway.get("/metrics").body.decode()
    shop.server.start()
    house.eventually(lambda: shop.gateway.call("up__dispense", {"n": "a"}) == ("dispense a", False), 20)
    house.eventually(lambda: shop.gateway.component("upstream:up")["status"] == "healthy", 10)


# Restoring by hand, as the playbook has it.

def restore_by_hand(gateway):
    day = time.strftime("%Y%m%d")
    for name in ("queue.db", f"backups/queue-{day}.db"):
        assert (gateway.home / "lib" / name).exists(), name
    subprocess.run(
        ["sh", "-c", "cp backups/queue-$(date +%Y%m%d).db queue.db"], cwd=gateway.home / "lib", check=True)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_an_older_file_that_is_restored_sends_nothing_twice(shop, how):
    shop.leave()
    lost, safe = shop.call("dispense", "a"), shop.call("assign", "b")
    # The day's backup is made anew at a start that finds none.
    shop.gateway.terminate()
    for file in (shop.gateway.home / "lib/backups").glob("*.db"):
        file.unlink()
    shop.gateway.start()
    house.eventually(lambda: list((shop.gateway.home / "lib/backups").glob("queue-*.db")), 20, "the backup")
    shop.server.start()
    house.eventually(lambda: shop.rows() == ["completed"] * 2, 20)
    if how == "stop":
        assert shop.gateway.terminate() == 0
    else:
        shop.gateway.kill()
    restore_by_hand(shop.gateway)
    shop.gateway.start()
    house.eventually(lambda: shop.rows() == ["unknown", "completed"], 20)
    assert sorted(shop.done()) == [["assign", "b"], ["assign", "b"], ["dispense", "a"]]
    assert shop.gateway.component("queue")["status"] == "degraded"
    assert shop.gateway.sql("PRAGMA integrity_check;") == "ok"
    assert shop.result(handle_of(lost))[1]


def test_kills_at_random_instants_lose_nothing_and_repeat_nothing():
    seed = random.randrange(2**32)
    faults, counts = torture.torture(rounds=8, seed=seed, clients=6)
    assert not faults, (seed, faults[:10])
    assert counts["stored"] > 0 and counts["completed"] > 0, counts


def test_older_backups_copied_over_the_database_repeat_nothing():
    seed = random.randrange(2**32)
    faults, counts = torture.torture(rounds=12, seed=seed, clients=6, restores=True)
    assert not faults, (seed, faults[:10])
