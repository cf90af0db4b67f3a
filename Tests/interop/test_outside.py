# Licensed under the Apache License 2.0; see LICENSE.
"""What the on-call engineer sees, by the words of the playbook: curl, sqlite3, grep."""

import json
import re
import subprocess

import pytest

import exposition
import gateway as house
import wire


@pytest.fixture(scope="module")
def gateway(make_once):
    upstream = make_once.server(house.scripted_server())
    sections = {"admin": {"public_metrics": True}, "log": {"slow_call": "20s"}}
    gateway = make_once.gateway({"up": {"url": upstream.url, "timeout": "1s"}}, ["text", "units"], sections)
    gateway.wait_for_tools("text__echo", "up__echo")
    return gateway


def curl(*arguments):
    return subprocess.run(["curl", "-s", "--max-time", "5", *arguments], capture_output=True, text=True)


def test_health_by_the_playbooks_commands(gateway):
    url = f"http://localhost:{gateway.port}/health"
    assert curl("-f", url).returncode == 0
    head = curl("-I", url)
    assert head.returncode == 0 and head.stdout.startswith("HTTP/1.1 200")
    sick = subprocess.run(["jq", '.components[] | select(.status != "healthy")'], input=curl(url).stdout, capture_output=True,
                          text=True)
    assert sick.returncode == 0, sick.stderr


def test_a_head_has_the_length_of_the_get_and_no_body(gateway):
    with wire.Connection(gateway.port) as connection:
        connection.send(wire.request("HEAD", "/health", {}) + wire.request("GET", "/health", {}))
        head, get = connection.response("HEAD"), connection.response("GET")
    assert head.status == get.status == 200 and get.json["status"]
    assert head.header("Content-Type") == get.header("Content-Type")


def test_health_names_its_components(gateway):
    health = gateway.health()
    assert health["status"] in ("healthy", "degraded") and health["version"] and health["instance"]
    assert health["uptime_seconds"] >= 0
    names = [one["name"] for one in health["components"]]
    assert {"server", "storage", "wasm", "upstream:up"} <= set(names) and len(names) == len(set(names))
    for one in health["components"]:
        assert one["status"] in ("healthy", "degraded", "unhealthy") and one["detail"]
        assert "checked_at" in one or "since" in one


def test_live_and_ready_answer(gateway):
    for path in ("/health/live", "/health/ready"):
        assert gateway.get(path).status == 200
        assert gateway.get(path, method="HEAD").status == 200


def test_an_operator_on_the_box_sees_the_components_without_a_setting(make):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    assert gateway.component("wasm")["status"] == "healthy"
    assert gateway.get("/metrics").status == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "Origin"])
def test_a_stranger_behind_a_proxy_sees_only_the_status(make, header):
    gateway = make.gateway()
    value = f"http://localhost:{gateway.port}" if header == "Origin" else "203.0.113.9"
    health = gateway.get("/health", {header: value})
    assert health.status == 200 and set(health.json) == {"status"}, health
    assert gateway.get("/metrics", {header: value}).status in (401, 403, 404)


def metrics(gateway):
    response = gateway.get("/metrics")
    assert response.status == 200 and response.header("Content-Type").startswith("text/plain")
    return exposition.parse(response.body.decode())


def test_metrics_are_valid_and_have_the_playbooks_names(gateway):
    gateway.call("text__echo", {"text": "x"})
    gateway.get("/nothing")
    samples, types = metrics(gateway)
    assert types["http_requests_total"] == "counter" and types["http_request_duration_seconds"] == "histogram"
    assert types["process_resident_memory_bytes"] == "gauge" and types["mcp_queue_size"] == "gauge"
    for labels, _ in samples["http_requests_total"]:
        assert set(labels) == {"method", "path", "status"} and re.fullmatch(r"[1-5]\d\d", labels["status"])
    assert any(float(labels["le"]) == 2 for labels, _ in samples["http_request_duration_seconds_bucket"])
    assert 1 << 20 < samples["process_resident_memory_bytes"][0][1] < 1 << 32
    assert samples["mcp_queue_size"] == [({}, 0.0)]


