# Licensed under the Apache License 2.0; see LICENSE.
"""Measures mcp-gateway beside nginx, both in front of the same tiny upstream, in interleaved rounds."""

import argparse
import datetime
import getpass
import json
import os
import pathlib
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
MODULES = ROOT / "examples/tools/build"
PAGE = ROOT / "docs/PERFORMANCE.md"
SMALL, LARGE = 256, 256 * 1024
TICK = os.sysconf("SC_CLK_TCK")


def say(text):
    print(text, file=sys.stderr, flush=True)


def give_up(text):
    say(f"bench: {text}")
    sys.exit(1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if process.poll() is not None:
            give_up(f"{process.args[0]} ended with {process.returncode}")
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.005)
    give_up(f"{process.args[0]} did not open port {port}")


def body_of(tool, text_bytes, id=7):
    """A modern tools/call; the argument fills the body up to the wanted size."""
    params = {"name": tool, "arguments": {"text": ""}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}
    message = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
    compact = {"separators": (",", ":")}
    params["arguments"]["text"] = "x" * max(1, text_bytes - len(json.dumps(message, **compact)))
    return json.dumps(message, **compact).encode()


def request_of(tool, body):
    return (
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
        f"Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


def exchange(port, request, timeout=20):
    """One request on a connection of its own: status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                raise ConnectionError("closed before an answer")
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
        while len(body) < length:
            more = connection.recv(1 << 20)
            if not more:
                raise ConnectionError("closed within an answer")
            body += more
        return int(head.split(b" ")[1]), body


class Processes:
    """What runs during the measurement; all of it ends with it."""

    def __init__(self, place):
        self.place, self.running = place, []

    def start(self, command, name):
        log = open(self.place / f"{name}.log", "ab")
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def stop(self, process):
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.running.remove(process)

    def stop_all(self):
        for process in list(reversed(self.running)):
            self.stop(process)


def tree(pid):
    """A process and its descendants."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid] + [one for child in children for one in tree(int(child))]


def cpu_seconds(pid):
    total = 0
    for one in tree(pid):
        fields = pathlib.Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def resident_mib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


class Bench:
    def __init__(self, options):
        self.options = options
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="mcp-bench-"))
        self.processes = Processes(self.place)
        self.raw = {"rounds": {}, "single": {}}

    def prepare(self):
        for name, source in (("upstream", "upstream.c"), ("pace", "pace.c")):
            subprocess.run([self.options.cc, "-O2", "-o", self.place / name, HERE / source], check=True)
        self.upstream_port, self.nginx_port, self.gateway_port = free_port(), free_port(), free_port()
        upstream = self.processes.start([self.place / "upstream", self.upstream_port], "upstream")
        wait_for_port(self.upstream_port, upstream)
        text = (HERE / "nginx.conf").read_text()
        for word, value in (("PLACE", self.place), ("USER", getpass.getuser()), ("LISTEN", self.nginx_port),
                            ("UPSTREAM", self.upstream_port)):
            text = re.sub(rf"\b{word}\b", str(value), text)
        (self.place / "nginx.conf").write_text(text)
        self.nginx = self.processes.start([self.options.nginx, "-c", self.place / "nginx.conf"], "nginx")
        wait_for_port(self.nginx_port, self.nginx)
        self.write_gateway_configuration()
        self.start_gateway()

    def write_gateway_configuration(self):
        (self.place / "gateway.toml").write_text(f"""
[server]
listen = "127.0.0.1:{self.gateway_port}"
max_body = "8MiB"
[admin]
control_socket = "{self.place}/control.sock"
[storage]
directory = "{self.place}/lib"
[log]
directory = "{self.place}/log"
[upstreams.up]
url = "http://127.0.0.1:{self.upstream_port}/mcp"
[tools.text]
module = "{MODULES}/text.wasm"
[tools.units]
module = "{MODULES}/units.wasm"
""")
        for name in ("lib", "log"):
            (self.place / name).mkdir(exist_ok=True)

    def start_gateway(self, tool="up__echo"):
        """Starts the gateway and returns the seconds until a call of `tool` was answered rightly."""
        begin = time.monotonic()
        self.gateway = self.processes.start([self.options.binary, "serve", "--config", self.place / "gateway.toml"], "gateway")
        self.wait_for_answer(tool)
        return time.monotonic() - begin

    def wait_for_answer(self, tool):
        request = request_of(tool, body_of(tool, SMALL))
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.gateway.poll() is not None:
                give_up("the gateway ended:\n" + (self.place / "gateway.log").read_text()[-2000:])
            try:
                status, body = exchange(self.gateway_port, request)
                if status == 200 and b'"text":"xxx' in body:
                    return
            except OSError:
                pass
            time.sleep(0.0005)
        give_up(f"{tool} was not answered within 60 s")

    def check(self, port, tool, size):
        """The body of an answer, which must hold the whole argument."""
        body = body_of(tool, size)
        status, answer = exchange(port, request_of(tool, body))
        sent = json.loads(body)["params"]["arguments"]["text"]
        result = json.loads(answer)["result"]
        if status != 200 or result.get("isError") or result["content"][0]["text"] != sent:
            give_up(f"a wrong answer of {tool} at port {port}: {status} {answer[:300]}")
        return answer

    def wrk(self, port, tool, size, connections, pid=None):
        answer = self.check(port, tool, size)
        file = self.place / f"{tool}-{size}.json"
        file.write_bytes(body_of(tool, size))
        before = cpu_seconds(pid) if pid else 0
        ran = subprocess.run(
            [self.options.wrk, "-t1", f"-c{connections}", f"-d{self.options.seconds}s", "-s", str(HERE / "request.lua"),
             f"http://127.0.0.1:{port}/mcp", "--", str(file), tool], capture_output=True, text=True)
        used = cpu_seconds(pid) - before if pid else 0
        lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
        if not lines:
            give_up(f"wrk said: {ran.stdout} {ran.stderr}")
        found = json.loads(lines[-1])
        if found["socket_errors"] or found["status_errors"] or not found["requests"]:
            give_up(f"errors under load at {tool}: {found}")
        if found["bytes"] / found["requests"] < len(answer):
            give_up(f"short answers under load at {tool}: {found}")
        found["rate"] = found["requests"] / found["microseconds"] * 1e6
        found["cpu_us"] = used / found["requests"] * 1e6
        return found

    def pace(self, port, tool, connections, rate, pid=None):
        self.check(port, tool, SMALL)
        file = self.place / f"{tool}.request"
        file.write_bytes(request_of(tool, body_of(tool, SMALL)))
        ran = subprocess.run(
            [self.place / "pace", str(port), str(file), str(connections), str(rate), str(self.options.seconds)],
            capture_output=True, text=True)
        if ran.returncode:
            give_up(f"pace said: {ran.stderr}")
        found = json.loads(ran.stdout)
        if found["failed"] or found["missing"]:
            give_up(f"failures under a paced load of {tool}: {found}")
        return found

    def rounds(self):
        """Each round runs every case of every contender once; so a slow minute of the machine hits all of them alike."""
        direct, nginx, gateway = self.upstream_port, self.nginx_port, self.gateway_port
        daemon, proxy = self.gateway.pid, self.nginx.pid
        cases = {
            "throughput": [
                ("direct", lambda: self.wrk(direct, "echo", SMALL, 16)),
                ("nginx", lambda: self.wrk(nginx, "echo", SMALL, 16, proxy)),
                ("gateway", lambda: self.wrk(gateway, "up__echo", SMALL, 16, daemon)),
                ("wasm", lambda: self.wrk(gateway, "text__echo", SMALL, 16, daemon)),
            ],
            "large": [
                ("nginx", lambda: self.wrk(nginx, "echo", LARGE, 16, proxy)),
                ("gateway", lambda: self.wrk(gateway, "up__echo", LARGE, 16, daemon)),
                ("wasm", lambda: self.wrk(gateway, "text__echo", LARGE, 16, daemon)),
            ],
            "one": [
                ("direct", lambda: self.pace(direct, "echo", 1, 0)),
                ("nginx", lambda: self.pace(nginx, "echo", 1, 0)),
                ("gateway", lambda: self.pace(gateway, "up__echo", 1, 0)),
                ("wasm", lambda: self.pace(gateway, "text__echo", 1, 0)),
            ],
            "paced": [
                ("direct", lambda: self.pace(direct, "echo", 16, 1000)),
                ("nginx", lambda: self.pace(nginx, "echo", 16, 1000)),
                ("gateway", lambda: self.pace(gateway, "up__echo", 16, 1000)),
                ("wasm", lambda: self.pace(gateway, "text__echo", 16, 1000)),
            ],
        }
        for number in range(self.options.rounds):
            for case, contenders in cases.items():
                # The order turns with each round, so that nobody always runs behind the same one.
                turn = number % len(contenders)
                for name, measure in contenders[turn:] + contenders[:turn]:
                    found = measure()
                    self.raw["rounds"].setdefault(case, {}).setdefault(name, []).append(found)
                    say(f"round {number + 1}/{self.options.rounds} {case:10} {name:8} {brief(found)}")

    def singles(self):
        """Memory, start and size."""
        say("start and memory")
        single = self.raw["single"]
        single["rss_after_load_mib"] = resident_mib(self.gateway.pid)
        self.processes.stop(self.gateway)
        starts, idle = [], []
        for _ in range(self.options.starts):
            starts.append(self.start_gateway("text__echo") * 1000)
            self.wait_for_answer("up__echo")
            idle.append(resident_mib(self.gateway.pid))
            self.processes.stop(self.gateway)
        single["start_ms"], single["rss_idle_mib"] = starts, idle
        stripped = self.place / "stripped"
        shutil.copy(self.options.binary, stripped)
        subprocess.run(["strip", stripped], check=True)
        single["stripped_mb"] = stripped.stat().st_size / 1e6

    def median(self, case, name, what):
        return statistics.median(found[what] for found in self.raw["rounds"][case][name])

    def ratio(self, case, name, other, what="rate"):
        """The median of the ratios of each round, not the ratio of medians: both sides of one come from the same minute."""
        rounds = self.raw["rounds"][case]
        return statistics.median(a[what] / b[what] for a, b in zip(rounds[name], rounds[other]))

    def added(self, name):
        rounds = self.raw["rounds"]["one"]
        return statistics.median((a["p50"] - b["p50"]) / 1000 for a, b in zip(rounds[name], rounds["direct"]))

    def table(self):
        single = self.raw["single"]
        start, idle = statistics.median(single["start_ms"]), statistics.median(single["rss_idle_mib"])
        p99, size = self.median("paced", "gateway", "p99") / 1000, single["stripped_mb"]
        targets = [
            ("pass-through to an HTTP upstream, 256 bytes, 16 connections", "≥ 0.5 × nginx",
             self.ratio("throughput", "gateway", "nginx"), "× nginx", lambda value: value >= 0.5),
            ("added p50, one connection", "≤ 0.15 ms", self.added("gateway"), "ms", lambda value: value <= 0.15),
            ("p99 at 1,000 calls/s, 16 connections", "≤ 1 ms", p99, "ms", lambda value: value <= 1),
            ("WASM echo, 256 bytes, 16 connections", "≥ 1.0 × nginx",
             self.ratio("throughput", "wasm", "nginx"), "× nginx", lambda value: value >= 1),
            ("pass-through, 256 KiB, 16 connections", "≥ 0.5 × nginx",
             self.ratio("large", "gateway", "nginx"), "× nginx", lambda value: value >= 0.5),
            ("resident when idle, engine and two tools loaded", "≤ 30 MiB", idle, "MiB", lambda value: value <= 30),
            ("start to first answered WASM call, compiled tools cached", "≤ 100 ms", start, "ms", lambda value: value <= 100),
            ("binary, stripped", "≤ 25 MB", size, "MB", lambda value: value <= 25),
        ]
        lines = ["| What | Target | Measured | |", "|---|---|---|---|"]
        for what, target, value, unit, good in targets:
            lines.append(f"| {what} | {target} | {value:.2f} {unit} | {'met' if good(value) else '**missed**'} |")
        lines += ["", "| Contender | calls/s, 256 B | CPU µs a call | calls/s, 256 KiB | p50, 1 connection | p50 at 1,000/s "
                  "| p99 at 1,000/s | p99.9 at 1,000/s |", "|---|---|---|---|---|---|---|---|"]
        names = {"direct": "upstream alone", "nginx": "nginx `proxy_pass`", "gateway": "gateway, pass-through",
                 "wasm": "gateway, WASM echo"}
        for name, label in names.items():
            large = f"{self.median('large', name, 'rate'):,.0f}" if name in self.raw["rounds"]["large"] else "–"
            cpu = f"{self.median('throughput', name, 'cpu_us'):.1f}" if name != "direct" else "–"
            times = [self.median("one", name, "p50")] + [self.median("paced", name, part) for part in ("p50", "p99", "p999")]
            cells = " | ".join(f"{value / 1000:.3f} ms" for value in times)
            lines.append(f"| {label} | {self.median('throughput', name, 'rate'):,.0f} | {cpu} | {large} | {cells} |")
        lines += ["", f"Resident after the load: {single['rss_after_load_mib']:.1f} MiB. nginx adds "
                  f"{self.added('nginx'):.3f} ms at one connection, the gateway {self.added('gateway'):.3f} ms; "
                  f"a WASM echo over HTTP takes {self.median('one', 'wasm', 'p50') / 1000:.3f} ms there."]
        return "\n".join(lines)


