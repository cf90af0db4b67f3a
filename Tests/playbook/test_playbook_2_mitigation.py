# Licensed under the Apache License 2.0; see LICENSE.
"""Mitigation: restarts, less traffic, resources given back."""

import json

from waiting import eventually

PROXY = """
upstream gateway { server 127.0.0.1:8080; }
server { listen 127.0.0.1:8088; location / { proxy_pass http://gateway; proxy_set_header Host $host; } }
"""
UNITS = ("units__convert", {"value": 1, "from": "km", "to": "mi"})


def answers(operator, line):
    """What an admin route answers, and that it says so in a sentence."""
    answer = json.loads(operator.type(line).ok().stdout)
    assert answer["words"]
    return answer


# --- Service recovery ---

def test_the_service_is_restarted(operator):
    before = operator.machine.pid()
    operator.type("sudo systemctl restart mcp-gateway").ok()
    assert operator.machine.pid() != before
    assert operator.machine.health()["status"] in ("healthy", "degraded")


def test_the_service_is_stopped_and_started(operator):
    machine = operator.machine
    operator.type("sudo systemctl stop mcp-gateway").ok()
    assert machine.run("pgrep mcp-gateway").status == 1
    alert = operator.type('curl -f http://localhost:8080/health || echo "ALERT: Health check failed"').ok()
    assert alert.stdout == "ALERT: Health check failed\n"
    assert machine.run("ls /var/lib/mcp/queue.db-wal").status != 0, "a clean stop leaves one plain file"
    operator.type("sleep 10").ok()
    operator.type("sudo systemctl start mcp-gateway").ok()
    operator.type("sleep 5").ok()
    assert json.loads(operator.type("curl -f http://localhost:8080/health").ok().stdout)["status"] == "healthy"


# --- Traffic ---

def test_the_breaker_opens_for_a_server_whose_calls_fail(operator):
    machine = operator.machine
    machine.run("pkill -STOP -u mcp-gateway -x python3").ok()
    try:
        # Fewer calls than it opens at by itself.
        for _ in range(3):
            assert "gave no answer within 1" in machine.text("notes__list_notes", {}, machine.secret)
        assert machine.text(*UNITS, machine.secret).startswith("1 km")
        answer = answers(operator, "curl -X POST http://localhost:8080/admin/circuit-breaker/enable")
        assert '"open"' in json.dumps(answer), answer
        assert "breaker" in json.dumps(operator.unhealthy()["upstream:notes"])
        # What is well goes on.
        assert machine.text(*UNITS, machine.secret).startswith("1 km")
    finally:
        machine.run("pkill -CONT -u mcp-gateway -x python3").ok()
    eventually(lambda: '"total"' in machine.text("notes__list_notes", {}, machine.secret), 20, "a call that goes well")


def test_the_load_is_reduced(operator):
    machine = operator.machine
    answer = answers(
        operator, """curl -X POST http://localhost:8080/admin/rate-limit -d '{"requests_per_second": 10}'""")
    assert "10" in answer["words"], answer
    statuses = machine.burst(*UNITS, machine.secret, count=60)
    assert statuses.count(200) >= 10 and statuses.count(429) >= 10, statuses
    assert len(statuses) == statuses.count(200) + statuses.count(429), statuses
    # Nobody forgets it, and it can be undone.
    assert [one["what"] for one in machine.health()["overrides"]] == ["rate-limit"]
    assert json.loads(operator.type("curl -f http://localhost:8080/health").ok().stdout)["status"] == "healthy"
    machine.run("curl -sf -X DELETE http://localhost:8080/admin/rate-limit").ok()
    statuses = machine.burst(*UNITS, machine.secret, count=30)
    assert statuses.count(200) == 30, statuses


def test_traffic_comes_through_a_changed_nginx_and_operators_do_not(operator):
    machine = operator.machine
    machine.write("/etc/nginx/conf.d/gateway.conf", PROXY)
    operator.type("nginx -s reload  # After updating upstream configuration").ok()
    through = "http://localhost:8088"
    told = eventually(lambda: machine.run(f"curl -sf {through}/health").stdout, 10, "an answer through nginx")
    # A stranger is told no more than this, and gives no orders.
    assert set(json.loads(told)) == {"status"}
    refused = machine.run(f"curl -s -o /dev/null -w '%{{http_code}}' -X POST {through}/admin/cache/clear").ok()
    assert refused.stdout == "403"


# --- Resources ---

def test_caches_are_cleared(operator):
    machine = operator.machine
    machine.text("notes__list_notes", {}, machine.secret)
    eventually(lambda: machine.sql("SELECT COUNT(*) FROM reply_cache") == "1", 10, "the kept answer")
    answer = answers(operator, "curl -X POST http://localhost:8080/admin/cache/clear")
    assert answer["removed"]["entries"] == 1 and answer["cache"]["entries"] == 0, answer


def test_memory_is_given_back(operator):
    machine = operator.machine
    before, lines = machine.pid(), machine.read("/var/log/mcp-gateway/app.log").count("gave back")
    operator.type("kill -USR1 $(pgrep mcp-gateway)").ok()
    log = "/var/log/mcp-gateway/app.log"
    eventually(lambda: machine.read(log).count("gave back") > lines, 10, "the line")
    assert "resident_before=" in machine.read(log) and "resident_after=" in machine.read(log)
    assert machine.pid() == before


def test_with_nobody_there_the_signal_reaches_nobody(operator):
    machine = operator.machine
    machine.run("systemctl stop mcp-gateway").ok()
    try:
        told = operator.type("kill -USR1 $(pgrep mcp-gateway)")
        assert told.status != 0 and "usage" in told.stderr
    finally:
        machine.run("systemctl start mcp-gateway").ok()
    machine.wait_for("upstream:notes")