def total(samples, **wanted):
    return sum(value for labels, value in samples["http_requests_total"] if wanted.items() <= labels.items())


def test_requests_are_counted(gateway):
    before, _ = metrics(gateway)
    for _ in range(7):
        gateway.call("text__echo", {"text": "x"})
    for number in range(5):
        gateway.get(f"/made/up/{number}")

    def calls(samples):
        return total(samples, path="/mcp", status="200")

    house.eventually(lambda: calls(metrics(gateway)[0]) >= calls(before) + 7, 5, "seven calls in the counter")
    after, _ = metrics(gateway)
    assert total(after, path="other", status="404") == total(before, path="other", status="404") + 5
    assert not any("made" in json.dumps(labels) for series in after.values() for labels, _ in series)


def test_labels_never_come_from_what_a_client_sends(gateway):
    def names():
        samples, _ = metrics(gateway)
        return {json.dumps([name, sorted(labels.items())]) for name, series in samples.items() for labels, _ in series}

    for evil in ("evil_one", "evil_two"):
        gateway.modern("tools/call", {"name": evil, "arguments": {}})
        gateway.modern(f"{evil}/method")
        gateway.exchange(wire.request(evil.upper(), f"/{evil}", {}), "GET")
    assert not [series for series in names() if "evil" in series.lower()]


def test_the_request_log_answers_the_playbooks_query(gateway):
    gateway.call("text__echo", {"text": "x"})
    gateway.call("up__echo", {"text": "x"})

    def rows():
        return set(gateway.sql("SELECT DISTINCT method, tool, upstream, status FROM request_log "
                               "WHERE tool IN ('text__echo', 'up__echo');").splitlines())

    house.eventually(lambda: {row.split("|")[1] for row in rows()} == {"text__echo", "up__echo"}, 10, "both rows")
    assert "tools/call|up__echo|up|ok" in rows()
    average = gateway.sql("SELECT AVG(response_time_ms), MAX(response_time_ms) \nFROM request_log \n"
                          "WHERE timestamp > datetime('now', '-10 minutes');")
    mean, longest = (float(value) for value in average.split("|"))
    assert 0 < mean <= longest
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", gateway.sql("SELECT timestamp FROM request_log LIMIT 1;"))


def test_the_row_of_a_call_bears_the_request_id_of_its_answer(gateway):
    response = gateway.exchange(wire.modern_request("tools/call", {"name": "text__echo", "arguments": {"text": "x"}}))
    id = response.header("X-Request-Id")
    house.eventually(lambda: gateway.sql(f"SELECT COUNT(*) FROM request_log WHERE request_id = '{id}';") == "1", 10, "its row")


def test_the_error_log_answers_the_playbooks_query(gateway):
    assert gateway.call("up__hang", timeout=20)[1]
    query = ("SELECT timestamp, error_type, message FROM error_log \nWHERE timestamp > datetime('now', '-1 hour') \n"
             "ORDER BY timestamp DESC LIMIT 50;")
    row = house.eventually(lambda: gateway.sql(query), 10, "a row in error_log").splitlines()[0]
    assert len(row.split("|")) >= 3 and len(row.split("|")[2]) > 10


def test_the_queue_and_the_tables_are_there(gateway):
    assert {"queue_items", "error_log", "request_log"} <= set(gateway.sql(".tables").split())
    assert gateway.sql("SELECT status, COUNT(*) FROM queue_items GROUP BY status;") == ""
    assert gateway.sql("PRAGMA integrity_check;") == "ok"
    columns = {
        "queue_items": "id status upstream tool idempotency_key caller priority attempts created_at updated_at available_at "
                       "expires_at last_error",
        "error_log": "id timestamp error_type message component request_id",
        "request_log": "id timestamp method tool upstream route status response_time_ms caller request_id",
    }
    for table, wanted in columns.items():
        have = gateway.sql(f"SELECT name FROM pragma_table_info('{table}');").split()
        assert set(wanted.split()) <= set(have), table
        if table == "queue_items":
            assert {"payload", "payload_ref"} & set(have)
    assert (gateway.home / "lib/queue").is_dir()


