# Licensed under the Apache License 2.0; see LICENSE.
"""A legacy upstream in the mood that a test puts it in. Usage: moody.py PORT [PLACES]

Tools `work`, `other` and `safe` take {"n": text, "seconds": number, "pad": text} and do the same; what may be done with each is for
the gateway's configuration to say. Each call is counted when it arrives. It takes `seconds`, or as long as the mood says, on one of
PLACES places (any number when left out), and answers `TOOL n`.

Beside /mcp the test speaks to it directly:
    POST /mood {"kind": KIND, …}   how it is from now on; with "times": N for the next N calls only, "tool": NAME for this one only
    GET /book                      [{"tool", "n", "at", "beside"}] of all calls so far; "beside" is how many were at work already

Kinds: `fine`; `slow` {"seconds"}; `busy` {"status", "retry_after"}; `cut`, no answer; `broken`, a reset in the middle of the body;
`failing` {"status"}, an answer that is none.
"""

import json
import socket
import struct
import sys
import threading
import time

from legacy_base import LegacyUpstream, Server

SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}, "seconds": {"type": "number"}, "pad": {"type": "string"}}}
NAMES = ["work", "other", "safe"]


class Upstream(LegacyUpstream):
    name = "moody"
    tools = [{"name": name, "description": f"Moody: {name}.", "inputSchema": SCHEMA} for name in NAMES]

    def do_GET(self):
        if self.path != "/book":
            return super().do_GET()
        with self.server.lock:
            self.reply(200, json.dumps(self.server.book).encode())

    def do_POST(self):
        if self.path != "/mood":
            return super().do_POST()
        mood = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.mood = mood
        self.reply(204)

    def carry_out(self, tool, arguments, meta):
        server, n = self.server, arguments.get("n", "")
        with server.lock:
            mood = server.take_mood(tool)
            server.book.append({"tool": tool, "n": n, "at": time.time(), "beside": server.at_work})
            server.at_work += 1
        try:
            return self.act(mood, f"{tool} {n}", arguments.get("seconds", 0))
        finally:
            with server.lock:
                server.at_work -= 1

    def act(self, mood, text, seconds):
        kind = mood["kind"]
        if kind == "cut":
            return self.cut()
        if kind == "broken":
            return self.tear()
        if kind == "busy":
            return self.turn_away(mood)
        if kind == "failing":
            return self.reply(mood["status"], b"this is no answer")
        with self.server.places:
            time.sleep(mood.get("seconds", seconds))
        return text

    def turn_away(self, mood):
        self.send_response(mood["status"])
        if "retry_after" in mood:
            self.send_header("Retry-After", str(mood["retry_after"]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def tear(self):
        """Half an answer, and a reset."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "4096")
        self.end_headers()
        self.wfile.write(b'{"jsonrpc":"2.0","id":')
        self.wfile.flush()
        # Nothing tells that the half has been read by then, and a reset takes along what has not.
        time.sleep(0.1)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        socket.close(self.connection.detach())

    def handle(self):
        try:
            super().handle()
        except OSError:
            # The gateway was killed or has hung up, or the connection was torn, as planned.
            pass

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass


class Moody(Server):
    def __init__(self, port, places):
        super().__init__(("127.0.0.1", port), Upstream)
        self.lock, self.book, self.at_work = threading.Lock(), [], 0
        self.mood = {"kind": "fine"}
        self.places = threading.Semaphore(places)

    def take_mood(self, tool):
        """The mood for one call; the lock is held."""
        mood = self.mood
        if mood.get("tool", tool) != tool:
            return {"kind": "fine"}
        if "times" in mood:
            mood["times"] -= 1
            if mood["times"] == 0:
                self.mood = {"kind": "fine"}
        return mood

    def shutdown_request(self, request):
        try:
            super().shutdown_request(request)
        except OSError:
            pass


if __name__ == "__main__":
    Moody(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000).serve_forever()
