# Licensed under the Apache License 2.0; see LICENSE.
"""A legacy upstream that writes down what it does, to disk, before it answers. Usage: counting.py PORT FILE

Tools: `dispense` and `assign` take {"n": text} and add a line `tool n key` to FILE, synced; `price` answers with how often it was asked.
With `n` ending in `!` the line is written and the connection is cut without an answer. Killed and started again it goes on with its file.
"""

import collections
import os
import sys

from legacy_base import LegacyUpstream, Server

SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]}
TOOLS = [{"name": name, "description": f"Counting: {name}.", "inputSchema": SCHEMA} for name in ("dispense", "assign", "price")]
asked = collections.Counter()


class Upstream(LegacyUpstream):
    name, tools = "counting", TOOLS

    def carry_out(self, tool, arguments, meta):
        n = arguments.get("n", "")
        asked[tool, n] += 1
        if tool == "price":
            return f"{n} asked {asked[tool, n]} times"
        line = f"{tool} {n} {meta.get('mcp-gateway/idempotency-key', '-')}\n".encode()
        os.write(self.server.book, line)
        os.fsync(self.server.book)
        return self.cut() if n.endswith("!") else f"{tool} {n}"

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            # The gateway was killed, as planned.
            pass


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(sys.argv[1])), Upstream)
    server.book = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    server.serve_forever()
