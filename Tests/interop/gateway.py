# Licensed under the Apache License 2.0; see LICENSE.
"""The built executable as a black box: a generated configuration, a free port, its own directories, and its end."""

import contextlib
import copy
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("MCP_GATEWAY_BINARY", ROOT / ".build/debug/mcp-gateway")).resolve()
MODULES = ROOT / "examples/tools/build"
SERVERS = pathlib.Path(__file__).resolve().parent / "servers"
sys.path.insert(0, str(SERVERS))
PYTHON = {name: str(ROOT / f".venv/{name}/bin/python") for name in ("mcp1", "mcp2", "fastmcp", "openapi")}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(condition, seconds=10, what="the condition"):
    """Asks until the answer is true, and returns it; fails after the deadline. The only way in which these tests wait."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


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
            [str(BINARY), "serve", "--config", str(self.configuration)], stdin=subprocess.DEVNULL,
            stdout=self.log_file, stderr=subprocess.STDOUT, env=environment, cwd=self.home)
        if wait:
            self.wait_until_healthy()
        return self

    def showing(self, token):
        """The same gateway, as somebody finds it who shows this token."""
        other = copy.copy(self)
        other.token = token
        return other

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


class Client:
    """A client of one SDK generation in a process of its own; clients/driver.py tells what it can be ordered to do.

    `place` is an address, or a command as a list. `options` are the driver's: what it is able to be asked, its log level. With the
    option `token` it shows that with each request, see clients/bearer.py.
    """

    def __init__(self, kind, place, mode="auto", **options):
        driver = pathlib.Path(__file__).resolve().parent / "clients" / ("bearer.py" if "token" in options else "driver.py")
        place = json.dumps(place) if isinstance(place, list) else place
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [PYTHON[kind], str(driver), kind, place, mode, json.dumps(options)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.stderr, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        try:
            self.opened = self.answer()
            assert "connected" in self.opened, (self.opened, self.complaints())
        except AssertionError:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The end of its orders first, so that it takes along what it has started itself.
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(5)
        self.process.stdout.close()
        self.stderr.close()

    def complaints(self):
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")[-3000:]

    def read(self):
        with contextlib.suppress(ValueError):  # closed at the end of the test
            for line in self.process.stdout:
                self.lines.put(line)
        self.lines.put("")

    def answer(self, seconds=40):
        """The next answer; the driver itself gives up after half that time, unless it is stuck."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            line = None
        if not line:
            raise AssertionError(f"the client {'ended' if line == '' else 'says nothing'}: {self.complaints()}")
        return json.loads(line)

    def order(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def list(self):
        answer = self.order(do="list")
        assert "tools" in answer, (answer, self.complaints())
        return [tool["name"] for tool in answer["tools"]]

    def call(self, name, arguments=None):
        answer = self.order(do="call", name=name, arguments=arguments or {})
        assert "content" in answer, (answer, self.complaints())
        return "".join(part.get("text", "") for part in answer["content"]), answer.get("isError", False)

    def start(self, label, name, arguments=None):
        """Begins a call that runs on while other orders are given."""
        answer = self.order(**{"do": "call", "as": label, "name": name, "arguments": arguments or {}})
        assert answer == {"started": label}, (answer, self.complaints())

    def finish(self, label):
        answer = self.order(**{"do": "wait", "as": label})
        assert "content" in answer, (answer, self.complaints())
        return "".join(part.get("text", "") for part in answer["content"]), answer.get("isError", False)

    def heard(self, kind, **match):
        """What it was `asked` or `told`, or heard of `progress` or as an `event`, so far."""
        entries = [entry for entry in self.order(do="heard")["heard"] if kind in entry]
        return [entry for entry in entries if all(entry.get(name) == value for name, value in match.items())]

    def close(self):
        return self.order(do="close")


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
