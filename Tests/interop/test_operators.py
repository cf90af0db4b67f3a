# Licensed under the Apache License 2.0; see LICENSE.
"""What an operator types while calls are stored: the playbook's lines, the admin routes, the verbs."""

import json
import os
import pwd
import subprocess
import time

import pytest

import gateway as house
from operators import NOBODY, curl
from shop import Shop, handle_of

@pytest.fixture
def shop(make):
    return Shop(make)


def url(shop, path):
    return f"http://localhost:{shop.gateway.port}{path}"


def verb(shop, *words, code=0):
    """What a verb prints."""
    ran = shop.gateway.verb(*words, code=code)
    return ran.stdout if code == 0 else ran.stdout + ran.stderr


def test_the_lines_of_the_playbook_about_storage(shop):
    shop.leave()
    handle = handle_of(shop.call("dispense", "a"))
    shop.call("price", "x")
    status, said = curl("-X", "POST", url(shop, "/admin/cache/clear"))
    assert status == 200 and said["words"]
    status, said = curl("-X", "POST", url(shop, "/admin/rebuild-indices"))
    assert status == 200 and "indices rebuilt" in said["words"]
    assert shop.gateway.sql(".tables")
    assert shop.gateway.sql("SELECT status, COUNT(*) FROM queue_items GROUP BY status;") == "queued|1"
    assert shop.gateway.sql(
        "SELECT timestamp, error_type, message FROM error_log WHERE timestamp > datetime('now', '-1 hour') ORDER BY timestamp DESC LIMIT 50;")
    home = shop.gateway.home / "lib"
    (home / "old.corrupt").write_text("x")
    subprocess.run(["find", str(home), "-name", "*.corrupt", "-delete"], check=True)
    subprocess.run(["ls", "-la", str(home / "queue/")], check=True)
    shop.server.start()
    status, said = curl("-X", "POST", url(shop, "/admin/sync/force"))
    assert status == 200 and said["upstreams"]["up"]["status"] == "healthy", said
    assert house.eventually(lambda: shop.result(handle), 10) == ("dispense a", False)
    assert shop.gateway.sql("PRAGMA integrity_check;") == "ok"
    lines = (shop.gateway.home / "log/security.log").read_text().splitlines()
    for what in ("cache", "rebuild", "sync"):
        assert any("admin_call" in line and what in line for line in lines), (what, lines)
    assert all("security" in line for line in lines)


def test_the_cache_is_empty_when_it_was_cleared(shop):
    assert shop.call("price", "a")["result"]["content"][0]["text"] == "a asked 1 times"
    assert shop.call("price", "a")["result"]["content"][0]["text"] == "a asked 1 times"
    status, said = curl("-X", "POST", url(shop, "/admin/cache/clear"), "-d", '{"tool":"up__price"}')
    assert status == 200 and "1 cached answer" in said["words"], said
    assert shop.call("price", "a")["result"]["content"][0]["text"] == "a asked 2 times"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_of_the_machine_is_a_stranger(shop):
    for path in ("/admin/queue", "/admin/cache/clear", "/metrics"):
        method = "GET" if path != "/admin/cache/clear" else "POST"
        status, said = curl("-X", method, url(shop, path), user=pwd.getpwuid(NOBODY).pw_name)
        assert status == 403 and said["error"]["code"] == "operators_only", (path, said)
    assert curl(url(shop, "/health"), user=pwd.getpwuid(NOBODY).pw_name)[1].keys() == {"status"}


@pytest.mark.parametrize("header", [
    "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "Via: 1.1 proxy", "X-Real-IP: 127.0.0.1", "Origin: https://evil.example",
    "Sec-Fetch-Site: cross-site"])
def test_what_came_through_others_is_a_stranger(shop, header):
    status, _ = curl("-X", "POST", url(shop, "/admin/cache/clear"), "-H", header)
    assert status == 403


@pytest.mark.parametrize("body", ["{", "[]", '{"tool":5}', '{"tol":"x"}', "5"])
def test_bad_orders_are_refused_in_words(shop, body):
    status, said = curl("-X", "POST", url(shop, "/admin/cache/clear"), "--data-binary", body)
    assert status == 400 and said["error"]["message"]


def test_the_queue_can_be_seen_and_steered(shop):
    shop.leave()
    handles = [handle_of(shop.call("dispense", f"n{number}")) for number in range(3)]
    listed = json.loads(verb(shop, "queue", "list", "--json"))
    ids = sorted(item["id"] for item in listed["items"])
    assert len(ids) == 3
    assert all(handle not in json.dumps(listed) for handle in handles), "handles are their callers' alone"
    assert "up__dispense" in verb(shop, "queue", "list")
    assert "up__dispense" in verb(shop, "queue", "show", str(ids[0]))
    verb(shop, "queue", "cancel", str(ids[0]))
    assert shop.rows() == ["cancelled", "queued", "queued"]
    assert "cancelled" in shop.gateway.call("gateway__queue_status", {"handle": handles[0]})[0]
    shop.server.start()
    house.eventually(lambda: shop.rows() == ["cancelled", "completed", "completed"], 20)
    verb(shop, "queue", "retry", str(ids[0]))
    house.eventually(lambda: shop.rows() == ["completed"] * 3, 20)
    assert verb(shop, "queue", "retry", str(ids[0]), code=1), "what is done is not done again"
    assert verb(shop, "queue", "show", "999999", code=1)
    assert sorted(n for _, n in shop.done()) == ["n0", "n1", "n2"]


