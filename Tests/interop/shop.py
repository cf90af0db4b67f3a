# Licensed under the Apache License 2.0; see LICENSE.
"""A gateway before a server that counts what it does, and the handles of calls that are stored while it is away."""

import json
import sys
import tempfile

import gateway as house
import wire

TASKS = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
QUEUE = {"offline": "queue"}
TOOLS = {"dispense": QUEUE, "assign": {**QUEUE, "idempotent": True}, "price": {"offline": "stale", "cache": "1h"}}
BREAKER = {"open_for": "200ms", "minimum_calls": 5}


def counting_server(make):
    """A server of servers/counting.py, not started yet, and the book in which it writes what it has done."""
    book, port = tempfile.NamedTemporaryFile(prefix="book-"), house.free_port()
    make.later(book.close)
    server = house.ServerProcess([sys.executable, str(house.SERVERS / "counting.py"), str(port), book.name], port)
    make.later(server.kill)
    return server, book


class Shop:
    """A gateway with one counting upstream behind it, which can be away."""

    def __init__(self, make, tools=None, sections=None, up=True):
        self.server, self.book = counting_server(make)
        if up:
            self.server.start()
        table = {"url": self.server.url, "timeout": "3s", "circuit_breaker": BREAKER, "tools": tools or TOOLS}
        self.gateway = make.gateway({"up": table}, sections=sections)
        if up:
            self.gateway.wait_for_tools("up__dispense", "up__price")
            # What the server has is written behind; a kill right after the start would find nothing.
            house.eventually(lambda: self.gateway.sql("SELECT count(*) FROM known_offers") == "1", 10, "the archive")

    def leave(self):
        """The server goes, and the gateway knows it: otherwise what is stored next would be tried once more at once."""
        self.server.kill()
        self.gateway.exchange(wire.request("POST", "/admin/sync/force", {"Host": "localhost"}), timeout=30)
        house.eventually(lambda: self.gateway.component("upstream:up")["status"] == "unhealthy", 10, "the gateway to notice")

    def call(self, tool, n, capabilities=None, meta=None, id=1, timeout=15):
        params = {"name": f"up__{tool}", "arguments": {"n": n}, "_meta": wire.meta(capabilities=capabilities, **(meta or {}))}
        return self.ask("tools/call", params, id, timeout)

    def ask(self, method, params, id=1, timeout=15):
        name = params.get(wire.NAMED_BY.get(method, "name"))
        body = json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()
        answer = self.gateway.exchange(wire.request("POST", "/mcp", wire.modern_headers(method, name), body), timeout=timeout)
        return answer.json

    def task(self, handle):
        return self.ask("tasks/get", {"taskId": handle, "_meta": wire.meta(capabilities=TASKS)})["result"]

    def result(self, handle):
        answer = self.gateway.call("gateway__queue_result", {"handle": handle})
        return None if answer[0].startswith("NOT DONE YET") else answer

    def done(self):
        return [line.split()[:2] for line in open(self.book.name)]

    def rows(self, columns="status"):
        return self.gateway.sql(f"SELECT {columns} FROM queue_items ORDER BY id").splitlines()


def handle_of(answer):
    result = answer["result"]
    return result["_meta"]["mcp-gateway/stored-call"]["handle"]


def handle_in(text):
    """The same, as old clients and models read it."""
    assert text.startswith("NOT DONE YET"), text
    return text.split("stored as ")[1].split(";")[0].rstrip(".")
