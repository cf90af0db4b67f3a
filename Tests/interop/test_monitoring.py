# Licensed under the Apache License 2.0; see LICENSE.
"""What monitoring/ and docs/runbooks ship: checked by the programs that read it, and beside a gateway in trouble. All
of those programs at once: test_monitoring_stack.py."""

import concurrent.futures
import datetime
import json
import os
import re
import shutil
import signal
import sys
import time

import pytest

import exposition
import gateway as house
import monitoring_files as files
import monitoring_logs as logs
import wire
from monitoring_files import done
from secure import Gateway as SecureGateway, Shop
from upstreams import Moody


# What is shipped, by itself.

def test_promtool_accepts_rules_and_configuration(tmp_path):
    done(files.run("promtool", "check", "rules", *files.RULES), "SUCCESS")
    for name in ("rules.yml", "escalation.yml"):
        shutil.copy(files.PLACE / "prometheus" / name, tmp_path)
    token = tmp_path / "token"
    token.write_text("a token")
    text = (files.PLACE / "prometheus/prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/mcp-gateway.token", str(token)))
    ran = files.run("promtool", "check", "config", tmp_path / "prometheus.yml")
    done(ran, "rules.yml", "escalation.yml", "SUCCESS")


def test_every_alert_fires_in_a_case_and_none_on_a_healthy_day():
    done(files.run("promtool", "test", "rules", *files.RULE_TESTS), "SUCCESS")
    tested = "".join(file.read_text() for file in files.RULE_TESTS)
    for alert in files.alerts():
        name, severity = alert["alert"], alert["labels"].get("severity")
        lines = [line for line in tested.splitlines() if f'alertname="{name}"' in line or f"alertname: {name}" in line]
        assert lines, f"no case for {name}"
        if name not in ("Escalation", "GatewayDown", "GatewayAbsent"):  # whose cases are not written in one line
            assert any(f'severity="{severity}"' in line and "value: 1" in line for line in lines), (name, severity)


def test_a_threshold_that_is_changed_is_noticed(tmp_path):
    """The cases are close enough to the thresholds to tell them from others. Those of memory are enough to see it."""
    head, *cases = (files.PLACE / "prometheus/rules_test.yml").read_text().split("  - name: ")
    case, = [case for case in cases if case.startswith("memory, processor, disk\n")]
    (tmp_path / "rules_test.yml").write_text(head + "  - name: " + case)
    shutil.copy(files.RULES[0], tmp_path)
    done(files.run("promtool", "test", "rules", tmp_path / "rules_test.yml"), "SUCCESS")
    shipped = files.RULES[0].read_text()
    changed = shipped.replace("instance:mcp_memory:ratio > 0.8", "instance:mcp_memory:ratio > 0.7")
    (tmp_path / "rules.yml").write_text(changed)
    ran = files.run("promtool", "test", "rules", tmp_path / "rules_test.yml")
    assert ran.returncode != 0 and 'alertname="MemoryHigh", instance="well"' in ran.stdout + ran.stderr


def test_every_alert_says_what_a_person_needs():
    for alert in files.alerts():
        name, notes = alert["alert"], alert["annotations"]
        if name != "Escalation" or "sev3|sev4" not in alert["expr"]:  # which keeps that of the alert it is about
            assert alert["labels"]["severity"] in ("sev1", "sev2", "sev3", "sev4"), name
        assert set(notes) == {"summary", "description", "runbook_url", "dashboard"}, name
        assert notes["runbook_url"] == f"docs/runbooks/{name}.md", name
        assert notes["dashboard"] == "http://monitoring.local:3000/d/mcp-gateway", name
        assert len(notes["summary"]) < 90 and notes["description"].endswith("."), notes
    limits = {"ResponseTimeHigh": "> 2 ", "ToolErrorRateHigh": "> 0.05 ", "MemoryHigh": "> 0.8", "CPUHigh": "> 0.85",
              "QueueBacklog": "> 1000"}
    by_name = {alert["alert"]: alert for alert in files.alerts()}
    for name, limit in limits.items():
        assert limit in by_name[name]["expr"], f"the playbook's limit of {name}"


def test_the_playbooks_queries_are_rules_as_they_stand_there():
    wholes = [rule["expr"] for rule in files.alerts()]
    for query in files.PLAYBOOK.values():
        assert any(query in whole for whole in wholes), query


