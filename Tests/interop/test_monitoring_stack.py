# Licensed under the Apache License 2.0; see LICENSE.
"""Prometheus and Alertmanager with the shipped files beside a gateway in trouble, until the messages arrive."""

import concurrent.futures
import pathlib
import re

import pytest

import gateway as house
import monitoring_files as files
from background import Repeated
from monitoring_files import done
from monitoring_stack import Stack
from upstreams import Moody

README = (files.PLACE / "README.md").read_text()


@pytest.fixture(scope="module")
def moody(make_once):
    return make_once.server(Moody())


@pytest.fixture(scope="module")
def stack(make_once, moody):
    """Prometheus shows a token, as the shipped file has it; without one nothing but the control socket lets in."""
    upstream = {"url": moody.url, "circuit_breaker": {"open_for": "1s"}, "tools": {"other": {"offline": "queue"}}}
    gateway = make_once.gateway({"erp": upstream}, sections={"admin": {"require_token": True}})
    one = Stack(gateway, gateway.new_token("prometheus", "observe"))
    make_once.later(one.close)
    return one.start()


def call(gateway, tool="erp__work", **arguments):
    return gateway.call(tool, arguments, timeout=20)[1]


def test_a_failing_upstream_is_told_to_everybody_whom_it_concerns(stack, moody):
    stack.gateway.wait_for_tools("erp__work")
    with Repeated(0.1, lambda: stack.gateway.call("erp__work")):
        house.eventually(lambda: stack.query("instance:mcp_calls:increase5m > 5"), 10, "the scrapes")
        assert stack.query("instance:mcp_calls_failed:ratio5m")[0][1] == 0
        assert not stack.firing() and not stack.post.letters and not stack.mail.letters

        moody.feel("failing", status=500)
        alarm, = house.eventually(lambda: stack.told("INCIDENT - SEV-1", "Nearly all calls"), 25, "the alarm")
        page = "docs/runbooks/PerformanceDegraded.md"
        for words in ("STATUS: Investigating", "IMPACT: ", "SCOPE: 127.0.0.1:", page, "Thread"):
            assert words in alarm, alarm
        everybody_was_told(stack)

        # Nobody acknowledges: the lead and then the CTO are told, and the channel of it.
        house.eventually(lambda: stack.mails("cto"), 20, "the step to the CTO")
        assert stack.mails("engineering-lead")
        update = "UPDATE - SEV-1", "PerformanceDegraded goes on", "told to cto"
        house.eventually(lambda: stack.told(*update), 5, "the update")
        keys = {page["routing_key"] for page in stack.posts("/pagerduty")}
        assert {"the pagerduty-routing-key-engineering-lead", "the pagerduty-routing-key-cto"} <= keys
        # Somebody does, with the words of the README.
        words = re.search(r"amtool silence add .*about=GatewayDown.*", README)[0]
        assert words.endswith(" instance=localhost:8080"), "of this gateway, and no other"
        words = words.replace("GatewayDown", "PerformanceDegraded")
        words = words.replace("localhost:9093", f"127.0.0.1:{stack.alertmanager_port}")
        words = words.replace("localhost:8080", f"127.0.0.1:{stack.gateway.port}")
        done(files.run("bash", "-c", words))
        house.eventually(lambda: "goes on" in stack.left_out("--silenced"), 5, "the silence")

        moody.feel("fine")
        house.eventually(lambda: stack.told("RESOLVED", "Nearly all calls", "SOLUTION: "), 25, "the end")
        ended = lambda: [page for page in stack.posts("/pagerduty") if page["event_action"] == "resolve"]
        house.eventually(ended, 5, "the page's end")
    assert not stack.complaints()


def everybody_was_told(stack):
    """That nearly all calls fail: whoever is on call, owners, stakeholders, customers."""
    def page():
        return [page for page in stack.posts("/pagerduty") if "Nearly all" in page["payload"]["summary"]]

    page, = house.eventually(page, 5, "the page")
    assert page["event_action"] == "trigger" and page["routing_key"] == "the pagerduty-routing-key"
    assert page["payload"]["severity"] == "critical" and "IMPACT: " in page["payload"]["custom_details"]["message"]
    house.eventually(lambda: stack.mails("stakeholders") and stack.mails("product-owner"), 5, "the mails")
    assert "IMPACT: " in stack.mails("stakeholders")[0]
    status = house.eventually(lambda: stack.posts("/hooks/mcp-gateway"), 5, "the status page")[0]
    assert status["alerts"][0]["labels"]["alertname"] == "PerformanceDegraded" and status["status"] == "firing"
    shown = next(headers["Authorization"] for path, _, headers in stack.post.letters if path == "/hooks/mcp-gateway")
    assert shown == "Bearer the status-page-token"
    assert {"PerformanceDegraded", "ToolErrorRateHigh"} <= stack.firing()
    house.eventually(lambda: "More than 5 %" in stack.left_out("--inhibited"), 5, "the rest of the lesser alert")


