# Licensed under the Apache License 2.0; see LICENSE.
"""A lab with the package in it, and how operators and clients use it there."""

import json
import os
import pathlib
import re
import shlex

import base
import lab
from waiting import eventually

DEB = pathlib.Path(os.environ["MCP_GATEWAY_DEB"]) if os.environ.get("MCP_GATEWAY_DEB") else None
CONFIGURATION = "/etc/mcp-gateway/config/production.toml"
DATABASE = "/var/lib/mcp/queue.db"
TOOLS = base.ROOT / "examples/tools/build"
# Where a server of the machine may lie under the shipped unit.
NOTES = "/opt/notes/server.py"
MODULES = """
[tools.units]
module = "/var/lib/mcp/tools/units.wasm"

[tools.text]
module = "/var/lib/mcp/tools/text.wasm"
memory = "2MiB"
"""
NOTES_UPSTREAM = f"""
[upstreams.notes]
command = "python3"
args = ["{NOTES}"]
timeout = "1s"
circuit_breaker = {{ failures = 0.3, window = "20s", minimum_calls = 10, open_for = "1s" }}
tools."add_note" = {{ offline = "queue" }}
tools."list_notes" = {{ offline = "stale", cache = "10m" }}
"""


class Machine(lab.Lab):
    """One machine with the shipped service."""

    def install(self, deb=None):
        deb = deb or DEB
        self.put(deb, f"/root/{deb.name}")
        return self.run(f"dpkg -i /root/{deb.name}", seconds=120)

    def put_tools(self):
        """The example module and the example server, and the configuration that names them."""
        self.run("install -o mcp-gateway -g mcp-gateway -m 2770 -d /var/lib/mcp/tools").ok()
        for name in ("units", "text"):
            self.put(TOOLS / f"{name}.wasm", f"/var/lib/mcp/tools/{name}.wasm", 0o644)
        self.put(base.ROOT / "examples/upstreams/notes/server.py", NOTES, 0o644)
        self.configure(MODULES + NOTES_UPSTREAM)

    def configure(self, more):
        """The shipped configuration with more at its end."""
        if not hasattr(self, "shipped"):
            self.shipped = self.read(CONFIGURATION)
        self.write(CONFIGURATION, self.shipped + more)

    def wait_for(self, *components, status="healthy", seconds=30):
        found = {}

        def are():
            found.update((one["name"], one) for one in self.health().get("components", []))
            return all(found.get(name, {}).get("status") == status for name in components)

        try:
            eventually(are, seconds, f"{components} {status}")
        except AssertionError as failure:
            journal = self.run("journalctl --no-pager --unit=mcp-gateway --lines=20").stdout
            told = "\n".join(f"{one['name']}: {one['status']}, {one['detail']}" for one in found.values())
            raise AssertionError(f"{failure}:\n{told}\n{journal}") from None

    def notes_away(self):
        """Its process is killed, and does not start again."""
        self.run(f"mv {NOTES} {NOTES}.away && pkill -KILL -u mcp-gateway -x python3").ok()
        self.wait_for("upstream:notes", status="unhealthy")

    def notes_back(self):
        self.run(f"mv {NOTES}.away {NOTES}").ok()
        self.run("curl -sf -X POST http://localhost:8080/admin/sync/force").ok()
        self.wait_for("upstream:notes")

    def store(self, text):
        """A call of the server that is away, stored; its handle."""
        told = self.text("notes__add_note", {"text": text}, self.secret)
        assert "NOT DONE YET" in told, told
        return re.search(r"call-[0-9a-f]+", told)[0]

    def health(self):
        text = self.run("curl -s http://localhost:8080/health").stdout
        return json.loads(text) if text else {}

    def pid(self):
        return int(self.run("pgrep mcp-gateway").ok().stdout)

    def token(self, name, *roles):
        granted = " ".join(f"--role {role}" for role in roles or ["call"])
        made = self.run(f"mcp-gateway token new {name} {granted}").ok()
        return made.stdout.strip().splitlines()[-1]

    @staticmethod
    def curl(tool, arguments, token):
        """A tool call by curl, as README.md shows it: options, and what comes on standard input."""
        prefix = "io.modelcontextprotocol"
        meta = {f"{prefix}/protocolVersion": "2026-07-28", f"{prefix}/clientCapabilities": {}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": tool, "arguments": arguments, "_meta": meta}}
        headers = {"Content-Type": "application/json", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call",
                   "Mcp-Name": tool, "Authorization": f"Bearer {token}"}
        words = " ".join("-H " + shlex.quote(f"{name}: {value}") for name, value in headers.items())
        return f"-s http://127.0.0.1:8080/mcp {words} -d @-", json.dumps(body)

    def call(self, tool, arguments, token, seconds=10):
        """HTTP status and answer of a tool call."""
        words, body = self.curl(tool, arguments, token)
        done = self.run(f"curl --max-time {seconds} -w '\\n%{{http_code}}' {words}", input=body, seconds=seconds + 10)
        answer, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(answer) if answer.strip() else None

    def burst(self, tool, arguments, token, count):
        """The HTTP statuses of many calls, one directly after the other."""
        words, body = self.curl(tool, arguments, token)
        # One process and one connection; what is behind the # is not sent.
        words = words.replace("/mcp ", f"'/mcp#[1-{count}]' ")
        done = self.run(f"curl -o /dev/null -w '%{{http_code}}\\n' {words}", input=body).ok()
        return [int(status) for status in done.stdout.split()]

    def text(self, tool, arguments, token):
        """What a tool answers, in words."""
        status, answer = self.call(tool, arguments, token)
        assert status == 200 and "result" in answer, (status, answer)
        return "".join(part.get("text", "") for part in answer["result"]["content"])

    def sql(self, query, user="root", file=DATABASE):
        return self.run(f"sqlite3 {file} {shlex.quote(query)}", user=user).ok().stdout.strip()

    def fact(self, name, unit="mcp-gateway"):
        return self.run(f"systemctl show --value -p {name} {unit}").ok().stdout.strip()
