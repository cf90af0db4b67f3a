# Licensed under the Apache License 2.0; see LICENSE.
"""A small legacy upstream over HTTP, standard library only. Usage: scripted.py PORT

Tools: `echo` answers with its arguments; `hang` never answers while the connection lasts; `big` answers with `size` letters;
`broken` answers with something that is not JSON; `cut` closes the connection without an answer; `count` tells how many calls of
`tool` have arrived; `gate` answers when the event `gate` is set (by a test that runs the server in its own process).
"""

import collections
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
NAMES = ["echo", "hang", "big", "broken", "cut", "count", "gate"]
TOOLS = [{"name": name, "description": f"Scripted: {name}.", "inputSchema": TEXT} for name in NAMES]
calls = collections.Counter()
gate = threading.Event()


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.reply(405)

    def do_DELETE(self):
        self.reply(200)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "id" not in request:
            return self.reply(202)
        method, params = request["method"], request.get("params", {})
        if method == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                      "serverInfo": {"name": "scripted", "version": "1"}}
        elif method == "tools/list":
            result = {"tools": TOOLS}
        elif method == "ping":
            result = {}
        elif method == "tools/call":
            name, arguments = params["name"], params.get("arguments", {})
            calls[name] += 1
            if name == "hang":
                self.connection.settimeout(600)
                self.rfile.read(1)
                self.close_connection = True
                return
            if name == "broken":
                return self.reply(200, b"{this is not JSON")
            if name == "cut":
                self.close_connection = True
                return
            if name == "gate":
                gate.wait(60)
            text = json.dumps(arguments)
            if name == "big":
                text = "x" * int(arguments["size"])
            if name == "count":
                text = str(calls[arguments["tool"]])
            result = {"content": [{"type": "text", "text": text}]}
        else:
            error = {"code": -32601, "message": "no such method"}
            return self.reply(200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}).encode())
        self.reply(200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode())

    def reply(self, status, body=b""):
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def serve_in_thread(port=0):
    """For tests: starts one in this process and returns it; `server_address[1]` is its port."""
    server = Server(("127.0.0.1", port), Upstream)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Upstream).serve_forever()