def test_the_playbooks_queries_find_what_they_are_for(stack, moody):
    gateway, ask = stack.gateway, {name: lambda text=text: stack.query(text) for name, text in files.PLAYBOOK.items()}
    moody.feel("fine")
    house.eventually(lambda: not call(gateway), 10, "a quiet begin")
    assert ask["queue"]() == []
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        # Slow ones first; the percentile wants one in twenty of all that were asked here so far.
        moody.feel("slow", seconds=2.1)
        slow = [pool.submit(call, gateway, n=str(n)) for n in range(50)]
        assert not any(one.result(30) for one in slow)
    found = house.eventually(lambda: [one for one in ask["times"]() if one[0]["path"] == "/mcp"], 10, "the slow calls")
    assert 2 < found[0][1] <= 5

    moody.kill()
    house.eventually(lambda: call(gateway), 10, "the upstream's absence")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda n: call(gateway, "erp__other", n=str(n)), range(1001)))
    assert not any(stored), "stored calls are no errors"
    found = house.eventually(ask["queue"], 10, "the backlog")
    assert [value for _, value in found] == [1001]
    house.eventually(lambda: {"QueueBacklog", "UpstreamAway", "AllUpstreamsAway"} <= stack.firing(), 10, "their alerts")

    resident, = stack.query(files.PLAYBOOK["memory"].removesuffix(" > 0.8"))
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    assert resident[1] == pytest.approx(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024 / 1024, rel=0.5)
    assert ask["memory"]() == [], "a test's gateway is small"

    assert ask["errors"]() == []
    assert gateway.order("POST", "/admin/drain", socket=True)[0] == 200
    found = house.eventually(lambda: gateway.get("/health").status == 503 and ask["errors"](), 10, "answers with 503")
    assert all(labels["status"] == "503" and 0.05 < value < 1000 for labels, value in found)
    both = {"PlaybookErrorRate", "GatewayUnhealthy"}
    house.eventually(lambda: gateway.get("/health") and both <= stack.firing(), 10, "their alerts")
    assert gateway.order("DELETE", "/admin/drain", socket=True)[0] == 200


def test_a_gateway_that_is_gone_is_told(stack, moody):
    """Its other troubles do not seem to be over only because nobody can measure them, and the age of its alert outlives
    a restart of Prometheus."""
    moody.kill()
    house.eventually(lambda: call(stack.gateway), 10, "the upstream's absence")
    away = "No upstream of 127.0.0.1:"
    house.eventually(lambda: "AllUpstreamsAway" in stack.firing() and stack.told("INCIDENT", away), 15, "a trouble")
    ends = len(stack.told("RESOLVED", away))
    stack.gateway.kill()
    alarm = house.eventually(lambda: stack.told("INCIDENT - SEV-1", "does not answer"), 15, "the alarm")[0]
    assert f"SCOPE: 127.0.0.1:{stack.gateway.port}" in alarm and "docs/runbooks/GatewayDown.md" in alarm
    house.eventually(lambda: "AllUpstreamsAway" not in stack.firing(), 15, "the end of what cannot be measured")

    began = 'ALERTS_FOR_STATE{alertname="GatewayDown"}'
    (_, before), = stack.query(began)
    stack.restart_prometheus()
    # Until it knows, it writes nothing.
    newer = lambda: stack.query(f"timestamp({began}) > {stack.started}")
    house.eventually(newer, 15, "that Prometheus looks again")
    assert [value for _, value in stack.query(began)] == [before], "its alert began when it began"

    stack.gateway.start()
    house.eventually(lambda: stack.told("RESOLVED", "does not answer"), 15, "the end of it")
    assert len(stack.told("RESOLVED", away)) == ends, "it was not over"


def test_the_readmes_lines_see_that_it_works(stack):
    def typed(line):
        line = line.replace("localhost:9090", f"127.0.0.1:{stack.prometheus_port}")
        return files.run("bash", "-o", "pipefail", "-c",
                         line.replace("localhost:9093", f"127.0.0.1:{stack.alertmanager_port}"))

    block = README.split("## See that it works")[1].split("\n## ")[0]
    targets, add, query = re.findall(r"^(?:curl|amtool alert) .*$", block, re.M)
    up = f"mcp-gateway 127.0.0.1:{stack.gateway.port} up"
    house.eventually(lambda: up in typed(targets).stdout, 10, "the target")
    hooks = len(stack.posts("/hooks/mcp-gateway"))
    done(typed(add))
    done(typed(query), "Test", "a test")
    message, = house.eventually(lambda: stack.told("INCIDENT - SEV-1 - a test"), 10, "the message")
    assert "SCOPE: test\nRUNBOOK:\n" in re.sub(" +$", "", message, flags=re.M), message
    rung = lambda: [page for page in stack.posts("/pagerduty") if "a test" in page["payload"]["summary"]]
    mailed = lambda to: [mail for mail in stack.mails(to) if "SCOPE: test" in mail]
    house.eventually(lambda: rung() and mailed("product-owner") and mailed("stakeholders"), 10, "the rest of them")
    assert len(stack.posts("/hooks/mcp-gateway")) == hooks, "customers are told nothing"
    assert not stack.complaints()


