# Licensed under the Apache License 2.0; see LICENSE.
"""The shipped nginx configuration on a free port, before gateways with loopback addresses of their own, as containers
have them."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading

import gateway as house
import wire

DEPLOY = house.ROOT / "deploy"
NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")


def replaced(text, *pairs):
    """Each of these is there, or the shipped file is not what this test believes."""
    for old, new in pairs:
        assert old in text, f"{old!r} is not in the shipped file any more"
        text = text.replace(old, str(new))
    return text


class Replica(house.Gateway):
    """A gateway on a loopback address that it shares with nobody; the port may be that of the others."""

    def __init__(self, address, port, upstreams=None, sections=None):
        super().__init__(upstreams, (), sections)
        self.place, self.port = f"{address}:{port}", port
        self.tables["server"]["listen"] = self.place

    def wait_until_healthy(self, seconds=30):
        def healthy():
            assert self.process.poll() is None, f"the gateway ended with {self.process.returncode}:\n{self.stdout()}"
            try:
                return self.order("GET", "/health", socket=True)[0] == 200
            except OSError:
                return False

        house.eventually(healthy, seconds, "the health of the gateway")

    def knows(self, *upstreams):
        """Waits until it has heard of the tools of these."""
        for name in upstreams:
            wanted = (f"upstream:{name}", "healthy")
            components = lambda: self.order("GET", "/health", socket=True)[1]["components"]
            house.eventually(
                lambda: wanted in [(one["name"], one["status"]) for one in components()], 20, f"the upstream {name}")
        return self


class Connection(wire.Connection):
    """From a client's own address."""

    def __init__(self, port, client, timeout=15):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.bind((client, 0))
        self.socket.connect(("127.0.0.1", port))
        self.pending = b""


class Front:
    """nginx with the files of deploy/nginx; `replicas` are addresses with a port, as upstream.conf has them."""

    def __init__(self, replicas=()):
        assert NGINX, "these tests start nginx: apt-get install nginx-light"
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="gwn-"))
        self.port = house.free_port()
        self.process, self.asked, self.counting = None, 0, threading.Lock()
        shutil.copytree(DEPLOY / "nginx/mcp-gateway", self.home / "mcp-gateway")
        text = (DEPLOY / "nginx/container/nginx.conf").read_text()
        # A worker of root would otherwise be another user, who may not enter this folder.
        user = "user root;\n" if os.geteuid() == 0 else ""
        self.conf.write_text(user + replaced(
            text, ("listen 8080;", f"listen 127.0.0.1:{self.port};"), (" /tmp/", f" {self.home}/"),
            ("/dev/stdout", self.home / "access.log")))
        self.upstream = self.home / "mcp-gateway/upstream.conf"
        self.list(replicas)

    @property
    def conf(self):
        return self.home / "nginx.conf"

    def list(self, replicas, out=()):
        """Writes the list of gateways down as an operator does: the shipped lines, with these addresses."""
        shipped = (DEPLOY / "nginx/mcp-gateway/upstream.conf").read_text()
        line = next(line for line in shipped.splitlines() if line.startswith("server "))
        lines = [re.sub(r"^server \S+", f"server {place}", line) for place in replicas]
        self.upstream.write_text("".join(
            (line.replace(";", " down;") if place in out else line) + "\n" for line, place in zip(lines, replicas)))

    def start(self):
        self.said = open(self.home / "nginx.txt", "ab")
        self.process = subprocess.Popen(
            [NGINX, "-c", str(self.conf), "-g", "daemon off;"], stdin=subprocess.DEVNULL, stdout=self.said,
            stderr=self.said)
        house.eventually(lambda: self.answers(), 10, "nginx")
        return self

    def answers(self):
        assert self.process.poll() is None, (self.home / "nginx.txt").read_text()
        return house.answers_tcp(self.port)

    def reload(self):
        """`nginx -s reload`, and waits until the workers with the old list take nothing new; they still finish."""
        old = [pathlib.Path(f"/proc/{pid}/cmdline") for pid in house.descendants(self.process.pid)]
        subprocess.run([NGINX, "-c", str(self.conf), "-s", "reload"], check=True, capture_output=True, timeout=10)

        def leaves(worker):
            try:
                return "shutting down" in worker.read_text() or not worker.read_text()
            except OSError:
                return True

        house.eventually(lambda: all(leaves(worker) for worker in old), 10, "the end of the old workers")

    def exchange(self, data, client="127.0.0.1", method="POST", timeout=15):
        with Connection(self.port, client, timeout) as connection:
            connection.send(data)
            response = connection.response(method)
        with self.counting:
            self.asked += 1
        return response

    def call(self, tool, arguments=None, client="127.0.0.1", headers=None, timeout=15):
        """A call of the modern era from this address: the whole response."""
        head = {**wire.modern_headers("tools/call", tool), **(headers or {})}
        body = wire.modern_body("tools/call", {"name": tool, "arguments": arguments or {}})
        return self.exchange(wire.request("POST", "/mcp", head, body), client, timeout=timeout)

    def served(self):
        """Who was answered by which gateway so far: pairs of address and `upstream`, in the order of the access log.

        A line is written when its answer has left, so it may come after the answer.
        """
        lines = lambda: re.findall(
            r'^(\S+) \S+ ".*" \d+ \d+ \S+ upstream=(.*) request_id=', (self.home / "access.log").read_text(), re.M)
        house.eventually(lambda: len(lines()) >= self.asked, 10, "the lines of the access log")
        return lines()

    def owners(self, since=0):
        """Of each client the gateways that answered it."""
        owners = {}
        for client, upstream in self.served()[since:]:
            owners.setdefault(client, set()).add(upstream)
        return owners

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process:
            self.said.close()
        shutil.rmtree(self.home, ignore_errors=True)