def brief(found):
    return f"{found['rate']:,.0f}/s p50 {found['p50']:.0f} µs p99 {found['p99']:.0f} µs"


def machine(options):
    """Where and when it was measured."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / (1 << 20)
    nginx = subprocess.run([options.nginx, "-v"], capture_output=True, text=True).stderr.strip().split("/")[-1]
    wrk = subprocess.run([options.wrk, "-v"], capture_output=True, text=True)
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": cpu[1] if cpu else platform.processor(), "cores": os.cpu_count(), "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}", "nginx": nginx,
        "wrk": (re.search(r"wrk (\S+)", wrk.stdout + wrk.stderr) or ["", "unknown"])[1],
        "commit": commit.stdout.strip() or "unknown", "load_before": os.getloadavg()[0],
        "rounds": options.rounds, "seconds": options.seconds,
    }


def write_page(facts, table):
    begin, end = "<!-- begin: written by Benchmarks/run -->", "<!-- end -->"
    text = PAGE.read_text()
    if begin not in text or end not in text:
        give_up(f"{PAGE} lacks the marks between which the table goes")
    about = (
        f"Measured {facts['date']} at commit `{facts['commit']}` on {facts['cores']} cores of {facts['processor']}, "
        f"{facts['memory_gib']} GiB, {facts['system']}, nginx {facts['nginx']}, wrk {facts['wrk']}; "
        f"{facts['rounds']} rounds of {facts['seconds']} s for each case, medians; load before the start "
        f"{facts['load_before']:.2f}.")
    head, rest = text.split(begin, 1)
    PAGE.write_text(f"{head}{begin}\n{about}\n\n{table}\n{end}{rest.split(end, 1)[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each case in each round")
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="two short rounds, and docs/PERFORMANCE.md is left alone")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / ".build/release/mcp-gateway")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / ".build/bench.json", help="where the raw numbers go")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.starts = 2, 1, 3
    options.wrk, options.cc = shutil.which("wrk"), shutil.which("cc") or shutil.which("clang")
    options.nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    for name in ("wrk", "nginx", "cc"):
        if not getattr(options, name):
            give_up(f"{name} is missing; on Debian: apt-get install wrk nginx-light gcc")
    if not options.binary.exists():
        give_up("there is no release build; make it with: make build")
    if not (MODULES / "text.wasm").exists():
        give_up("the example tools are not built; make them with: scripts/build-tools")
    facts = machine(options)
    bench = Bench(options)
    try:
        bench.prepare()
        bench.rounds()
        bench.singles()
    finally:
        bench.processes.stop_all()
        shutil.rmtree(bench.place, ignore_errors=True)
    table = bench.table()
    print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"machine": facts, **bench.raw}, indent=1))
    say(f"raw numbers: {options.json}")
    if not options.quick:
        write_page(facts, table)
        say(f"written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