def test_what_ends_with_a_gateway_goes_on_until_it_is_said_to_be_down():
    """Longer than it takes to say so, a scrape and a look included. test_monitoring_stack.py sees it happen."""
    seconds = lambda text: int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]
    down = {alert["alert"]: seconds(alert["for"]) for alert in files.alerts()
            if alert["alert"] in ("GatewayDown", "GatewayAbsent")}
    for alert in files.alerts():
        if alert["alert"] not in (*down, "Escalation"):
            assert seconds(alert.get("keep_firing_for", "0s")) >= max(down.values()) + 30, alert["alert"]


def test_runbooks_and_alerts_correspond():
    names = {alert["alert"] for alert in files.alerts()}
    pages = {page.stem for page in files.RUNBOOKS.glob("*.md")} - {"README"}
    assert names == pages
    index = (files.RUNBOOKS / "README.md").read_text()
    for page in pages:
        text = (files.RUNBOOKS / f"{page}.md").read_text()
        assert text.startswith(f"# {page}\n") and 20 <= len(text.splitlines()) <= 45, page
        headings = re.findall(r"^## (.*)$", text, re.M)
        assert headings == ["First", "Causes", "Do", "Escalate", "Clears"], (page, headings)
        assert f"[{page}]({page}.md)" in index, f"{page} is not in the index"
        severities = {alert["labels"]["severity"] for alert in files.alerts()
                      if alert["alert"] == page and page != "Escalation"}
        said = re.search(r"^\n(.*?)\n\n", text.split("\n", 1)[1], re.S)[1]
        row = next(line for line in index.splitlines() if f"]({page}.md)" in line)
        for severity in severities:
            words = severity.upper().replace("SEV", "SEV-")
            assert words in said and words in row, f"{page} does not say {words}"


