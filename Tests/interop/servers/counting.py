# Licensed under the Apache License 2.0; see LICENSE.
"""A legacy upstream that writes down what it does, to disk, before it answers. Usage: counting.py PORT FILE

Tools: `dispense` and `assign` take {"n": text} and add a line `tool n key` to FILE, synced; `price` answers with how often it was asked.
With `n` ending in `!` the line is written and the connection is cut without an answer. Killed and started again it goes on with its file.
"""

import collections
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]}
TOOLS = [{"name": name, "description": f"Counting: {name}.", "inputSchema": SCHEMA} for name in ("dispense", "assign", "price")]
asked = collections.Counter()


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
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "counting", "version": "1"}}
        elif method == "tools/list":
            result = {"tools": TOOLS}
        elif method == "ping":
            result = {}
        elif method == "tools/call":
            text = self.carry_out(params["name"], params.get("arguments", {}).get("n", ""), params.get("_meta", {}))
            if text is None:
                self.close_connection = True
                return
            result = {"content": [{"type": "text", "text": text}]}
        else:
            body = {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no such method"}}
            return self.reply(200, json.dumps(body).encode())
        self.reply(200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode())

    def carry_out(self, tool, n, meta):
        asked[tool, n] += 1
        if tool == "price":
            return f"{n} asked {asked[tool, n]} times"
        line = f"{tool} {n} {meta.get('mcp-gateway/idempotency-key', '-')}\n".encode()
        os.write(self.server.book, line)
        os.fsync(self.server.book)
        return None if n.endswith("!") else f"{tool} {n}"

    def reply(self, status, body=b""):
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            # The gateway was killed, as planned.
            pass

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(sys.argv[1])), Upstream)
    server.book = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    server.serve_forever()
