# Licensed under the Apache License 2.0; see LICENSE.
"""Traces: what a call says of its trace reaches the upstream by `_meta` and by headers, and spans reach a collector, whatever it does.
What was sent is read by the published definitions of OTLP."""

import json
import re
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

import gateway as house
import wire
from legacy_base import LegacyUpstream, Server

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


class Listener(LegacyUpstream):
    """An upstream that writes down what it hears of traces."""

    name = "listener"
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("do", "later", "break")]

    def carry_out(self, tool, arguments, meta):
        headers = {name: self.headers[name] for name in ("traceparent", "tracestate") if self.headers[name]}
        self.server.heard.append((tool, headers, {name: meta[name] for name in meta if name.startswith("trace") or name == "baggage"}))
        if tool == "break":
            return self.reply(500, b"{}")
        return tool


class Collector(BaseHTTPRequestHandler):
    """Takes traces, as its server's mood is."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.connections.add(self.client_address)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # The end of the test ends it early.
        self.server.released.wait(self.server.pause)
        if self.server.hangs == "at once":
            self.server.released.wait(60)
        status = self.server.status
        if status == 200:
            assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
            self.server.requests.append(json.loads(body))
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.flush()
        if self.server.hangs == "in the middle":
            self.server.released.wait(60)
        self.wfile.write(b"{}")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def collector(make):
    server = Server(("127.0.0.1", 0), Collector)
    server.requests, server.status, server.hangs, server.released = [], 200, "", threading.Event()
    server.pause, server.connections = 0, set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    make.later(server.shutdown)
    make.later(server.released.set)
    return server


@pytest.fixture
def listener(make):
    server = Server(("127.0.0.1", 0), Listener)
    server.heard = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    make.later(server.shutdown)
    return server


def gateway(make, listener, telemetry=None, **tools):
    up = {"url": f"http://127.0.0.1:{listener.server_address[1]}/mcp", "prefix": "", "tools": tools} if tools else {
        "url": f"http://127.0.0.1:{listener.server_address[1]}/mcp", "prefix": ""}
    one = make.gateway({"up": up}, tools=["units"], sections={"telemetry": telemetry} if telemetry else None)
    one.wait_for_tools("do", "units__convert")
    return one


def recording(collector, ratio=1.0):
    return {"otlp_endpoint": f"http://127.0.0.1:{collector.server_address[1]}", "sample_ratio": ratio}


def call(gateway, tool, meta=None, headers=None, arguments=None):
    body = json.loads(wire.modern_body("tools/call", {"name": tool, "arguments": arguments or {}}))
    body["params"]["_meta"].update(meta or {})
    response = gateway.exchange(wire.request(
        "POST", "/mcp", {**wire.modern_headers("tools/call", tool), **(headers or {})}, json.dumps(body).encode()))
    assert response.status == 200, response
    return response


def list_often(gateway, count):
    """So many requests one behind the other, each a span."""
    session = gateway.legacy()
    with wire.Connection(gateway.port, 30) as connection:
        for n in range(count):
            connection.send(wire.request("POST", "/mcp", session.headers, wire.legacy_body("tools/list", id=n)))
            assert connection.response("POST").status == 200


def spans(collector):
    return [span for request in list(collector.requests) for part in request["resourceSpans"] for scope in part["scopeSpans"]
            for span in scope["spans"]]


def attributes(span):
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def test_without_a_collector_a_trace_goes_on_as_it_came(make, listener):
    one = gateway(make, listener)
    call(one, "do", {"traceparent": PARENT, "tracestate": "a=1,b=2", "baggage": "k=v"})
    call(one, "do", headers={"traceparent": PARENT, "tracestate": "c=3"})
    call(one, "do")
    assert [heard[1:] for heard in listener.heard] == [
        ({"traceparent": PARENT, "tracestate": "a=1,b=2"}, {"traceparent": PARENT, "tracestate": "a=1,b=2", "baggage": "k=v"}),
        ({"traceparent": PARENT, "tracestate": "c=3"}, {"traceparent": PARENT, "tracestate": "c=3"}), ({}, {})]


def test_a_session_of_an_older_client_goes_on_with_its_trace_too(make, listener):
    one = gateway(make, listener)
    session = one.legacy()
    body = wire.legacy_body("tools/call", {"name": "do", "arguments": {}})
    answer = one.exchange(wire.request("POST", "/mcp", {**session.headers, "traceparent": PARENT}, body))
    assert answer.status == 200
    assert listener.heard[-1][1]["traceparent"] == PARENT == listener.heard[-1][2]["traceparent"]


@pytest.mark.parametrize("bad", [
    "", "00", PARENT[:-1], PARENT.upper(), f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01",
    PARENT + "-more", f"00-{TRACE}-{SPAN}-0g", "é" * 55])
def test_what_is_no_context_begins_nothing(make_once, bad):
    one = getattr(make_once, "plain", None)
    if one is None:
        server = Server(("127.0.0.1", 0), Listener)
        server.heard = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        make_once.later(server.shutdown)
        one = make_once.plain = gateway(make_once, server)
        one.listener = server
    call(one, "do", {"traceparent": bad})
    # The client's own text goes on in _meta as everything there does; no header is made of it.
    assert one.listener.heard[-1][1:] == ({}, {"traceparent": bad})


def test_a_recorded_call_is_two_spans_that_hang_together(make, listener, collector):
    one = gateway(make, listener, recording(collector, 0.0))
    response = call(one, "do", {"traceparent": PARENT, "tracestate": "a=1"})
    found = house.eventually(lambda: [s for s in spans(collector) if s["traceId"] == TRACE] or None, 15, "the spans")
    assert len(found) == 2
    server, client = sorted(found, key=lambda span: span["kind"])
    assert server["name"] == "tools/call" and server["kind"] == 2 and server["parentSpanId"] == SPAN
    assert client["kind"] == 3 and client["parentSpanId"] == server["spanId"] and client["traceState"] == "a=1"
    assert int(server["startTimeUnixNano"]) <= int(client["startTimeUnixNano"]) <= int(client["endTimeUnixNano"]) <= int(server["endTimeUnixNano"])
    assert int(server["endTimeUnixNano"]) >= int(server["startTimeUnixNano"]) > (time.time() - 60) * 1e9
    facts = attributes(server)
    assert facts["gen_ai.tool.name"] == "do" and facts["mcp_gateway.upstream"] == "up" and facts["mcp_gateway.outcome"] == "ok"
    assert facts["mcp_gateway.request_id"] == response.header("X-Request-Id")
    tool, headers, meta = listener.heard[-1]
    assert headers["traceparent"] == meta["traceparent"] == f"00-{TRACE}-{client['spanId']}-01" and meta["tracestate"] == "a=1"
    resource = {a["key"]: a["value"]["stringValue"] for a in collector.requests[0]["resourceSpans"][0]["resource"]["attributes"]}
    assert resource["service.name"] == "mcp-gateway" and resource["service.instance.id"] == one.health()["instance"]
    assert "error.type" not in facts and "status" not in server


def test_the_client_decides_and_else_the_ratio_does(make, listener, collector):
    one = gateway(make, listener, recording(collector, 0.0))
    call(one, "do", {"traceparent": PARENT[:-1] + "0"})
    call(one, "do")
    assert listener.heard[-2][1]["traceparent"] == PARENT[:-1] + "0" and listener.heard[-1][1] == {}
    one.tables["telemetry"]["sample_ratio"] = 1.0
    one.reload()
    call(one, "do")
    call(one, "units__convert", arguments={"value": 1, "from": "km", "to": "m"})
    found = house.eventually(lambda: spans(collector) if len({s["traceId"] for s in spans(collector)}) >= 2 and len(spans(collector)) >= 4 else None, 15, "the spans")
    assert TRACE not in {span["traceId"] for span in found}
    assert listener.heard[-1][1]["traceparent"].split("-")[1] in {span["traceId"] for span in found}
    assert {span["name"] for span in found} >= {"tools/call", "upstream up", "wasm units"}
    inside = next(span for span in found if span["name"] == "wasm units")
    assert inside["kind"] == 1


def test_what_is_sent_is_otlp_by_its_definitions(make, listener, collector):
    one = gateway(make, listener, recording(collector))
    call(one, "do", {"traceparent": PARENT, "tracestate": "a=1"})
    call(one, "break")
    one.modern("tools/list")
    house.eventually(lambda: len(spans(collector)) >= 6, 15, "the spans")
    ran = subprocess.run(
        [house.PYTHON["openapi"], str(house.SERVERS.parent / "clients/otlp.py")], capture_output=True, text=True, timeout=60,
        input="".join(json.dumps(request) + "\n" for request in collector.requests))
    assert ran.returncode == 0 and set(ran.stdout.split("\n")) == {"accepted", ""}, (ran.stdout, ran.stderr)
    broken = [span for span in spans(collector) if span.get("status")]
    assert {attributes(span)["error.type"] for span in broken} == {"bad_answer"} and len(broken) == 2
    assert all(span["status"]["code"] == 2 and span["status"]["message"] for span in broken)


def test_a_stored_call_goes_on_with_its_trace(make, listener, collector):
    one = gateway(make, listener, recording(collector, 0.0), later={"offline": "queue"})
    assert one.order("POST", "/admin/circuit-breaker/enable", {"upstream": "up", "force": True})[0] == 200
    assert "NOT DONE YET" in wire.text_of(call(one, "later", {"traceparent": PARENT}).json)
    assert one.order("DELETE", "/admin/overrides")[0] == 200
    found = house.eventually(
        lambda: (lambda all: all if any(s["name"] == "queue up" for s in all) else None)(spans(collector)), 20, "the queue's span")
    queued = next(span for span in found if span["name"] == "queue up")
    assert queued["traceId"] == TRACE and queued["kind"] == 5
    assert listener.heard[-1][0] == "later" and FORM.fullmatch(listener.heard[-1][1]["traceparent"])[1] == TRACE


def test_a_slow_line_leads_to_the_trace(make, listener, collector):
    one = make.gateway(
        {"up": {"url": f"http://127.0.0.1:{listener.server_address[1]}/mcp", "prefix": ""}},
        sections={"telemetry": recording(collector), "log": {"slow_call": "1ms"}})
    one.wait_for_tools("do")
    call(one, "break", {"traceparent": PARENT})
    text = house.eventually(lambda: (lambda t: t if "call failed" in t else None)((one.home / "log/app.log").read_text()), 10, "the line")
    assert f"trace_id={TRACE}" in next(line for line in text.splitlines() if "call failed" in line)


@pytest.mark.parametrize("trouble", ["away", "busy", "hanging", "hanging in the middle", "refusing"])
def test_a_collector_in_trouble_holds_nobody_up(make, listener, collector, trouble):
    if trouble == "busy":
        collector.status = 503
    elif trouble == "refusing":
        collector.status = 400
    elif trouble.startswith("hanging"):
        collector.hangs = "in the middle" if "middle" in trouble else "at once"
    elif trouble == "away":
        collector.server_close()
    one = gateway(make, listener, recording(collector))
    longest = 0
    for n in range(60):
        began = time.monotonic()
        call(one, "do")
        longest = max(longest, time.monotonic() - began)
    assert longest < 2, "calls do not wait for the collector"
    if not trouble.startswith("hanging"):
        words = "does not take these traces" if trouble == "refusing" else "traces are not delivered"
        house.eventually(lambda: words in one.stdout(), 15, "the line about it")
        assert one.stdout().count(words) == 1, "said once"
    if trouble == "busy":
        collector.status = 200
        found = house.eventually(lambda: spans(collector) or None, 30, "the spans, later")
        assert len(found) >= 60
        house.eventually(lambda: "traces are delivered again" in one.stdout(), 10, "the end of it")
    # Its end waits for two seconds at most, whatever there is to send.
    began = time.monotonic()
    assert one.terminate(30) == 0 and time.monotonic() - began < 8
    collector.released.set()


def test_spans_are_bounded_and_the_loss_is_counted(make, listener, collector):
    collector.status = 503
    one = gateway(make, listener, recording(collector))
    house.eventually(lambda: "traces are not delivered" in one.stdout(), 15, "the first refusal")
    list_often(one, 4_800)
    samples = one.metrics()
    assert samples["mcp_spans_dropped_total"][0][1] > 0 and samples["mcp_spans_sent_total"][0][1] == 0


def test_a_collector_that_takes_its_time_does_not_hold_up_the_end(make, listener, collector):
    """Nine batches wait, and each would take three seconds."""
    one = gateway(make, listener, recording(collector))
    collector.pause = 3
    list_often(one, 4_200)
    began = time.monotonic()
    assert one.terminate(40) == 0 and time.monotonic() - began < 8


def test_spans_of_a_busy_time_go_out_in_batches(make, listener, collector):
    one = gateway(make, listener, recording(collector))
    list_often(one, 1_500)
    house.eventually(lambda: len(spans(collector)) >= 1_500, 20, "all of them")
    assert len(collector.requests) <= 12 and len(collector.connections) <= 3
    samples = one.metrics()
    assert samples["mcp_spans_dropped_total"][0][1] == 0


def test_a_call_that_is_refused_says_so_in_its_span(make, listener, collector):
    one = gateway(make, listener, recording(collector), later={"offline": "queue"})
    one.exchange(wire.request("POST", "/mcp", wire.modern_headers("tools/call", "nobody"), wire.modern_body("tools/call", {"name": "nobody"})))
    assert one.order("POST", "/admin/circuit-breaker/enable", {"upstream": "up", "force": True})[0] == 200
    call(one, "later", {"traceparent": PARENT})
    outcomes = lambda: {attributes(span).get("mcp_gateway.outcome"): attributes(span) for span in spans(collector) if span["kind"] == 2}
    house.eventually(lambda: {"refused", "queued"} <= set(outcomes()), 15, "both")
    stored = outcomes()["queued"]
    assert stored["gen_ai.tool.name"] == "later" and stored["mcp_gateway.upstream"] == "up"


def test_a_last_batch_goes_out_at_the_end(make, listener, collector):
    one = gateway(make, listener, recording(collector))
    call(one, "do")
    assert one.terminate() == 0
    assert "upstream up" in {span["name"] for span in spans(collector)}


@pytest.mark.parametrize("table, words", [
    ({"otlp_endpoint": "collector:4318"}, "otlp_endpoint"), ({"otlp_endpoint": 4318}, "otlp_endpoint"),
    ({"otlp_endpoint": "http://127.0.0.1:1", "sample_ratio": 2}, "sample_ratio"), ({"otlp": "x"}, "otlp_endpoint")])
def test_a_file_that_is_not_right_is_refused_in_words(make, table, words):
    one = make.gateway(sections={"telemetry": table}, start=False)
    one.write_configuration()
    ran = house.run("validate-config", one.configuration, code=78)
    assert words in ran.stdout + ran.stderr
