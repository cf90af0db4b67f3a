# Licensed under the Apache License 2.0; see LICENSE.
"""Measures stored calls: how many are accepted a second over HTTP beside what raw SQLite commits one by one on the same disk, how long
that takes, how fast they go out again, and what request rows cost. Usage: queue.py [--rounds 3] [--seconds 4]. Prints a table."""

import argparse
import json
import os
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

import bench

CLIENTS = 64
BOOK = bench.ROOT / "Tests/interop/servers/counting.py"


def raw_commits(place, seconds):
    """Durable rows a second, one a commit, one thread; and the median of one commit in milliseconds."""
    path = place / "raw.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, status TEXT, payload BLOB, created_at TEXT)")
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        database.execute("INSERT INTO items (status, payload, created_at) VALUES ('queued', ?, '2026-01-01 00:00:00.000')", (b"x" * 256,))
        times.append((time.perf_counter() - begun) * 1000)
    database.close()
    for name in (path, f"{path}-wal", f"{path}-shm"):
        pathlib.Path(name).unlink(missing_ok=True)
    return len(times) / sum(times) * 1000, statistics.median(times)


def sync_milliseconds(place):
    """The median of one write with its sync."""
    descriptor = os.open(place / "sync", os.O_WRONLY | os.O_CREAT)
    times = []
    for _ in range(500):
        os.write(descriptor, b"x" * 4096)
        begun = time.perf_counter()
        os.fdatasync(descriptor)
        times.append((time.perf_counter() - begun) * 1000)
    os.close(descriptor)
    return statistics.median(times)


class Gateway:
    def __init__(self, processes, place, upstream, tools, rows=500):
        self.home, self.port = place, bench.free_port()
        table = "".join(f'tools."{name}" = {{ {words} }}\n' for name, words in tools.items())
        (place / "gateway.toml").write_text(
            f'[server]\nlisten = "127.0.0.1:{self.port}"\n[admin]\ncontrol_socket = "{place}/control.sock"\n'
            f'[storage]\ndirectory = "{place}/lib"\nmax_queue_items = 1000000\nmax_queue_bytes = "8GiB"\n'
            f'[log]\ndirectory = "{place}/log"\nrequest_rows = {rows}\n'
            f'[upstreams.up]\nurl = "http://127.0.0.1:{upstream}/mcp"\n{table}')
        self.process = processes.start(
            [bench.ROOT / ".build/release/mcp-gateway", "serve", "--config", place / "gateway.toml"], "gateway")
        bench.wait_for_port(self.port, self.process)

    def sql(self, query):
        return subprocess.run(["sqlite3", self.home / "lib/queue.db", query], capture_output=True, text=True).stdout.strip()


def load(port, tool, body, seconds, clients=CLIENTS):
    path = pathlib.Path(tempfile.gettempdir()) / f"body-{os.getpid()}"
    path.write_bytes(body)
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-s", bench.HERE / "request.lua", f"http://127.0.0.1:{port}/mcp",
         "--", path, tool], capture_output=True, text=True, check=True)
    path.unlink()
    found = json.loads([line for line in ran.stdout.splitlines() if line.startswith("{")][-1])
    if found["socket_errors"] or found["status_errors"]:
        bench.give_up(f"errors under load: {found}")
    return found


def counted(arguments):
    params = {"name": "up__dispense", "arguments": arguments, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).encode()


