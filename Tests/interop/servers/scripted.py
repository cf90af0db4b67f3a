# Licensed under the Apache License 2.0; see LICENSE.
"""A small legacy upstream over HTTP, standard library only. Usage: scripted.py PORT

Tools: `echo` answers with its arguments; `hang` never answers while the connection lasts; `big` answers with `size` letters;
`broken` answers with something that is not JSON; `cut` closes the connection without an answer; `count` tells how many calls of
`tool` have arrived; `gate` answers when the event `gate` is set (by a test that runs the server in its own process).
"""

import collections
import contextlib
import itertools
import json
import sys
import threading

from legacy_base import LegacyUpstream, Server

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
NAMES = ["echo", "hang", "big", "broken", "cut", "count", "gate"]
TOOLS = [{"name": name, "description": f"Scripted: {name}.", "inputSchema": TEXT} for name in NAMES]
calls = collections.Counter()
gate = threading.Event()


class Upstream(LegacyUpstream):
    name, tools = "scripted", TOOLS

    def carry_out(self, tool, arguments, meta):
        calls[tool] += 1
        if tool == "hang":
            self.connection.settimeout(600)
            self.rfile.read(1)
            return self.cut()
        if tool == "broken":
            return self.reply(200, b"{this is not JSON")
        if tool == "cut":
            return self.cut()
        if tool == "gate":
            gate.wait(60)
        if tool == "big":
            return "x" * int(arguments["size"])
        if tool == "count":
            return str(calls[arguments["tool"]])
        return json.dumps(arguments)


class Quiet(Upstream):
    """Says nothing when the gateway hangs up on it, as it does with a server that is removed."""

    def handle(self):
        with contextlib.suppress(ConnectionError):
            super().handle()


class WithSessions(Quiet):
    """An HTTP server with sessions: `count` tells which one the call came in."""

    fresh = None

    def reply(self, status, body=b""):
        if b'"protocolVersion"' in body:
            self.fresh = f"session-{next(self.server.numbers)}"
        super().reply(status, body)

    def end_headers(self):
        if self.fresh:
            self.send_header("Mcp-Session-Id", self.fresh)
            self.fresh = None
        super().end_headers()

    def carry_out(self, tool, arguments, meta):
        if tool == "count":
            return self.headers.get("Mcp-Session-Id", "no session")
        return super().carry_out(tool, arguments, meta)


def serve_in_thread(port=0, kind=Upstream):
    """For tests: starts one in this process and returns it; `server_address[1]` is its port."""
    server = Server(("127.0.0.1", port), kind)
    server.numbers = itertools.count(1)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Upstream).serve_forever()