def test_what_is_left_out_is_of_the_same_gateway_and_trouble(make):
    """By a real Alertmanager. Each case has a gateway of its own: what is on, what of it is left out."""
    escalation = lambda about, severity, to="cto", **more: {
        "alertname": "Escalation", "about": about, "severity": severity, "escalate_to": to, **more}
    alert = lambda name, severity="sev3", **more: {"alertname": name, "severity": severity, **more}
    cases = [
        # A SEV-1 that somebody has acknowledged does not keep other troubles from those whom they are for.
        ([escalation("PerformanceDegraded", "sev1")], escalation("MemoryRefusing", "sev2"), False),
        ([escalation("PerformanceDegraded", "sev1")], escalation("PerformanceDegraded", "sev2"), True),
        ([escalation("PerformanceDegraded", "sev1")], escalation("PerformanceDegraded", "sev2", "ceo"), False),
        ([escalation("DiskSpaceLow", "sev2")], escalation("DiskSpaceLow", "sev3"), True),
        # Nor does it go further about what is not told.
        ([alert("GatewayDown", "sev1")], escalation("MemoryRefusing", "sev2"), True),
        ([alert("GatewayDown", "sev1")], escalation("GatewayDown", "sev1"), False),
        ([alert("GatewayDown", "sev1")], alert("MemoryRefusing", "sev2"), True),
        ([alert("AllUpstreamsAway", "sev2")], escalation("UpstreamAway", "sev3", upstream="erp"), True),
        ([alert("UpstreamAway", upstream="erp")], escalation("BreakerOpenLong", "sev3", upstream="erp"), True),
        ([alert("UpstreamAway", upstream="erp")], escalation("BreakerOpenLong", "sev3", upstream="mail"), False),
        ([alert("PerformanceDegraded", "sev2")], escalation("ToolErrorRateHigh", "sev3"), True),
        ([alert("QueueNearlyFull", "sev2")], escalation("QueueBacklog", "sev3"), True),
        ([alert("QueueNearlyFull", "sev2")], escalation("UnknownCalls", "sev3"), False),
    ]
    one = Stack(None, None)
    make.later(one.close)
    one.start_alertmanager()
    placed = [(dict(one, job="mcp-gateway", instance=f"gw{number}"), is_left_out)
              for number, (on, target, is_left_out) in enumerate(cases)
              for one, is_left_out in [*((other, False) for other in on), (target, is_left_out)]]
    one.raise_alerts([labels for labels, _ in placed])
    wanted = [labels for labels, is_left_out in placed if is_left_out]
    inhibited = house.eventually(lambda: len(found := one.inhibited()) >= len(wanted) and found, 10, "what is left out")
    order = lambda labels: (labels["instance"], labels["alertname"])
    assert sorted(inhibited, key=order) == sorted(wanted, key=order)
    # No gateway at all: of that job nothing else is told, and other jobs are none of its concern.
    one.raise_alerts([{"alertname": "GatewayAbsent", "severity": "sev1", "job": "mcp-gateway"},
                      alert("Other", job="other", instance="gw0")])
    house.eventually(lambda: len(one.inhibited()) == len(placed), 10, "all but GatewayAbsent and the other job's")


def test_a_breach_is_told(stack):
    """A module that is not the one that was pinned, found by a reload; strangers who ask for admin routes."""
    gateway = stack.gateway
    gateway.tables["tools.text"] = {"module": house.MODULES / "text.wasm", "sha256": "0" * 64}
    assert "sha256" in str(gateway.reload(409, socket=True))
    alarm, = house.eventually(lambda: stack.told("INCIDENT - SEV-1", "not the one that was pinned"), 15, "the alarm")
    page = "docs/runbooks/ToolPinMismatch.md"
    assert f"RUNBOOK: {page} (on the gateway: /usr/share/doc/mcp-gateway/{page})" in alarm
    assert "AdminRefused" not in stack.firing()
    for _ in range(30):
        assert gateway.get("/admin/status").status == 403
    told = lambda: stack.told("INCIDENT - SEV-2", "ask 127.0.0.1:", "for admin routes")
    house.eventually(told, 15, "the other alarm")
    del gateway.tables["tools.text"]