def test_a_plain_copy_of_the_running_database_is_usable(gateway, tmp_path):
    """The playbook's `cp queue.db queue.db.backup` while the gateway runs: complete after a second without writes."""
    gateway.call("text__echo", {"text": "x"})
    count = house.eventually(lambda: int(gateway.sql("SELECT COUNT(*) FROM request_log;")), 10, "a row")
    copy = tmp_path / "copy.db"

    def complete():
        copy.write_bytes(gateway.database.read_bytes())
        ran = subprocess.run(["sqlite3", str(copy), "PRAGMA integrity_check; SELECT COUNT(*) FROM request_log;"],
                             capture_output=True, text=True)
        lines = ran.stdout.split()
        return len(lines) == 2 and lines[0] == "ok" and int(lines[1]) >= count

    house.eventually(complete, 10, "a complete copy")


def test_a_quiet_day_leaves_nothing_for_the_playbooks_greps(make):
    upstream = make.server(house.scripted_server())
    gateway = make.gateway({"up": {"url": upstream.url}}, ["text", "units"])
    gateway.wait_for_tools("text__echo", "up__echo")
    session = gateway.legacy()
    for _ in range(10):
        assert not gateway.call("text__echo", {"text": "x"})[1]
        assert not session.call("up__echo", {"text": "x"})[1]
        gateway.get("/health")
        gateway.get("/metrics")
    session.delete()
    assert gateway.terminate() == 0
    log = gateway.home / "log/app.log"
    text = log.read_text()
    assert text.strip(), "app.log is empty"
    for pattern in (r"error\|fail\|panic", r"slow\|timeout\|deadline", r"oom\|memory\|resource"):
        ran = subprocess.run(["grep", "-i", pattern, str(log)], capture_output=True, text=True)
        assert ran.stdout == "", ran.stdout
    for line in text.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", line), line
    security = gateway.home / "log/security.log"
    if security.exists():
        assert all(line.startswith(("security", "auth")) for line in security.read_text().splitlines())


def test_the_log_finds_what_went_wrong(gateway):
    gateway.call("up__hang", timeout=20)
    log = gateway.home / "log/app.log"
    house.eventually(lambda: re.search("error|fail|timeout|deadline", log.read_text(), re.I), 10, "a line about the hanging call")


def test_the_control_socket_answers(gateway):
    ran = curl("-f", "--unix-socket", str(gateway.control), "http://localhost/health")
    assert ran.returncode == 0, ran
    health = json.loads(ran.stdout)
    assert health["status"] and health["components"]
    assert gateway.control.stat().st_mode & 0o777 == 0o660


def test_files_are_not_open_to_the_world(gateway):
    for file in gateway.database, gateway.home / "log/app.log":
        assert file.stat().st_mode & 0o007 == 0, file
    assert gateway.database.stat().st_mode & 0o777 == 0o660
    for key in (gateway.home / "lib").rglob("*key*"):
        if key.is_file():
            assert key.stat().st_mode & 0o777 == 0o600, key


def test_memory_does_not_grow_with_calls(gateway):
    """Not a measurement, only a guard against the gross leak: thousands of calls and megabytes pass, and little is kept."""
    def resident():
        return metrics(gateway)[0]["process_resident_memory_bytes"][0][1]

    def work(calls):
        with wire.Connection(gateway.port) as connection:
            for _ in range(calls):
                connection.send(wire.modern_request("tools/call", {"name": "text__echo", "arguments": {"text": "x" * 20_000}}))
                assert connection.response().status == 200

    work(300)
    before = resident()
    work(1500)
    assert resident() < before + (48 << 20)
