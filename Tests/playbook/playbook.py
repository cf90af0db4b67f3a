# Licensed under the Apache License 2.0; see LICENSE.
"""The command lines of the operators' playbook, word by word, and what became of each in this run.

Tests type them by `Operator`, which takes nothing that is not in this list; test_playbook_5_all_lines.py then looks
whether any line was forgotten.
"""

import json

from installed import DATABASE

# Each block of the playbook in its order: its heading, then its lines. The SQL is typed into the sqlite3 shell.
BLOCKS = {
    "Health Check Failures": r'''
curl -f http://localhost:8080/health || echo "ALERT: Health check failed"
curl -s http://localhost:8080/health | jq '.components[] | select(.status != "healthy")'
''',
    "Investigation Commands": r'''
systemctl status mcp-gateway
journalctl -u mcp-gateway --since "10 minutes ago" -f
top -p $(pgrep mcp-gateway)
free -h
df -h
ss -tlnp | grep :8080
curl -I http://localhost:8080/health
ls -la /var/lib/mcp/queue/
sqlite3 /var/lib/mcp/queue.db ".tables"
''',
    "Log Analysis": r'''
grep -i "error\|fail\|panic" /var/log/mcp-gateway/app.log | tail -50
grep "slow\|timeout\|deadline" /var/log/mcp-gateway/app.log
grep -E "(oom|memory|resource)" /var/log/mcp-gateway/app.log
grep -E "(auth|security|intrusion)" /var/log/mcp-gateway/security.log
''',
    "Database Queries": r'''
SELECT status, COUNT(*) FROM queue_items GROUP BY status;
SELECT timestamp, error_type, message FROM error_log
WHERE timestamp > datetime('now', '-1 hour')
ORDER BY timestamp DESC LIMIT 50;
SELECT AVG(response_time_ms), MAX(response_time_ms)
FROM request_log
WHERE timestamp > datetime('now', '-10 minutes');
''',
    "Service Recovery": r'''
sudo systemctl restart mcp-gateway
sudo systemctl stop mcp-gateway
sleep 10
sudo systemctl start mcp-gateway
sleep 5
curl -f http://localhost:8080/health
docker-compose up --scale mcp-gateway=3
''',
    "Traffic Management": r'''
curl -X POST http://localhost:8080/admin/circuit-breaker/enable
curl -X POST http://localhost:8080/admin/rate-limit -d '{"requests_per_second": 10}'
nginx -s reload  # After updating upstream configuration
''',
    "Resource Management": r'''
curl -X POST http://localhost:8080/admin/cache/clear
kill -USR1 $(pgrep mcp-gateway)
docker update --memory=2g --cpus=2.0 mcp-gateway
''',
    "Database Recovery": r'''
cp /var/lib/mcp/queue.db /var/lib/mcp/queue.db.backup
systemctl stop mcp-gateway
cp /var/lib/mcp/backups/queue-$(date +%Y%m%d).db /var/lib/mcp/queue.db
systemctl start mcp-gateway
sqlite3 /var/lib/mcp/queue.db "PRAGMA integrity_check;"
''',
    "Configuration Recovery": r'''
git checkout HEAD -- config/production.toml
cargo run --bin validate-config -- config/production.toml
systemctl reload mcp-gateway
''',
    "Data Recovery": r'''
find /var/lib/mcp -name "*.corrupt" -delete
curl -X POST http://localhost:8080/admin/rebuild-indices
curl -X POST http://localhost:8080/admin/sync/force
''',
    "Memory Issues": r'''
valgrind --tool=memcheck --leak-check=full ./target/release/mcp-gateway
watch -n 1 'ps aux | grep mcp-gateway | grep -v grep'
systemd-run --slice=mcp --property=MemoryMax=1G mcp-gateway
''',
    "CPU Issues": r'''
perf record -g ./target/release/mcp-gateway
perf report
htop -u mcp-gateway
docker update --cpus=1.5 mcp-gateway
''',
}

# What cannot be typed here: the reason, and where the nearest thing is tried instead.
NOT_HERE = {
    "docker-compose up --scale mcp-gateway=3":
        "no container engine starts in a machine that is a container itself: its images would be an overlay on an "
        "overlay. Tried by hand on an emulated machine with podman in the place of Docker, with a trial server and "
        "without a network: three came up. With the gateway, what such a line leads to is held by "
        "Tests/interop/test_deploy.py and test_replicas.py",
    "docker update --memory=2g --cpus=2.0 mcp-gateway":
        "as above. By hand on the emulated machine such a line, with other numbers, changed the limits of the control "
        "group at once; that the gateway sees limits which change while it runs is tried by the HostLoad tests",
    "docker update --cpus=1.5 mcp-gateway": "as above",
    "cargo run --bin validate-config -- config/production.toml":
        "cargo does not build the gateway; the packaged program of that name is run instead, with the same argument",
}


def lines(block):
    return [line.rstrip() for line in BLOCKS[block].strip().splitlines()]


LINES = [line for block in BLOCKS for line in lines(block)]


class Operator:
    """Somebody who types the playbook at a machine, and nothing else."""

    def __init__(self, machine):
        self.machine, self.typed = machine, set()

    def note(self, line):
        assert line in LINES, f"the playbook has no such line: {line}"
        self.typed.add(line)
        return line

    def type(self, line, **how):
        """Runs a line that ends by itself."""
        return self.machine.run(self.note(line), **how)

    def watch(self, line, until, keys="\x03", **how):
        """Runs a line that goes on until a key ends it."""
        return self.machine.terminal(self.note(line), until, keys, **how)

    def query(self, *statement):
        """Types the lines of one SQL statement."""
        text = "\n".join(self.note(line) for line in statement)
        return self.machine.run(f"sqlite3 {DATABASE}", input=text + "\n").ok().stdout.strip()

    def unhealthy(self):
        """The components that the second line of the playbook prints, by name."""
        text = self.type(lines("Health Check Failures")[1]).ok().stdout.strip()
        found, decoder = {}, json.JSONDecoder()
        while text:
            one, end = decoder.raw_decode(text)
            found[one["name"]] = one
            text = text[end:].lstrip()
        return found
