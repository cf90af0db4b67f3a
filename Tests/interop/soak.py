# Licensed under the Apache License 2.0; see LICENSE.
"""Many clients of both eras on many upstreams for a while: nobody hears another's words, and nothing is left behind.

Usage: soak.py [--seconds 600] [--clients 200]. Ten upstreams: both eras, over HTTP and stdio, one that answers nonsense over HTTP
and one that dies over stdio. Every client has a tag that nobody can guess and says it everywhere; whatever it hears must hold no
other. Exit 1 with words when something is wrong. Runs against the debug build, or MCP_GATEWAY_BINARY.
"""

import argparse
import collections
import http.server
import json
import os
import random
import re
import secrets
import sys
import threading
import time

# Hundreds of clients and their servers share the machine with the gateway.
os.environ.setdefault("MCP_TEST_PATIENCE", "90")

import conformance
import exposition
import gateway as house

TAG = re.compile(r"tag-[0-9a-f]{16}")
ABLE = {"elicitation": {}, "sampling": {}, "roots": {}}


class Nonsense(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = random.choice([b"nonsense", b"[]", b'{"jsonrpc":"2.0","id":1,"result":7}', b""])
        self.send_response(random.choice([200, 202, 404, 500]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Tally:
    def __init__(self):
        self.lock, self.counts, self.faults = threading.Lock(), collections.Counter(), []

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def fault(self, words):
        with self.lock:
            self.faults.append(words)


class Client:
    """One client: a stateless one, or one with a session."""

    def __init__(self, target, tally, prefixes, is_legacy):
        self.tag = f"tag-{secrets.token_hex(8)}"
        self.target, self.tally, self.prefixes = target, tally, prefixes
        self.session = target.session(random.choice(["2025-06-18", "2025-11-25"]), ABLE, self.answers()) if is_legacy else None

    def answers(self):
        return {
            "elicitation/create": lambda params: self.asked(params, {"action": "accept", "content": {"value": self.tag}}),
            "sampling/createMessage": lambda params: self.asked(params, {
                "role": "assistant", "content": {"type": "text", "text": self.tag}, "model": "m"}),
            "roots/list": lambda params: {"roots": []}}

    def asked(self, params, reply):
        self.hears("a question", params)
        return reply

    def hears(self, what, message):
        others = set(TAG.findall(json.dumps(message))) - {self.tag}
        if others:
            self.tally.fault(f"{self.tag} heard {others} in {what}: {json.dumps(message)[:300]}")

    def call(self, tool, arguments, meta=None):
        if self.session:
            return self.session.call(tool, arguments, meta=meta)
        exchange = self.target.call(tool, arguments, capabilities=ABLE, meta=meta)
        while exchange.answer.get("result", {}).get("resultType") == "input_required":
            questions = exchange.result.get("inputRequests", {})
            responses = {key: self.answers()[each["method"]](each.get("params", {})) for key, each in questions.items()}
            exchange = self.target.call(
                tool, arguments, responses=responses, state=exchange.result.get("requestState"), capabilities=ABLE, meta=meta)
        return exchange

    def turn(self):
        prefix = random.choice(self.prefixes)
        what = random.choice(["ask", "ask", "model", "slow", "plain", "leave", "list", "unruly"])
        if what == "leave" and not self.session:
            exchange = self.target.open("tools/call", {
                "name": f"{prefix}__slow_progress", "arguments": {"steps": 50, "pause": 0.1, "tag": self.tag}})
            exchange.stream.close()
        elif what == "list":
            (self.session or self.target).ask("tools/list")
        elif what == "unruly":
            self.hears("a refusal", self.call(random.choice(["bad__x", "dying__x"]), {"tag": self.tag}).answer)
        elif what == "plain":
            self.expect(self.call(f"{prefix}__test_simple_text", {}), "This is a simple text response for testing.")
        elif what == "slow":
            exchange = self.call(f"{prefix}__slow_progress", {"steps": 3, "pause": 0.01, "tag": self.tag}, {"progressToken": self.tag})
            for note in exchange.notifications:
                self.hears("a notification", note)
            self.expect(exchange, f"{self.tag}: 3 steps")
        elif what in ("ask", "model"):
            tool = "ask_and_echo" if what == "ask" else "ask_model_and_echo"
            self.expect(self.call(f"{prefix}__{tool}", {"tag": self.tag}), f"{self.tag}:{self.tag}")
        self.tally.count(what)

    def expect(self, exchange, text):
        self.hears("an answer", exchange.answer)
        heard = exchange.text if "result" in exchange.answer else json.dumps(exchange.answer)
        if heard == text:
            return
        # Said in words, and nothing of it was done: a bound was reached.
        if "conversations with other clients already" in heard or "limits.max_in_flight" in heard:
            return self.tally.count("refused at a bound")
        # A server of one process, asked by two hundred clients on a machine that is busy on purpose.
        if "Nothing was sent" in heard:
            return self.tally.count("server too busy")
        self.tally.fault(f"{self.tag} expected {text!r} and got {heard[:300]!r}")


def run(client, begin, end, thinks):
    time.sleep(max(0, begin - time.monotonic()))
    while time.monotonic() < end and len(client.tally.faults) < 20:
        time.sleep(random.uniform(0, thinks))
        try:
            client.turn()
        except Exception as problem:  # the soak goes on, and says so at its end
            client.tally.fault(f"{client.tag}: {type(problem).__name__} {str(problem)[:300]}")


def state(gateway):
    """What must not grow: descriptors, processes, and the gateway's own counts."""
    proc = f"/proc/{gateway.process.pid}"
    samples, _ = exposition.parse(gateway.get("/metrics").body.decode())
    names = ("mcp_calls_in_flight", "mcp_calls_parked", "mcp_listeners", "mcp_upstream_sessions")
    found = {name: int(sum(value for _, value in samples.get(name, []))) for name in names}
    found["memory_mb"] = int(open(f"{proc}/statm").read().split()[1]) * 4096 // 2**20
    found["descriptors"] = len(os.listdir(f"{proc}/fd"))
    found["processes"] = len(house.descendants(gateway.process.pid))
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--clients", type=int, default=200)
    options = parser.parse_args()
    servers = [conformance.fixture_server(kind).start() for kind in ("modern", "modern", "legacy", "legacy")]
    nonsense = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
    threading.Thread(target=nonsense.serve_forever, daemon=True).start()
    upstreams = {f"h{number}": {"url": server.url} for number, server in enumerate(servers)}
    for number, kind in enumerate(["modern", "modern", "legacy", "legacy"]):
        command, *arguments = conformance.fixture_command(kind, "stdio")
        upstreams[f"s{number}"] = {"command": command, "args": arguments}
    prefixes = list(upstreams)
    upstreams["bad"] = {"url": f"http://127.0.0.1:{nonsense.server_port}/mcp"}
    upstreams["dying"] = {"command": sys.executable, "args": ["-c", "import time, sys; print('junk', flush=True); time.sleep(2); sys.exit(3)"]}
    gateway, tally = house.Gateway(upstreams, ["text"]), Tally()
    try:
        gateway.start()
        gateway.wait_for_tools(*(f"{prefix}__ask_and_echo" for prefix in prefixes))
        target = conformance.Target("modern-http", gateway.port, gateway)
        before, end = state(gateway), time.monotonic() + options.seconds
        print("before", before, flush=True)
        clients = [Client(target, tally, prefixes, number % 3 == 0) for number in range(options.clients)]
        # Not all at once: each client that can be asked has servers of its own started.
        step = min(60, options.seconds / 5) / options.clients
        begins = [time.monotonic() + number * step for number in range(options.clients)]
        threads = [threading.Thread(target=run, args=(*each, end, options.clients / 10), daemon=True) for each in zip(clients, begins)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and time.monotonic() < end + 90:
            threads[0].join(10)
            next((thread for thread in threads if thread.is_alive()), threads[0]).join(10)
            print(f"{max(0, end - time.monotonic()):.0f} s left", dict(tally.counts), state(gateway), len(tally.faults), flush=True)
        for client in clients:
            if client.session:
                client.session.delete()
        settled = lambda: (lambda now: now if now["descriptors"] <= before["descriptors"] + 10 and now["processes"]
                           <= before["processes"] + 1 and not now["mcp_calls_in_flight"] and not now["mcp_calls_parked"] else None)(state(gateway))
        try:
            print("after ", house.eventually(settled, 150, "the end of what clients held"), flush=True)
        except AssertionError:
            tally.fault(f"something was left behind: before {before}, after {state(gateway)}")
        if tally.counts["server too busy"] > sum(tally.counts.values()) / 20:
            tally.fault(f"servers were too busy too often: {dict(tally.counts)}")
        if gateway.sql("PRAGMA integrity_check") != "ok":
            tally.fault("the database is not whole")
        if gateway.terminate() != 0:
            tally.fault("the gateway did not end cleanly")
    finally:
        gateway.close()
        for server in servers:
            server.kill()
        nonsense.shutdown()
    for words in tally.faults[:20]:
        print("FAULT", words)
    print(f"{len(tally.faults)} faults in {sum(tally.counts.values())} turns")
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
