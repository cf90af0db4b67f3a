# Licensed under the Apache License 2.0; see LICENSE.
"""What monitoring/ ships, read: rules, dashboard, runbooks, and which names of metrics they use."""

import functools
import json
import re
import subprocess

import gateway as house

PLACE = house.ROOT / "monitoring"
RUNBOOKS = house.ROOT / "docs/runbooks"
RULES = [PLACE / "prometheus/rules.yml", PLACE / "prometheus/escalation.yml"]
RULE_TESTS = [PLACE / "prometheus/rules_test.yml", PLACE / "prometheus/escalation_test.yml"]
ALERTMANAGER = PLACE / "alertmanager/alertmanager.yml"
DASHBOARD = PLACE / "grafana/mcp-gateway.json"
FLUENTD = PLACE / "fluentd/fluent.conf"

# As the playbook has them.
PLAYBOOK = {
    "errors": 'rate(http_requests_total{status=~"5.."}[5m]) > 0.05',
    "times": "histogram_quantile(0.95, rate(http_request_duration_seconds_bucket[5m])) > 2",
    "memory": "process_resident_memory_bytes / 1024 / 1024 / 1024 > 0.8",
    "queue": "mcp_queue_size > 1000",
}


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **more)


def done(ran, *words):
    """Sees that it went well, and said these words."""
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert all(word in ran.stdout + ran.stderr for word in words), ran.stdout + ran.stderr


def ruby(script, *arguments, text=""):
    """What the script prints, as JSON. Debian's Python has no YAML without a further package, its Ruby has."""
    ran = run("ruby", "-ryaml", "-rjson", "-rtime", "-e", script, *arguments, input=text)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@functools.cache
def yaml(path):
    return ruby("puts JSON.generate(YAML.load_file(ARGV[0], aliases: true))", path)


def rules():
    return [rule for file in RULES for group in yaml(file)["groups"] for rule in group["rules"]]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions():
    """All that is asked of Prometheus, by where it is asked."""
    found = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    return found + [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]


WORDS = {"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "offset"}
LABEL_LIST = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


def metrics_of(expression):
    """The names of metrics in it, each with the labels that are matched on it."""
    bare = LABEL_LIST.sub(" ", re.sub(r"\[[^\]]*\]", " ", expression))
    texts = re.sub(r'"(?:[^"\\]|\\.)*"', '""', bare)
    found = {}
    for name, matchers in re.findall(r"(?<![\w.])([a-zA-Z_:][a-zA-Z0-9_:]*)(?![a-zA-Z0-9_:]*\s*\()(\{[^}]*\})?", texts):
        if name not in WORDS and not re.search(rf"[\"{{,]\s*{name}\s*[=!]", texts) and name not in found:
            found[name] = set(re.findall(r"([a-zA-Z_]\w*)\s*[=!]", matchers))
    return found


def groupings_of(expression):
    """The labels that it groups or matches by."""
    return {label.strip() for _, names in LABEL_LIST.findall(expression) for label in names.split(",") if label.strip()}


def named_in_code():
    sources = (house.ROOT / "Sources/Telemetry").glob("*.swift")
    return {name for file in sources for name in re.findall(r'"((?:http|mcp|process)_[a-z_]+)"', file.read_text())}


def runbook_commands():
    """What each runbook lets an operator type first: [(alert, line)]."""
    found = []
    for page in sorted(RUNBOOKS.glob("*.md")):
        if page.name != "README.md":
            block = re.search(r"^## First\n\n```sh\n(.*?)```", page.read_text(), re.S | re.M)
            assert block, f"{page.name} has no commands"
            found += [(page.stem, line) for line in block[1].splitlines()]
    return found


def inline_orders():
    """Every `mcp-gateway …` that runbooks and the README name in a sentence: [(page, words)]."""
    found = []
    for page in [*sorted(RUNBOOKS.glob("*.md")), PLACE / "README.md"]:
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        for order in re.findall(r"`(mcp-gateway [^`]+)`", re.sub(r"\s*\n\s*", " ", prose)):
            found.append((page.name, order.split()))
    return found


def blocks_to_run(page):
    """The shell blocks of a page that no comment excuses."""
    text = page.read_text()
    blocks = re.findall(r"([^\n]*)\n```sh\n(.*?)```", text, re.S)
    return [block for before, block in blocks if "<!-- not run" not in before]


def message(status, *alerts, **common):
    """What the templates make of a notification: subject and text."""
    data = {
        "receiver": "r", "status": status, "commonLabels": common, "groupLabels": {}, "commonAnnotations": {},
        "externalURL": "",
        "alerts": [{
            "status": one.pop("status", status),
            "annotations": {"summary": "the summary", "description": "The description.",
                            "runbook_url": one.pop("runbook_url", "the/page"), "dashboard": "the dashboard"},
            "labels": {**common, **one},
            "startsAt": "2026-11-23T18:20:00Z", "endsAt": "2026-11-23T18:50:00Z"} for one in alerts]}
    template = PLACE / "alertmanager/templates/incident.tmpl"
    texts = []
    for name in ("mcp.subject", "mcp.text"):
        ran = run("amtool", "template", "render", f"--template.glob={template}", "--template.data=/dev/stdin",
                        f'--template.text={{{{ template "{name}" . }}}}', input=json.dumps(data))
        assert ran.returncode == 0, ran.stderr
        texts.append(ran.stdout.strip())
    return texts