def test_a_person_decides_about_what_is_unknown(shop):
    shop.leave()
    shop.call("dispense", "a!")
    shop.server.start()
    house.eventually(lambda: shop.rows() == ["unknown"], 20)
    text = verb(shop, "queue", "list")
    assert "unknown" in text and "person" in text
    id = shop.gateway.sql("SELECT id FROM queue_items")
    verb(shop, "queue", "cancel", id)
    assert shop.rows() == ["cancelled"]
    house.eventually(lambda: shop.gateway.component("queue")["status"] == "healthy", 10)


def test_backup_verify_and_restore_by_their_verbs(shop, tmp_path):
    shop.leave()
    handle = handle_of(shop.call("assign", "a"))
    copy = tmp_path / "copy.db"
    verb(shop, "backup", "--to", str(copy))
    verb(shop, "backup")
    day = time.strftime("%Y%m%d")
    assert (shop.gateway.home / f"lib/backups/queue-{day}.db").exists()
    verb(shop, "verify")
    verb(shop, "verify", str(copy))
    assert verb(shop, "restore", str(copy), code=1), "not while it runs"
    shop.server.start()
    house.eventually(lambda: shop.rows() == ["completed"], 20)
    shop.gateway.terminate()
    verb(shop, "restore", str(copy))
    shop.gateway.start()
    house.eventually(lambda: shop.rows() == ["completed"], 20)
    assert shop.done() == [["assign", "a"]] * 2, "idempotent, so it was sent again"
    assert shop.result(handle) == ("assign a", False)
    copy.write_bytes(b"garbage" * 1000)
    shop.gateway.terminate()
    assert verb(shop, "restore", str(copy), code=1)
    assert verb(shop, "verify", str(copy), code=1)
    shop.gateway.start()
    assert shop.rows() == ["completed"]


def test_one_id_from_acceptance_to_result(shop):
    shop.leave()
    shop.call("dispense", "a")
    id = shop.gateway.sql("SELECT request_id FROM queue_items")
    shop.server.start()
    house.eventually(lambda: shop.rows() == ["completed"], 20)
    rows = lambda: shop.gateway.sql(f"SELECT route, status FROM request_log WHERE request_id = '{id}' ORDER BY id").splitlines()
    house.eventually(lambda: rows() == ["queue|queued", "upstream|ok"], 10)
    shown = json.loads(verb(shop, "queue", "show", shop.gateway.sql("SELECT id FROM queue_items"), "--json"))
    assert id in json.dumps(shown)


# Tasks of 2025-11-25, the experiment of one revision.

def test_an_old_client_that_asks_for_a_task(shop):
    session = shop.gateway.legacy("2025-11-25")
    assert session.opened["capabilities"]["tasks"]["requests"]["tools"]["call"] == {}
    listed = {tool["name"]: tool for tool in session.request("tools/list")["result"]["tools"]}
    assert listed["up__dispense"]["execution"]["taskSupport"] == "optional"
    assert "execution" not in listed["up__price"]
    begin = lambda n, id: session.request("tools/call", {"name": "up__dispense", "arguments": {"n": n}, "task": {"ttl": 60000}}, id)
    task = begin("a", 11)["result"]["task"]
    assert task["status"] == "working" and isinstance(task["ttl"], int) and isinstance(task["pollInterval"], int)
    result = session.request("tasks/result", {"taskId": task["taskId"]}, 12)["result"]
    assert result["content"][0]["text"] == "dispense a"
    assert result["_meta"]["io.modelcontextprotocol/related-task"]["taskId"] == task["taskId"]
    assert session.request("tasks/get", {"taskId": task["taskId"]}, 13)["result"]["status"] == "completed"
    assert session.request("tasks/cancel", {"taskId": task["taskId"]}, 14)["error"]["code"] == -32602
    shop.leave()
    task = begin("b", 15)["result"]["task"]
    # It may be on its way just now: nobody has noticed yet that the server is gone.
    cancel = lambda: session.request("tasks/cancel", {"taskId": task["taskId"]}, 16).get("result")
    assert house.eventually(cancel, 10)["status"] == "cancelled"
    assert session.request("tasks/get", {"taskId": "call-none"}, 17)["error"]["code"] == -32602
    price = {"name": "up__price", "arguments": {"n": "a"}, "task": {}}
    assert session.request("tools/call", price, 18)["error"]["code"] == -32601
    for version in ("2025-06-18", "2024-11-05"):
        older = shop.gateway.legacy(version)
        assert "tasks" not in older.opened["capabilities"]
        assert older.request("tasks/get", {"taskId": task["taskId"]})["error"]["code"] == -32601


def test_without_stored_tools_there_are_no_such_tasks(make):
    session = Shop(make, {"dispense": {}}).gateway.legacy("2025-11-25")
    assert "tasks" not in session.opened["capabilities"]
    assert session.request("tasks/get", {"taskId": "x"})["error"]["code"] == -32601
