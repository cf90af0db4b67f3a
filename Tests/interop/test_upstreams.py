# Licensed under the Apache License 2.0; see LICENSE.
"""Upstreams that we did not write: both generations of the Python SDK, over Streamable HTTP and over stdio."""

import contextlib
import http.server
import json
import sys
import threading

import pytest

import gateway as house
from wire import MODERN, VERSION_KEY, CAPABILITIES_KEY

UPSTREAMS = ["first_http", "first_stdio", "second_http", "second_stdio"]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    place = tmp_path_factory.mktemp("records")
    return {"second_http": place / "http", "second_stdio": place / "stdio"}


@pytest.fixture(scope="module")
def gateway(make_once, records):
    first = make_once.server(house.http_server("mcp1"))
    second = make_once.server(house.http_server("mcp2", records["second_http"]))
    first_stdio = [str(house.SERVERS / "mcp1_server.py"), "stdio"]
    second_stdio = [
        str(house.SERVERS / "tee.py"), str(records["second_stdio"]), house.PYTHON["mcp2"],
        str(house.SERVERS / "mcp2_server.py"), "stdio",
    ]
    gateway = make_once.gateway({
        "first_http": {"url": first.url},
        "first_stdio": {"command": house.PYTHON["mcp1"], "args": first_stdio},
        "second_http": {"url": second.url},
        "second_stdio": {"command": sys.executable, "args": second_stdio},
    })
    gateway.wait_for_tools(*(f"{name}__add" for name in UPSTREAMS))
    return gateway


@pytest.mark.parametrize("name", UPSTREAMS)
class TestEach:
    def test_its_tools_are_listed(self, gateway, name):
        tools = gateway.wait_for_tools()
        for tool in ("add", "shout", "refuse", "linger"):
            assert f"{name}__{tool}" in tools

    def test_a_call_from_either_era_is_answered(self, gateway, name):
        assert gateway.call(f"{name}__add", {"a": 2, "b": 40}) == ("42", False)
        assert gateway.legacy().call(f"{name}__add", {"a": 2, "b": 40}) == ("42", False)

    def test_structured_content_is_carried(self, gateway, name):
        _, message = gateway.modern("tools/call", {"name": f"{name}__add", "arguments": {"a": 1, "b": 2}})
        assert message["result"]["structuredContent"] == {"result": 3}
        assert message["result"]["resultType"] == "complete"
        old = gateway.legacy().request("tools/call", {"name": f"{name}__add", "arguments": {"a": 1, "b": 2}})
        assert old["result"]["structuredContent"] == {"result": 3}
        assert "resultType" not in old["result"]

    def test_text_of_any_script_and_size_passes(self, gateway, name):
        text = "grüße, 世界 👋 \" \\ \n \t " + "x" * 200_000
        assert gateway.call(f"{name}__shout", {"text": text}) == (text.upper(), False)

    def test_its_own_failure_reaches_the_client_as_such(self, gateway, name):
        text, is_error = gateway.call(f"{name}__refuse", {"reason": "the shop is closed"})
        assert is_error and "the shop is closed" in text

    def test_calls_run_beside_each_other(self, gateway, name):
        """A call that takes long does not hold the next one up; the connection or process is shared."""
        with house.wire.Connection(gateway.port, 20) as slow:
            slow.send(house.wire.modern_request("tools/call", {"name": f"{name}__linger", "arguments": {"seconds": 1.5}}))
            assert gateway.call(f"{name}__add", {"a": 1, "b": 1}) == ("2", False)
            slow.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                slow.socket.recv(1)
            slow.socket.settimeout(20)
            assert house.wire.text_of(slow.response().json) == "done lingering"

    def test_health_calls_it_healthy(self, gateway, name):
        assert gateway.component(f"upstream:{name}")["status"] == "healthy"


def entries(path):
    """The requests of a record: (method of MCP, message, headers or None)."""
    found = []
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        headers = entry.get("headers")
        if headers is not None:
            if not entry["body"]:
                continue
            entry = json.loads(entry["body"])
        found.append((entry.get("method"), entry, headers))
    return found


@pytest.mark.parametrize("name", ["second_http", "second_stdio"])
def test_a_modern_upstream_is_asked_in_its_own_language(gateway, records, name):
    assert gateway.call(f"{name}__revision") == (MODERN, False)
    assert gateway.legacy().call(f"{name}__revision") == (MODERN, False)
    seen = entries(records[name])
    methods = [method for method, _, _ in seen]
    assert methods[0] == "server/discover"
    assert not {"initialize", "notifications/initialized", "ping"} & set(methods), methods
    for method, message, headers in seen:
        meta = message["params"]["_meta"]
        assert meta[VERSION_KEY] == MODERN and isinstance(meta[CAPABILITIES_KEY], dict)
        if headers is None:
            continue
        assert headers["mcp-protocol-version"] == MODERN
        assert headers["mcp-method"] == method
        assert headers["content-type"].startswith("application/json")
        assert "application/json" in headers["accept"] and "text/event-stream" in headers["accept"]
        assert "mcp-session-id" not in headers
        if method == "tools/call":
            assert headers["mcp-name"] == message["params"]["name"]
            assert not message["params"]["name"].startswith(name)


