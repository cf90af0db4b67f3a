# Licensed under the Apache License 2.0; see LICENSE.
"""The built executable as a black box: a generated configuration, a free port, its own directories, and its end."""

import copy
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import exposition
import wire
from waiting import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("MCP_GATEWAY_BINARY", ROOT / ".build/debug/mcp-gateway")).resolve()
MODULES = ROOT / "examples/tools/build"
SERVERS = pathlib.Path(__file__).resolve().parent / "servers"
sys.path.insert(0, str(SERVERS))
PYTHON = {name: str(ROOT / f".venv/{name}/bin/python") for name in ("mcp1", "mcp2", "fastmcp", "openapi")}
SECRET = re.compile(r"mcpgw_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers_tcp(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    except OSError:
        return False


def is_alive(pid):
    """Whether a process runs; one that is dead and only not yet reaped does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def name_of(pid):
    """What a process is called, as `ps` and `pgrep` have it."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def descendants(pid):
    """Process ids of children and theirs, by one look at the process table."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(str(value), ensure_ascii=False)


def run(*words, code=0, **more):
    """The executable as somebody types it, with nothing of this process's environment; it has to end with that code."""
    more = {"timeout": 60, "env": {"PATH": os.environ["PATH"]}, **more}
    ran = subprocess.run([str(BINARY), *map(str, words)], capture_output=True, text=True, **more)
    assert ran.returncode == code, (words, ran)
    return ran


class Gateway:
    """A gateway of its own. `upstreams` and `tools` are tables of the configuration; `sections` adds to the other tables."""

    def __init__(self, upstreams=None, tools=(), sections=None, wasm_cache=None):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="gw-"))
        self.port = free_port()
        self.process = None
        self.output = b""
        self.token = None
        self.control = self.home / "control.sock"
        self.tables = {
            "server": {"listen": f"127.0.0.1:{self.port}"},
            "admin": {"control_socket": self.control},
            "storage": {"directory": self.home / "lib"},
            "log": {"directory": self.home / "log"},
            "wasm": {"cache": wasm_cache or self.home / "wasm-cache"},
        }
        for name, table in (sections or {}).items():
            self.tables.setdefault(name, {}).update(table)
        for name in tools:
            self.tables[f"tools.{name}"] = {"module": MODULES / f"{name}.wasm"}
        for name, table in (upstreams or {}).items():
            self.tables[f"upstreams.{name}"] = table

    @property
    def configuration(self):
        return self.home / "gateway.toml"

    @property
    def database(self):
        return self.home / "lib/queue.db"

    def write_configuration(self):
        text = ""
        for name, table in self.tables.items():
            text += f"[{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items()) + "\n"
        self.configuration.write_text(text)

    def start(self, *, wait=True):
        self.write_configuration()
        for name in ("lib", "log"):
            (self.home / name).mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        self.log_file = open(self.home / "stdout.txt", "ab")
        self.process = subprocess.Popen(
            self.command("serve"), stdin=subprocess.DEVNULL,
            stdout=self.log_file, stderr=subprocess.STDOUT, env=environment, cwd=self.home)
        if wait:
            self.wait_until_healthy()
        return self

    def showing(self, token):
        """The same gateway, as somebody finds it who shows this token."""
        other = copy.copy(self)
        other.token = token
        return other

    def new_token(self, name, *roles, **more):
        """The secret of a new token, by the control socket; who names no roles gets the one of callers."""
        status, said = self.order("POST", "/admin/tokens", {"name": name, "roles": list(roles or ["call"]), **more}, socket=True)
        assert status == 200 and SECRET.fullmatch(said["secret"]), said
        return said["secret"]

    def caller(self, name, *roles, **more):
        """The same gateway, as somebody finds it who has a new token."""
        return self.showing(self.new_token(name, *roles, **more))

    @property
    def credentials(self):
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def stdout(self):
        return (self.home / "stdout.txt").read_text(errors="replace")

    def wait_until_healthy(self, seconds=30):
        def healthy():
            assert self.process.poll() is None, f"the gateway ended with {self.process.returncode}:\n{self.stdout()}"
            try:
                with wire.Connection(self.port, timeout=2) as connection:
                    connection.send(wire.request("GET", "/health", {}))
                    return connection.response("GET").status == 200
            except OSError:
                return False

        eventually(healthy, seconds, "the health of the gateway")

    def tool(self, name):
        """The tool as it is listed, or None."""
        return next((tool for tool in self.modern("tools/list")[1]["result"]["tools"] if tool["name"] == name), None)

    def wait_for_tools(self, *names, seconds=30):
        """Waits until each of these is listed, and returns the list."""
        def listed():
            tools = [tool["name"] for tool in self.modern("tools/list")[1]["result"]["tools"]]
            return tools if set(names) <= set(tools) else None

        return eventually(listed, seconds, f"the listing of {names}")

    def exchange(self, data, method="POST", timeout=15):
        with wire.Connection(self.port, timeout) as connection:
            connection.send(data)
            return connection.response(method)

    def get(self, path, headers=None, method="GET"):
        return self.exchange(wire.request(method, path, {**self.credentials, **(headers or {})}), method)

    def modern_response(self, method, params=None, id=1, timeout=15):
        name = (params or {}).get(wire.NAMED_BY.get(method, "name"))
        headers = {**wire.modern_headers(method, name), **self.credentials}
        return self.exchange(wire.request("POST", "/mcp", headers, wire.modern_body(method, params, id)), timeout=timeout)

    def modern(self, method, params=None, id=1, timeout=15):
        response = self.modern_response(method, params, id, timeout)
        return response.status, response.json

    def call(self, tool, arguments=None, id=1, timeout=15):
        """The answer of a tool, called in the modern era: `(text, isError)`. Refused for load counts as an error."""
        status, message = self.modern("tools/call", {"name": tool, "arguments": arguments or {}}, id, timeout)
        if status in (429, 503) and "error" in message:
            return message["error"]["message"], True
        assert "result" in message, (status, message)
        return wire.text_of(message), message["result"].get("isError", False)

    def legacy(self, version="2025-11-25"):
        return LegacySession(self, version)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, and nothing else."""
        self.process.kill()
        self.process.wait(10)
        self.log_file.close()

    def terminate(self, seconds=20):
        self.signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        self.log_file.close()
        return code

    def restart(self):
        """kill -9 and a new start on the same storage and port."""
        self.kill()
        return self.start()

    def order(self, method, path, body=None, *, socket=False, timeout=30):
        """An admin route at the local door, or through the control socket: its status and what it says."""
        data = b"" if body is None else json.dumps(body).encode()
        with wire.Connection(str(self.control) if socket else self.port, timeout) as connection:
            connection.send(wire.request(method, path, self.credentials, data, "localhost"))
            response = connection.response(method)
        return response.status, response.json

    def command(self, *words):
        """What starts a verb with this gateway's file."""
        return [str(BINARY), *words, "--config", str(self.configuration)]

    def verb(self, *words, code=0, **more):
        """A verb of the command line, typed by somebody who stands in this gateway's folder."""
        return run(*words, "--config", self.configuration, code=code, cwd=self.home, **more)

    def reload(self, status=200, *, socket=False):
        """Writes the tables down, orders a reload, and returns what it says."""
        self.write_configuration()
        got, said = self.order("POST", "/admin/reload", socket=socket)
        assert got == status, (got, said)
        return said

    def hang_up(self):
        """Writes the tables down, sends HUP, and waits until the log says what came of it."""
        outcomes = lambda: self.stdout().count("configuration read again") + self.stdout().count("configuration was refused")
        before = outcomes()
        self.write_configuration()
        self.signal(signal.SIGHUP)
        eventually(lambda: outcomes() > before, 20, "the reload")

    def sql(self, query):
        """What the operator's `sqlite3` prints, while the gateway runs."""
        ran = subprocess.run(["sqlite3", str(self.database), query], capture_output=True, text=True, timeout=20)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def metrics(self):
        """What it measures, as {name: [(labels, value)]}."""
        response = self.get("/metrics")
        assert response.status == 200, response
        return exposition.parse(response.body.decode())[0]

    def metric(self, name, **labels):
        """The sum of all series of a metric that carry these labels."""
        return sum(value for have, value in self.metrics().get(name, []) if labels.items() <= have.items())

    def security_lines(self):
        return (self.home / "log/security.log").read_text().splitlines()

    def announces_its_end(self):
        """Whether nobody should send it anything any more."""
        try:
            return self.get("/health").status == 503
        except OSError:
            return True

    def health(self):
        return self.get("/health").json

    def component(self, name):
        return next((one for one in self.health().get("components", []) if one["name"] == name), None)

    def close(self):
        """Ends the process in any case and removes its files; a failed test's output is shown by the caller."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process:
            self.log_file.close()
        shutil.rmtree(self.home, ignore_errors=True)


class LegacySession:
    """A session of a client that shakes hands."""

    def __init__(self, gateway, version):
        self.gateway, self.version = gateway, version
        response = gateway.exchange(wire.request("POST", "/mcp", {**wire.LEGACY_HEADERS, **gateway.credentials}, wire.initialize_body(version)))
        assert response.status == 200, response
        self.opened = response.json["result"]
        self.version = self.opened["protocolVersion"]
        self.id = response.header("Mcp-Session-Id")
        assert self.post(wire.legacy_body("notifications/initialized", id=None)).status == 202

    @property
    def headers(self):
        headers = {**wire.LEGACY_HEADERS, **self.gateway.credentials, "Mcp-Session-Id": self.id}
        if self.version >= "2025-06-18":
            headers["MCP-Protocol-Version"] = self.version
        return headers

    def post(self, body):
        return self.gateway.exchange(wire.request("POST", "/mcp", self.headers, body))

    def request(self, method, params=None, id=1):
        response = self.post(wire.legacy_body(method, params, id))
        assert response.status == 200, response
        return response.json

    def call(self, tool, arguments=None, id=1):
        message = self.request("tools/call", {"name": tool, "arguments": arguments or {}}, id)
        assert "result" in message, message
        return wire.text_of(message), message["result"].get("isError", False)

    def delete(self):
        return self.gateway.exchange(wire.request("DELETE", "/mcp", self.headers), "DELETE")


class ServerProcess:
    """An upstream in a process of its own, reachable by TCP."""

    def __init__(self, command, port):
        self.command, self.port, self.process = command, port, None

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        eventually(lambda: answers_tcp(self.port), 20, "the start of the upstream")
        return self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/mcp"

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def http_server(kind, *more):
    port = free_port()
    return ServerProcess([PYTHON[kind], str(SERVERS / f"{kind}_server.py"), "http", str(port), *map(str, more)], port)


def scripted_server(port=None):
    port = port or free_port()
    return ServerProcess([sys.executable, str(SERVERS / "scripted.py"), str(port)], port)