def routes(**labels):
    words = [f"{name}={value}" for name, value in labels.items()]
    ran = files.run("amtool", "config", "routes", "test", f"--config.file={files.ALERTMANAGER}", *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip().split(",")


def test_amtool_accepts_routes_that_follow_the_matrix():
    done(files.run("amtool", "check-config", files.ALERTMANAGER), "SUCCESS", "8 receivers")
    everybody = ["on-call", "incidents-channel", "product-owner", "stakeholders"]
    assert routes(alertname="GatewayDown", severity="sev1", customer_facing="true") == [*everybody, "status-page"]
    assert routes(alertname="MemoryRefusing", severity="sev2") == everybody
    for severity in ("sev3", "sev4"):
        assert routes(alertname="CPUHigh", severity=severity) == ["on-call", "incidents-channel"]
    for who in ("engineering-lead", "cto", "ceo"):
        assert routes(alertname="Escalation", severity="sev1", escalate_to=who) == [who, "incidents-channel"]
    assert routes(alertname="Escalation", severity="sev3", escalate_to="engineering-lead") == ["engineering-lead"]
    assert routes(alertname="SomethingNew") == ["incidents-channel"], "nothing falls through"


def test_secrets_are_files_and_addresses_are_nobodys():
    text = files.ALERTMANAGER.read_text()
    for key in re.findall(r"^\s*(?:- )?(\w*(?:key|password|credentials|api_url|token)\w*):", text, re.M):
        assert key.endswith("_file"), key
    assert set(re.findall(r"[@/.]([a-z]+\.[a-z]+)(?=[\s:/'\"])", text)) >= {"example.com"}
    for address in re.findall(r"[\w.-]+@[\w.-]+|https?://[\w.-]+", text):
        assert address.endswith("example.com"), address


def test_messages_follow_the_playbooks_templates():
    subject, text = files.message("firing", {"instance": "gw"}, alertname="GatewayDown", severity="sev1")
    assert subject == "🚨 INCIDENT - SEV-1 - the summary"
    assert [line.split(":")[0] for line in text.splitlines()] == [
        "STATUS", "IMPACT", "LEAD", "SCOPE", "RUNBOOK", "DASHBOARD", "Updates"]
    assert "STATUS: Investigating" in text and "IMPACT: The description.\n" in text and "SCOPE: gw\n" in text
    assert "RUNBOOK: the/page\n" in text
    page = "docs/runbooks/GatewayDown.md"
    for url, shown in ((page, f"{page} (on the gateway: /usr/share/doc/mcp-gateway/{page})"),
                       (f"https://x/{page}", f"https://x/{page}"), ("", "")):
        _, text = files.message("firing", {"runbook_url": url}, alertname="GatewayDown", severity="sev1")
        assert f"\nRUNBOOK: {shown}\n" in text, text
    escalated = {"instance": "gw", "about": "GatewayDown"}
    subject, text = files.message("firing", escalated, alertname="Escalation", severity="sev1", escalate_to="cto")
    assert subject.startswith("📊 UPDATE - SEV-1")
    assert "NEXT STEPS: told to cto" in text and "alert GatewayDown" in text
    for line in ("PROGRESS: ", "CURRENT STATUS: 1 firing, 0 over", "ETA: "):
        assert line in text
    over = {"upstream": "b", "status": "resolved"}
    subject, text = files.message("firing", {"upstream": "a"}, over, alertname="X", severity="sev3")
    assert subject.startswith("📊 UPDATE - SEV-3")
    assert "CURRENT STATUS: 1 firing, 1 over" in text and "upstream b" in text
    subject, text = files.message("resolved", {"instance": "gw"}, alertname="GatewayDown", severity="sev1")
    assert subject == "✅ RESOLVED - 2026-11-23 18:50 UTC - SEV-1 - the summary"
    assert "SOLUTION: back within its limit, or no longer measured, since 18:50:00 UTC\n" in text, "true either way"
    for line in ("SOLUTION: ", "ROOT CAUSE: ", "FOLLOW-UP: ", "POST-MORTEM: "):
        assert line in text


def test_pages_can_be_given_an_address(tmp_path):
    """By the line of the README."""
    for file in [*files.RULES, files.PLACE / "prometheus/prometheus.yml"]:
        shutil.copy(file, tmp_path)
    line = re.search(r"^sed -i .*runbook.*$", (files.PLACE / "README.md").read_text(), re.M)[0]
    done(files.run("bash", "-c", line.replace("/etc/prometheus/", f"{tmp_path}/")))
    done(files.run("promtool", "check", "rules", tmp_path / "rules.yml", tmp_path / "escalation.yml"))
    texts = "".join((tmp_path / file.name).read_text() for file in files.RULES)
    urls = re.findall(r"runbook_url: (.*)", texts)
    assert len(urls) > 30
    assert all(re.fullmatch(r"https://runbooks\.example\.com/mcp-gateway/docs/runbooks/\w+\.md", url) for url in urls)


def test_the_dashboard_is_the_playbooks():
    board = json.loads(files.DASHBOARD.read_text())
    assert board["uid"] == "mcp-gateway"
    titles = [panel["title"] for panel in board["panels"]]
    assert titles[:4] == ["Request rate", "Error rate", "Response time", "Resource usage"]
    assert {panel["gridPos"]["y"] for panel in board["panels"][:4]} == {0}, "in the first row"
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns, lines = (range(place[at], place[at] + place[size]) for at, size in ("xw", "yh"))
        cells = {(x, y) for x in columns for y in lines}
        assert not cells & places, f"{panel['title']} covers another one"
        places |= cells
    for panel in files.panels():
        assert panel["description"] and panel["targets"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            # What is not added up over all of them says whose it is.
            is_sum = re.search(r"\bsum\b", target["expr"])
            assert is_sum or "{{instance}}" in target["legendFormat"], (panel["title"], target)
    source = files.yaml(files.PLACE / "grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    provider = files.yaml(files.PLACE / "grafana/provisioning/dashboards/mcp-gateway.yml")["providers"][0]
    assert source["type"] == "prometheus" and provider["options"]["path"] in (files.PLACE / "README.md").read_text()


# Beside a gateway that runs.

@pytest.fixture(scope="module")
def gateway(make_once):
    """One that has seen a little of everything: calls, failures, a server that never starts, strangers."""
    moody = make_once.server(Moody())
    # What a server says is logged at debug.
    words = 'the "disk" said: a=b \\ c\tand=more'
    one = make_once.gateway({
        "erp": {"url": moody.url},
        "dead": {"command": sys.executable, "args": ["-c", f"import sys; sys.stderr.write({words!r}); sys.exit(3)"]},
    }, ["text"], sections={"auth": {"mode": "token"}, "log": {"level": "debug"}})
    one.words = words
    one.token = one.new_token("anna")
    one.wait_for_tools("erp__work", "text__echo")
    assert one.call("erp__work", {"n": "1"}) == ("work 1", False)
    moody.feel("failing", status=500)
    assert one.call("erp__work", {"n": "2"})[1]
    forged = 'http://x" detail=forged peer=1 \\'
    for header in ({"Origin": forged}, {"Host": "elsewhere"}, {"Authorization": "Bearer wrong"}):
        one.exchange(wire.request("GET", "/mcp", header), "GET")
    one.exchange(wire.request("GET", "/admin/x%22y=z", {"Via": "somebody"}), "GET")
    house.eventually(lambda: "disk" in one.stdout() and len(one.security_lines()) >= 4, 10, "the lines of the log")
    return one


def environment(gateway):
    return {**os.environ, "MCP_GATEWAY_CONFIG": str(gateway.configuration)}


def test_lines_of_the_readme_make_the_token_and_the_option(gateway, tmp_path):
    """Typed together, as they stand: none of them waits for input, or takes the next one for it."""
    readme = (files.PLACE / "README.md").read_text()
    block = re.search(r"^install .*/dev/null.*\n(?:.*\n)*?sed -i .*$", readme, re.M)[0]
    (tmp_path / "prometheus").write_text('# Some words.\nARGS=""\n')
    (tmp_path / "mcp-gateway").write_text(f'#!/bin/sh\nexec {house.BINARY} "$@"\n')
    (tmp_path / "mcp-gateway").chmod(0o755)
    for place in ("/etc/prometheus/", "/etc/default/"):
        block = block.replace(place, f"{tmp_path}/")
    block = block.replace("-g prometheus ", "")
    ran = files.run("bash", input=block, env={**environment(gateway), "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    done(ran)
    token = (tmp_path / "mcp-gateway.token").read_text().strip()
    assert oct((tmp_path / "mcp-gateway.token").stat().st_mode)[-3:] == "640"
    answer = gateway.exchange(wire.request("GET", "/metrics", {"Authorization": f"Bearer {token}"}), "GET")
    assert answer.status == 200, answer
    for _ in range(2):  # a second time changes nothing
        assert (tmp_path / "prometheus").read_text().count("--rules.alert.for-grace-period=0s") == 1
        done(files.run("bash", input=block.splitlines()[-1]))


def test_memory_and_queue_are_measured_as_they_are_judged(gateway):
    samples = gateway.showing(None).metrics()
    value = lambda name: samples[name][0][1]
    assert value("process_resident_memory_bytes") / 2 < value("mcp_memory_used_bytes") < value("mcp_memory_limit_bytes")
    assert value("mcp_queue_bytes") == 0 and value("mcp_queue_limit_bytes") == 256 << 20


def test_every_metric_that_is_asked_for_exists(gateway):
    samples = gateway.showing(None).metrics()
    recorded = {rule["record"] for rule in files.rules() if "record" in rule}
    own = {"up", "ALERTS", "ALERTS_FOR_STATE"}
    in_code = files.named_in_code()
    assert len(in_code) > 40
    used = set()
    for where, expression in files.expressions():
        for name, labels in files.metrics_of(expression).items():
            family = re.sub(r"_(bucket|count|sum)$", "", name)
            used.add(family)
            assert name in recorded | own | set(samples) or family in in_code, (where, name)
            if name in samples:
                known = set().union(*(labels for labels, _ in samples[name])) | {"job", "instance"}
                assert labels <= known, (where, name, labels - known)
                if len(files.metrics_of(expression)) == 1:
                    assert files.groupings_of(expression) <= known, (where, files.groupings_of(expression) - known)
    assert len(used & in_code) > 30, "the dashboard and the rules look at most of them"


def test_the_first_commands_of_the_runbooks_work(gateway, tmp_path):
    """As an operator types them, with the paths of this gateway. What needs systemd, the network's tools, Prometheus,
    Alertmanager or TLS is left aside."""
    elsewhere = ("systemctl", "journalctl", "promtool", "amtool", "ip ", "curl -s http://localhost:9090", "openssl")
    scripts = {"mcp-gateway": f'exec {house.BINARY} "$@"', "pgrep": f"echo {gateway.process.pid}"}
    for name, line in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    variables = {**environment(gateway), "PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "dumb"}
    places = {
        "/var/lib/mcp": str(gateway.home / "lib"), "/var/log/mcp-gateway": str(gateway.home / "log"),
        "/etc/mcp-gateway/production.toml": str(gateway.configuration), "localhost:8080": f"127.0.0.1:{gateway.port}"}
    lines = sorted({line for _, line in files.runbook_commands() if not line.startswith(elsewhere)})
    assert len(lines) > 40

    def typed(line):
        for place, here in places.items():
            line = line.replace(place, here)
        return files.run("bash", "-o", "pipefail", "-c", line, env=variables, cwd=gateway.home)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for line, ran in zip(lines, pool.map(typed, lines)):
            # Status 1 is grep without a find, or a verb that has found something wrong.
            assert ran.returncode in (0, 1), (line, ran.returncode, ran.stdout, ran.stderr)
            for sign in ("rror:", "usage:", "not found", "No such file", "invalid option"):
                assert sign.lower() not in ran.stderr.lower(), (line, ran.stderr)
    assert gateway.process.poll() is None


def test_the_certificates_end_is_measured_and_looked_up(make, tmp_path):
    shop = Shop(tmp_path)
    one = SecureGateway(shop, make.wasm_cache)
    make.later(one.close)
    one.start()
    with wire.Connection(str(one.control)) as connection:
        connection.send(wire.request("GET", "/metrics", {}, host="localhost"))
        samples, _ = exposition.parse(connection.response("GET").body.decode())
    (labels, ends), = samples["mcp_certificate_expires_seconds"]
    assert 29 * 86_400 < ends - time.time() < 30 * 86_400 + 60 and labels == {"file": "server"}
    line, = [line for alert, line in files.runbook_commands() if line.startswith("openssl")]
    line = line.replace("localhost:8080", f"127.0.0.1:{one.port}")
    done(files.run("bash", "-o", "pipefail", "-c", line), "notAfter=")


def test_orders_named_in_sentences_exist():
    helps = {}
    for page, words in files.inline_orders():
        verbs = [word for word in words[1:3] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
        for depth in range(len(verbs), 0, -1):
            path = tuple(verbs[:depth])
            if path not in helps:
                helps[path] = files.run(house.BINARY, *path, "--help").stdout
            if f"USAGE: mcp-gateway {' '.join(path)}" in helps[path]:
                break
        else:
            pytest.fail(f"{page}: {' '.join(words)} is no order of the program")
        for option in [word for word in words if word.startswith("--")]:
            assert option in helps[path], (page, words)


def test_blocks_of_the_readme_run_as_they_stand():
    blocks = files.blocks_to_run(files.PLACE / "README.md")
    assert blocks
    for block in blocks:
        done(files.run("bash", "-e", "-c", block, cwd=house.ROOT))


# Logs.

def test_fluentd_reads_the_lines_of_a_running_gateway(gateway):
    lines = (gateway.home / "log/app.log").read_text().splitlines()
    records = logs.parsed(lines, "app")
    assert len(records) == len(lines) > 4 and all(records)
    failed = next(record for record in records if record["message"] == "call failed")
    assert failed["level"] == "warning" and failed["component"] == "gateway"
    assert re.fullmatch(r"\S+ \S+Z", failed["time"])
    assert failed["fields"]["tool"] == "erp__work" and len(failed["fields"]["request_id"]) == 32
    said = next(record for record in records if "disk" in str(record))
    assert any('the "disk" said: a=b \\ c' in value for value in said["fields"].values()), said

    lines = gateway.security_lines()
    records = logs.parsed(lines, "security")
    assert all(records) and not any(record["cut"] for record in records), lines
    events = {record["event"]: record for record in records}
    assert {"auth_failure", "admin_refused", "origin_refused", "host_refused"} <= set(events), lines
    assert events["auth_failure"]["kind"] == "auth" and events["admin_refused"]["kind"] == "security"
    refused = events["origin_refused"]["fields"]
    assert refused["origin"] == 'http://x" detail=forged peer=1 \\' and refused["peer"] == "127.0.0.1", refused


def test_text_and_json_become_the_same_records(gateway, make):
    """The same trouble, logged as JSON, read by the same file."""
    how = {"log": {"format": "json", "level": "debug"}}
    other = make.gateway({"dead": gateway.tables["upstreams.dead"]}, sections=how)
    house.eventually(lambda: "disk" in other.stdout(), 10, "the words of the dead server")
    lines = (other.home / "log/app.log").read_text().splitlines()
    records = logs.parsed(lines, "app")
    for line, record in zip(lines, records, strict=True):
        members = json.loads(line)
        moment = datetime.datetime.strptime(members.pop("timestamp"), "%Y-%m-%d %H:%M:%S.%f%z").timestamp()
        assert record["at"] == pytest.approx(moment, abs=0.0005)
        assert [record[name] for name in ("level", "component", "message")] == [
            members.pop(name) for name in ("level", "component", "message")]
        assert record["fields"] == members
    of_json = next(record for record in records if "disk" in str(record))
    lines = (gateway.home / "log/app.log").read_text().splitlines()
    of_text = next(record for record in logs.parsed(lines, "app") if "disk" in str(record))
    assert set(of_json) == set(of_text) and set(of_json["fields"]) == set(of_text["fields"])
    assert (of_json["level"], of_json["message"]) == (of_text["level"], of_text["message"])
    # The escapes of JSON are undone by every reader of JSON; in text the tab stays as it is written there.
    for name, value in of_text["fields"].items():
        assert of_json["fields"][name].replace("\t", "\\t") == value, name


def test_fluentd_is_not_fooled_by_what_others_wrote():
    records = logs.parsed([line for line, _, _ in logs.NASTY], "app")
    for (line, text, fields), record in zip(logs.NASTY, records):
        assert record and (record["message"], record["fields"]) == (text, fields), (line, record)
    begin = '{"timestamp":"2026-11-23 18:20:01.123Z","level":"info","component":"a","message":'
    strange = ["", "garbage", "level=error component=gateway", "Traceback (most recent call last):", "2026-11-23 info",
               "{}", begin + "1}", begin + '"m"} and more', begin + r'"\x"}', begin + '"m","k":{}}',
               begin + '"m","k":"v']
    nasty = {"message": 'a"},"level":"x', "k\"1": "\\\n\u001b[0mü", "": "", "tool": "x}"}
    head = {"timestamp": "2026-11-23 18:20:01.123Z", "level": "info", "component": "a"}
    record, = logs.parsed([json.dumps({**head, **nasty}, separators=(",", ":"))], "app")
    assert record["message"] == nasty.pop("message") and record["fields"] == nasty
    record, = logs.parsed([begin + '"m","k":"v","cut":true}'], "app")
    assert record["fields"] == {"k": "v", "cut": True}
    for kind in ("app", "security"):
        assert logs.parsed(strange, kind) == [None] * len(strange)
    began = time.monotonic()
    worst = "2026-11-23 18:20:01.123Z info daemon: " + ' k="' * 1_999
    assert logs.parsed([worst], "app")[0] and time.monotonic() - began < 5
    assert logs.parsed([begin + '"m"' + ',"":""' * 1_999 + ","], "app") == [None] and time.monotonic() - began < 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives rights to others, and takes them on")
def test_a_reader_of_the_logs_is_no_operator(make):
    """By the lines of the README, for a user who is in no group: reads both logs, also when they are begun anew, and
    nothing else."""
    gateway = make.gateway(start=False)
    (gateway.home / "log").mkdir(mode=0o750)
    gateway.start()
    gateway.home.chmod(0o711)
    assert shutil.which("setfacl"), "the README's line needs setfacl: apt-get install acl"
    lines = re.findall(r"^setfacl .*$", (files.PLACE / "README.md").read_text(), re.M)
    assert lines == re.findall(r"^#   (setfacl .*)$", files.FLUENTD.read_text(), re.M) and len(lines) == 2
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

    def read(path):
        return files.run(*nobody, "cat", path)

    log = gateway.home / "log"
    assert all(read(log / f"{name}.log").returncode for name in ("app", "security"))
    for line in lines:
        line = line.replace("fluentd", "65534").replace("/var/log/mcp-gateway", str(log))
        done(files.run("bash", "-c", line))
    done(read(log / "app.log"), "serving")
    done(read(log / "security.log"))
    # As logrotate does, and as the service manager does at each start.
    (log / "app.log").rename(log / "app.log-20261123")
    gateway.signal(signal.SIGUSR2)
    house.eventually((log / "app.log").exists, 10, "the new file")
    log.chmod(0o750)
    assert (log / "app.log").stat().st_mode & 0o777 == 0o640
    gateway.get("/health")
    for name in ("app.log", "app.log-20261123", "security.log"):
        done(read(log / name))
    assert files.run(*nobody, "sh", "-c", f"echo x >> {log}/app.log").returncode != 0
    assert read(gateway.database).returncode and files.run(
        *nobody, "curl", "-sf", "--unix-socket", gateway.control, "http://localhost/admin/status").returncode
