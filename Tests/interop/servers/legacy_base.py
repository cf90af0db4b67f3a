# Licensed under the Apache License 2.0; see LICENSE.
"""What the small legacy upstreams have in common: the protocol over HTTP, standard library only. A subclass has `name`, `tools`, and
`carry_out(tool, arguments, meta)`, which returns a text, or None when it has ended the exchange itself."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LegacyUpstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    name, tools = "", []

    def do_GET(self):
        self.reply(405)

    def do_DELETE(self):
        self.reply(200)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "id" not in request:
            return self.reply(202)
        method, params = request["method"], request.get("params", {})
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        if method == "initialize":
            answer["result"] = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                                "serverInfo": {"name": self.name, "version": "1"}}
        elif method == "tools/list":
            answer["result"] = {"tools": self.tools}
        elif method == "ping":
            answer["result"] = {}
        elif method == "tools/call":
            text = self.carry_out(params["name"], params.get("arguments", {}), params.get("_meta", {}))
            if text is None:
                return
            answer["result"] = {"content": [{"type": "text", "text": text}]}
        else:
            answer["error"] = {"code": -32601, "message": "no such method"}
        self.reply(200, json.dumps(answer).encode())

    def cut(self):
        """Ends the connection without an answer."""
        self.close_connection = True

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
