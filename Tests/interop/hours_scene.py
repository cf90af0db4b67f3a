# Licensed under the Apache License 2.0; see LICENSE.
"""An hour in the life of a gateway, with a Prometheus beside it, and everything an operator can look at afterwards."""

import collections
import json
import re
import subprocess
import threading

import gateway as house
import monitoring_files as files
import monitoring_logs as logs
from monitoring_stack import Stack

# From the playbook, letter by letter; two of the four are about the same file as the first.
GREPS = {
    "errors": r'grep -i "error\|fail\|panic" /var/log/mcp-gateway/app.log',
    "times": r'grep "slow\|timeout\|deadline" /var/log/mcp-gateway/app.log',
    "memory": r'grep -E "(oom|memory|resource)" /var/log/mcp-gateway/app.log',
    "security": r'grep -E "(auth|security|intrusion)" /var/log/mcp-gateway/security.log',
}
# A directory with a name by chance may have one of these in it, and lines name files.
WORDS = ("error", "fail", "panic", "slow", "oom")
SICK = """curl -s http://localhost:8080/health | jq '.components[] | select(.status != "healthy")'"""
QUEUE = "SELECT status, COUNT(*) FROM queue_items GROUP BY status;"
ERRORS = ("SELECT timestamp, error_type, message FROM error_log WHERE timestamp > datetime('now', '-1 hour') "
          "ORDER BY timestamp DESC LIMIT 50;")
TIMES = ("SELECT AVG(response_time_ms), MAX(response_time_ms) FROM request_log "
         "WHERE timestamp > datetime('now', '-10 minutes');")


def compressed(rules):
    """The rules at sixty times the pace: a minute is a second. No `for` and no range is shorter than five seconds: a
    start takes as long as it takes, and a range needs some scrapes in it. GatewayAbsent keeps its `for`, since a
    Prometheus that starts looks for its targets only after some seconds.
    """
    head, *alerts = rules.split("- alert: ")
    seconds = lambda found: f"{found[1]}{max(int(found[2]), 5)}s"
    alerts = [one if one.startswith("GatewayAbsent") else
              re.sub(r"\b((?:keep_firing_)?for: )(\d+)m$", seconds, one, flags=re.M) for one in alerts]
    return re.sub(r"(\[)(\d+)m(?=\])", seconds, "- alert: ".join([head, *alerts]))


class Watch(Stack):
    """Prometheus alone, with the shipped rules. Who is told, and when it goes on to others, is not asked here."""

    def start(self):
        self.write_prometheus()
        self.start_prometheus()
        return self

    def write_prometheus(self):
        super().write_prometheus()
        (self.home / "rules.yml").write_text(compressed((files.PLACE / "prometheus/rules.yml").read_text()))
        (self.home / "escalation.yml").write_text("groups: []\n")

    def have_fired(self):
        """Every alert that has been on at any time since the start."""
        found = self.query('count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))')
        return {labels["alertname"] for labels, _ in found}


class Hour:
    """The gateway of an hour, and afterwards what it left: fields that are filled in by `look_around`."""

    def __init__(self, make, form, upstreams, tools, sections):
        sections.setdefault("log", {})["format"] = form
        self.form = form
        self.gateway = make.gateway(upstreams, tools, sections, start=False)
        while any(word in str(self.gateway.home) for word in WORDS):
            self.gateway = make.gateway(upstreams, tools, sections, start=False)
        self.gateway.start()
        self.orders = collections.Counter()
        # Counters begin anew with each life of the gateway; the rows go on.
        self.rows_before = 0
        # What callers were told, by tool: how many answers of calls were errors, and how many were none.
        self.lock, self.failed, self.fine = threading.Lock(), collections.Counter(), collections.Counter()
        self.watch = Watch(self.gateway, self.token("prometheus", "observe"))
        make.later(self.watch.close)
        self.client = self.gateway.showing(self.token("client", "call"))

    def token(self, name, role):
        return self.order("tokens.new", "POST", "/admin/tokens", {"name": name, "roles": [role]})["secret"]

    def order(self, what, method, path, body=None):
        """An order at the local door. `what` is its name in security.log, where each of them has to turn up."""
        self.orders[what] += 1
        status, said = self.gateway.order(method, path, body)
        assert status == 200, (status, said)
        return said

    def verb(self, *words, what, code=0):
        self.orders.update(what)
        return self.gateway.verb(*words, code=code).stdout

    def call(self, tool, arguments=None, session=None):
        text, is_error = (session or self.client).call(tool, arguments or {})
        with self.lock:
            (self.failed if is_error else self.fine)[tool] += 1
        return text, is_error

    def typed(self, line, code=(0,)):
        """A line of the playbook, as it is typed on the machine of this gateway; what it prints, by line."""
        line = line.replace("/var/log/mcp-gateway", str(self.gateway.home / "log"))
        line = line.replace("localhost:8080", f"localhost:{self.gateway.port}")
        ran = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=30)
        assert ran.returncode in code and not ran.stderr, (line, ran)
        return ran.stdout.splitlines()

    def grep(self, name, file=None):
        line = GREPS[name]
        return self.typed(line.replace("app.log", file) if file else line, (0, 1))

    def metrics(self):
        return self.gateway.showing(self.watch.token).metrics()

    def look_around(self, doctor_code):
        """Everything there is to see, as at the end of the hour."""
        gateway = self.gateway
        self.settle()
        self.samples = self.metrics()
        self.alerts = self.watch.have_fired()
        self.queries = {name: self.watch.query(text) for name, text in files.PLAYBOOK.items()}
        self.overall = gateway.health()["status"]
        self.sick = [json.loads(one) for one in re.findall(r"\{.*?\}", "".join(self.typed(SICK)))]
        self.findings = self.doctor(doctor_code)
        self.rows = {name: gateway.sql(query).splitlines() for name, query in
                     (("queue", QUEUE), ("errors", ERRORS), ("times", TIMES))}
        self.found = {name: self.grep(name) for name in GREPS}
        self.app = (gateway.home / "log/app.log").read_text().splitlines()
        self.security = gateway.security_lines()
        self.copy = gateway.stdout().splitlines()

    def doctor(self, code):
        said = self.verb("doctor", "--json", what=["status", "tokens.list"], code=code)
        return json.loads(said)["findings"]

    def settle(self):
        """Rows are written a moment after their answers."""
        def all_are_there():
            samples = self.metrics()
            asked, sent = (self.sum(samples, name) for name in ("mcp_requests_total", "mcp_queue_sent_total"))
            return asked <= self.count_rows() - self.rows_before <= asked + sent

        house.eventually(all_are_there, 15, "the rows")

    def count_rows(self):
        return int(self.gateway.sql("SELECT count(*) FROM request_log"))

    @staticmethod
    def sum(samples, name, **labels):
        return sum(value for have, value in samples.get(name, []) if labels.items() <= have.items())

    def number(self, name, **labels):
        return self.sum(self.samples, name, **labels)

    def records(self, lines):
        """Lines of app.log in either format, as (message, facts)."""
        if self.form == "json":
            objects = [json.loads(line) for line in lines]
            return [(one["message"], one) for one in objects]
        records = logs.parsed(lines, "app")
        assert all(records), lines
        return [(one["message"], one["fields"]) for one in records]

    def security_records(self):
        records = logs.parsed(self.security, "security")
        assert all(records), self.security
        return [(one["event"], one["fields"]) for one in records]

    def finding(self, area, words=""):
        """The finding of the doctor that is about this."""
        found = [one for one in self.findings if one["area"] == area and re.search(words, one["words"])]
        assert len(found) == 1, (area, words, self.findings)
        return found[0]