def test_ids_towards_an_upstream_are_the_gateways_own(gateway, records):
    gateway.modern("tools/call", {"name": "second_http__add", "arguments": {"a": 1, "b": 1}}, id="chosen-by-the-client")
    ids = [message["id"] for _, message, _ in entries(records["second_http"]) if "id" in message]
    assert "chosen-by-the-client" not in ids


def test_a_legacy_upstream_is_not_probed_by_a_call(make, tmp_path):
    """The era is found out by `server/discover`; a tool with side effects runs exactly once."""
    record = tmp_path / "record"
    notes = str(house.ROOT / "examples/upstreams/notes/server.py")
    gateway = make.gateway({
        "old": {"command": sys.executable, "args": [str(house.SERVERS / "tee.py"), str(record), "python3", notes]},
    })
    gateway.wait_for_tools("old__add_note")
    text, is_error = gateway.call("old__add_note", {"text": "once"})
    assert not is_error, text
    methods = [method for method, _, _ in entries(record)]
    assert methods[0] == "server/discover" and "initialize" in methods
    assert methods.count("tools/call") == 1
    initialize = next(message for method, message, _ in entries(record) if method == "initialize")
    assert initialize["params"]["protocolVersion"] == "2025-11-25"
    assert methods.index("notifications/initialized") > methods.index("initialize")


def test_one_process_serves_many_calls(make, tmp_path):
    pids = tmp_path / "pids"
    gateway = make.gateway({"family": {"command": sys.executable, "args": [str(house.SERVERS / "family.py"), str(pids)]}})
    gateway.wait_for_tools("family__pid")
    answers = {gateway.call("family__pid") for _ in range(10)}
    assert len(answers) == 1
    assert answers == {(str(json.loads(pids.read_text())["self"]), False)}


def test_noise_of_a_stdio_server_disturbs_nobody(make, tmp_path):
    pids = tmp_path / "pids"
    gateway = make.gateway({"family": {"command": sys.executable, "args": [str(house.SERVERS / "family.py"), str(pids)]}})
    gateway.wait_for_tools("family__pid")
    pid = gateway.call("family__pid")
    assert gateway.call("family__flood") == pid
    assert gateway.call("family__garbage")[1] in (False, True)
    house.eventually(lambda: gateway.call("family__pid")[1] is False, 20, "a good answer after a line of garbage")


SECRET = "s3cr3t-of-the-shop"
FORGED = "2026-01-01 00:00:00.000Z error daemon: all is lost"


class Hostile(http.server.BaseHTTPRequestHandler):
    """Refuses everything, repeats what it was shown, and would like to write into the gateway's log."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = f"denied for {self.headers['Authorization']}, {SECRET}\n{FORGED}\x1b[31m"
        body = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "error": {"code": -32000, "message": words}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def hostile():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
    finally:
        server.shutdown()
        server.server_close()


def test_what_an_upstream_says_forges_no_line_and_shows_no_secret(make):
    with hostile() as url:
        gateway = make.gateway({"shop": {"url": url, "headers": {"Authorization": f"Bearer {SECRET}"}}})
        denied = lambda: "denied for ***, ***" in gateway.component("upstream:shop")["detail"]
        house.eventually(denied, 10, "its words")
        # The greeting is for whoever started it by hand, and comes last.
        house.eventually(lambda: "Stop it:" in gateway.stdout(), 10, "the greeting")
        assert gateway.terminate() == 0
    printed = gateway.stdout()
    assert "upstream:shop: unhealthy (failed: it refuses to begin: denied for ***, ***\\n" in printed, printed
    log = (gateway.home / "log/app.log").read_text()
    for text in (printed, log):
        assert SECRET not in text and "\x1b" not in text
        assert not [line for line in text.splitlines() if line.startswith(FORGED)]


def test_before_a_pipe_whose_lines_are_json_nobody_is_greeted(make):
    gateway = make.gateway(sections={"log": {"format": "json"}})
    house.eventually(lambda: '"message":"serving"' in gateway.stdout(), 10, "a line")
    assert gateway.terminate() == 0
    for line in gateway.stdout().splitlines():
        assert json.loads(line)["timestamp"], line


def test_a_list_keeps_its_order_and_its_names_are_safe(gateway):
    _, first = gateway.modern("tools/list")
    _, second = gateway.modern("tools/list")
    assert first["result"]["tools"] == second["result"]["tools"]
    for tool in first["result"]["tools"]:
        name = tool["name"]
        assert len(name) <= 64 and all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in name)