def accepting(processes, place, seconds):
    """Seen once and then away: from then on everything is stored."""
    port = bench.free_port()
    command = [sys.executable, BOOK, str(port), place / "book"]
    server = processes.start(command, "counting")
    bench.wait_for_port(port, server)
    gateway = Gateway(processes, place, port, {"dispense": 'offline = "queue"'})
    body = counted({"n": "x" * 200})
    end = time.monotonic() + 20
    while b"result" not in bench.exchange(gateway.port, bench.request_of("up__dispense", body))[1]:
        if time.monotonic() > end:
            bench.give_up("the tool never came")
    processes.stop(server)
    while b"NOT DONE YET" not in bench.exchange(gateway.port, bench.request_of("up__dispense", body))[1]:
        pass
    one_sync = sync_milliseconds(place)
    before, _ = raw_commits(place, seconds / 2)
    found = load(gateway.port, "up__dispense", body, seconds)
    after, _ = raw_commits(place, seconds / 2)
    paced = at_rate(place, gateway.port, bench.request_of("up__dispense", body), 1_000, seconds)
    stored = int(gateway.sql("SELECT count(*) FROM queue_items"))
    if stored < found["requests"] + paced["answered"]:
        bench.give_up(f"{found['requests']} were acknowledged and {stored} are there")
    rate = found["requests"] / (found["microseconds"] / 1e6)
    memory = bench.resident_mib(gateway.process.pid)
    server = processes.start(command, "counting")
    bench.wait_for_port(port, server)
    left = lambda: int(gateway.sql("SELECT count(*) FROM queue_items WHERE status IN ('queued', 'in_flight')"))
    while left() == stored:  # until the gateway has noticed, some seconds at most
        time.sleep(0.02)
    begun, waiting = time.monotonic(), left()
    time.sleep(seconds)
    drained = (waiting - left()) / (time.monotonic() - begun)
    processes.stop(gateway.process)
    processes.stop(server)
    return {"paced50": paced["p50"] / 1000, "paced99": paced["p99"] / 1000, "rate": rate, "raw": (before + after) / 2, "p50": found["p50"] / 1000, "p99": found["p99"] / 1000, "sync": one_sync,
            "drained": drained, "memory": memory, "stored": stored}


def at_rate(place, port, request, rate, seconds):
    """The same in an open loop, far from what it can take."""
    if not (place / "pace").exists():
        subprocess.run(["cc", "-O2", "-o", place / "pace", bench.HERE / "pace.c"], check=True)
    (place / "request").write_bytes(request)
    ran = subprocess.run(
        [place / "pace", str(port), place / "request", str(CLIENTS), str(rate), str(seconds)], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def rows(processes, place, seconds):
    """Calls a second with the usual rows, and with next to none, in turns."""
    port = bench.free_port()
    upstream = processes.start([place / "upstream", str(port)], "upstream")
    bench.wait_for_port(port, upstream)
    rates = {}
    for name, count in (("usual", 500), ("none", 1)):
        home = place / name
        home.mkdir()
        rates[name] = Gateway(processes, home, port, {}, rows=count)
    found = {"usual": [], "none": []}
    for turn in range(6):
        for name in (("usual", "none") if turn % 2 else ("none", "usual")):
            body = bench.body_of("up__echo", bench.SMALL)
            one = load(rates[name].port, "up__echo", body, seconds, clients=16)
            found[name].append(one["requests"] / (one["microseconds"] / 1e6))
    return 1 - statistics.median(found["usual"]) / statistics.median(found["none"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    place = pathlib.Path(tempfile.mkdtemp(prefix="bench-queue-"))
    processes = bench.Processes(place)
    try:
        rounds = []
        for number in range(options.rounds):
            home = place / f"round{number}"
            home.mkdir()
            rounds.append(accepting(processes, home, options.seconds))
            bench.say(f"round {number + 1}: {rounds[-1]}")
        subprocess.run(["cc", "-O2", "-o", place / "upstream", bench.HERE / "upstream.c"], check=True)
        cost = rows(processes, place, options.seconds)
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        print("| What | Measured |\n|---|---|")
        print(f"| stored calls accepted over HTTP, {CLIENTS} clients | {middle['rate']:,.0f} a second, "
              f"{middle['rate'] / middle['raw']:.2f} × raw SQLite ({middle['raw']:,.0f} commits a second) |")
        print(f"| time to accept one | p50 {middle['p50']:.2f} ms, p99 {middle['p99']:.2f} ms; one sync {middle['sync']:.3f} ms |")
        print(f"| the same at 1,000 calls a second | p50 {middle['paced50']:.2f} ms, p99 {middle['paced99']:.2f} ms |")
        print(f"| sent again, one caller, a server that syncs each call | {middle['drained']:.0f} a second |")
        print(f"| resident with {middle['stored']:,.0f} calls stored | {middle['memory']:.0f} MiB |")
        print(f"| request rows, at full load | {cost * 100:.1f} % of the calls a second |")
    finally:
        processes.stop_all()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
