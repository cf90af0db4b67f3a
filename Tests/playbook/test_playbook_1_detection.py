# Licensed under the Apache License 2.0; see LICENSE.
"""Detection, and the first fifteen minutes: on a quiet day, and when something is wrong."""

import json

import pytest

from installed import DATABASE
from lab import plain
from waiting import eventually

GREPS = {
    "errors": r'''grep -i "error\|fail\|panic" /var/log/mcp-gateway/app.log | tail -50''',
    "speed": r'''grep "slow\|timeout\|deadline" /var/log/mcp-gateway/app.log''',
    "memory": r'''grep -E "(oom|memory|resource)" /var/log/mcp-gateway/app.log''',
    "security": r'''grep -E "(auth|security|intrusion)" /var/log/mcp-gateway/security.log''',
}


# --- A quiet day ---

def test_a_healthy_gateway_says_so_and_lists_no_component(operator):
    answer = operator.type('curl -f http://localhost:8080/health || echo "ALERT: Health check failed"').ok()
    assert json.loads(answer.stdout)["status"] == "healthy"
    assert operator.unhealthy() == {}


def test_a_quiet_day_has_nothing_to_grep_for(operator):
    for name in ("errors", "speed", "memory"):
        found = operator.type(GREPS[name])
        assert (found.stdout, found.stderr) == ("", ""), found
    # What operators have done themselves is there, and nothing else.
    assert all("admin_call" in line for line in operator.type(GREPS["security"]).ok().stdout.splitlines())


def test_the_metrics_that_the_playbook_watches_are_there(operator):
    metrics = operator.machine.run("curl -sf http://localhost:8080/metrics").ok().stdout
    for name in ("http_requests_total{", "http_request_duration_seconds_bucket{", "process_resident_memory_bytes ",
                 "mcp_queue_size "):
        assert f"\n{name}" in metrics
    assert 'le="2"' in metrics


# --- Looking around ---

def test_the_service_is_active(operator):
    told = operator.type("systemctl status mcp-gateway").ok().stdout
    assert "active (running)" in told and "loaded (/lib/systemd/system/mcp-gateway.service; enabled" in told


def test_the_journal_is_followed(operator):
    operator.machine.run("kill -USR1 $(pgrep mcp-gateway)").ok()
    operator.watch('journalctl -u mcp-gateway --since "10 minutes ago" -f',
                   lambda text: "serving address=" in text and "gave back what was not in use" in text)


def test_the_process_is_watched(operator):
    shown = operator.watch(
        "top -p $(pgrep mcp-gateway)", lambda text: "mcp-gate" in plain(text).split("COMMAND")[-1], "q")
    assert shown.status == 0, shown
    assert f"{operator.machine.pid()} mcp-gat+" in " ".join(plain(shown.stdout).split())


@pytest.mark.parametrize("line, shows", [
    ("free -h", "Mem:"),
    ("df -h", "Filesystem"),
    ("ss -tlnp | grep :8080", '127.0.0.1:8080'),
    ("curl -I http://localhost:8080/health", "HTTP/1.1 200 OK"),
    ("ls -la /var/lib/mcp/queue/", "drwxrws---"),
])
def test_the_machine_is_looked_at(operator, line, shows):
    assert shows in operator.type(line).ok().stdout


def test_the_socket_is_the_gateways(operator):
    assert '"mcp-gateway"' in operator.type("ss -tlnp | grep :8080").ok().stdout


def test_the_database_has_its_tables(operator):
    tables = operator.type('sqlite3 /var/lib/mcp/queue.db ".tables"').ok().stdout.split()
    assert {"queue_items", "error_log", "request_log"} <= set(tables)


# --- Trouble ---

@pytest.fixture(scope="module")
def trouble(operator):
    """A stuck server, a dead one, a tool that wants too much memory, a client with a false token."""
    machine = operator.machine
    machine.text("units__convert", {"value": 1, "from": "km", "to": "mi"}, machine.secret)
    machine.run("pkill -STOP -u mcp-gateway -x python3").ok()
    assert "gave no answer within 1" in machine.text("notes__list_notes", {}, machine.secret)
    machine.notes_away()
    machine.store("bread")
    assert "memory limit" in machine.text("text__word_count", {"text": "x" * 900_000}, machine.secret)
    assert machine.call("units__convert", {}, "mcpgw_00000000_false")[0] == 401
    yield machine
    machine.notes_back()


def test_what_is_not_healthy_is_listed(operator, trouble):
    found = operator.unhealthy()
    assert found["upstream:notes"]["status"] == "unhealthy"
    assert "2 tools stay listed" in found["upstream:notes"]["detail"]
    # A server that is away is a normal state: the health check is no alert.
    answer = operator.type('curl -f http://localhost:8080/health || echo "ALERT: Health check failed"').ok()
    assert json.loads(answer.stdout)["status"] == "degraded"


@pytest.mark.parametrize("name, word, about", [
    ("errors", "failed", "tool=notes__list_notes"),
    ("speed", "timeout", "tool=notes__list_notes"),
    ("memory", "memory", "tool=text__word_count"),
    ("security", "auth_failure", "a token that is not good"),
])
def test_the_logs_are_searched(operator, trouble, name, word, about):
    lines = operator.type(GREPS[name]).ok().stdout.splitlines()
    assert any(word in line and about in line for line in lines), lines


def test_stored_calls_are_counted(operator, trouble):
    assert operator.query("SELECT status, COUNT(*) FROM queue_items GROUP BY status;") == "queued|1"


def test_recent_errors_are_queried(operator, trouble):
    def found():
        return operator.query(
            "SELECT timestamp, error_type, message FROM error_log",
            "WHERE timestamp > datetime('now', '-1 hour')",
            "ORDER BY timestamp DESC LIMIT 50;").splitlines()

    # Rows are written a moment behind the calls.
    rows = eventually(lambda: found() if len(found()) >= 2 else None, 10, "the rows of two errors")
    assert any("timeout" in row for row in rows) and any("memory" in row for row in rows), rows
    times = [row.split("|")[0] for row in rows]
    assert times == sorted(times, reverse=True)


def test_response_times_are_queried(operator, trouble):
    average, most = operator.query(
        "SELECT AVG(response_time_ms), MAX(response_time_ms)", "FROM request_log",
        "WHERE timestamp > datetime('now', '-10 minutes');").split("|")
    assert 0 < float(average) <= float(most)
    # The call that was never answered.
    assert float(most) >= 900


def test_the_operator_may_look_while_the_gateway_writes(operator, trouble):
    assert operator.machine.run(f'sqlite3 {DATABASE} "PRAGMA integrity_check;"').ok().stdout == "ok\n"
