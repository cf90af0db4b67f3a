# Licensed under the Apache License 2.0; see LICENSE.
"""Many clients of all kinds on ten upstreams, two of which misbehave: nobody hears what is another's, every request is answered
once, every failure is told in words, and when the clients have left nothing of them is left behind.

Usage: soak_full.py [--seconds 600] [--clients 200] [--seed N]. Runs against the debug build, or MCP_GATEWAY_BINARY. Prints a line
every ten seconds and a summary. Exit status 0 all is well, 1 something is wrong, which is said. Ends by itself.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import conformance
import gateway as house
import soak_actions
import wire
from soak_over_http import LegacyHTTP, ModernHTTP
from soak_over_lines import LegacyStdio, ModernStdio, OldSSE
from soak_watch import Fault, Ledger, Reading, Vitals, median, slope
from wire import MODERN

# Of twenty clients so many are of that kind.
KINDS = [(ModernHTTP, 10), (LegacyHTTP, 6), (OldSSE, 2), (ModernStdio, 1), (LegacyStdio, 1)]
REVISIONS = {LegacyHTTP: ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2025-11-25"],
             OldSSE: ["2024-11-05", "2024-11-05", "2025-03-26", "2025-11-25"], LegacyStdio: ["2024-11-05", "2025-06-18", "2025-11-25"]}
# What must be as it was before the clients came. Descriptors: connections to upstreams come and go with the upkeep.
SLACK = {"descriptors": 8, "threads": 3, "children": 1, "mcp_connections": 0}
# A process of an upstream that was lent to a client ends after a minute without use.
QUIET = 100


class Place:
    """Where the clients meet: the gateway, and what all of them share."""

    def __init__(self, options):
        self.options, self.ledger, self.over, self.calming = options, Ledger(), False, False
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
        self.calm, self.counts = self.folder / "calm", self.folder / "counts"
        self.servers, self.processes, self.forgotten = [], [], []
        self.gateway = house.Gateway(self.upstreams(), ["text"], {"wasm": {"library": house.ROOT / "vendor/lib/libwasmtime.so"}})
        self.port, self.configuration = self.gateway.port, self.gateway.configuration
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.gateway.home)}

    def upstreams(self):
        tables = {}
        for name, kind in {"m1": "modern", "m2": "modern", "m3": "modern", "l1": "legacy", "l2": "legacy"}.items():
            server = conformance.fixture_server(kind)
            self.servers.append(server)
            tables[name] = {"url": server.url}
        for name, kind in {"ms1": "modern", "ms2": "modern", "ls1": "legacy"}.items():
            command, *arguments = conformance.fixture_command(kind, "stdio")
            tables[name] = {"command": command, "args": arguments}
        port, seed = house.free_port(), self.options.seed
        script = [sys.executable, str(house.SERVERS / "soak_http.py"), str(port), str(seed), str(self.calm), str(self.counts)]
        self.servers.append(house.ServerProcess(script, port))
        tables["bad"] = {"url": f"http://127.0.0.1:{port}/mcp", "timeout": "5s"}
        arguments = ["-S", "-E", str(house.SERVERS / "soak_stdio.py"), str(seed), str(self.calm), str(self.counts)]
        tables["mad"] = {"command": sys.executable, "args": arguments, "timeout": "5s"}
        return tables

    def start(self):
        self.calm.touch()
        for server in self.servers:
            server.start()
        self.gateway.start()
        names = [f"{name}__about" for name in soak_actions.GOOD]
        self.gateway.wait_for_tools(*names, "bad__say", "mad__say", "text__echo", seconds=60)
        self.vitals = Vitals(self.gateway, self.ledger)

    def close(self):
        self.over = True
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.gateway.close()
        for server in self.servers:
            server.kill()

    def mischief(self):
        text = self.counts.read_text() if self.counts.exists() else ""
        return collections.Counter(text.splitlines())


def fleet(place, count):
    rng = random.Random(place.options.seed)
    kinds = [kind for kind, share in KINDS for _ in range(share)]
    # Every kind is there from twenty clients on.
    chosen = [kinds[(number * 7) % len(kinds)] for number in range(count)]
    return [kind(place, number, rng.random(), rng.choice(REVISIONS.get(kind, [MODERN]))) for number, kind in enumerate(chosen)]


def run(place, clients, seconds, pace):
    """All clients at once for so long; they come one after the other and leave together."""
    end = time.monotonic() + seconds

    def life(client, delay):
        time.sleep(delay)
        soak_actions.guard(client, lambda client, _: client.open())
        soak_actions.live(client, pace, lambda: time.monotonic() > end)
        place.ledger.count("clients at their end")
        while not place.calming and not place.over:
            time.sleep(0.05)
        soak_actions.guard(client, lambda client, _: client.leave())

    rise = min(seconds / 6, 10)
    threads = [threading.Thread(target=life, args=(client, rise * number / len(clients)), daemon=True)
               for number, client in enumerate(clients)]
    place.calming = False
    for thread in threads:
        thread.start()
    started, told = time.monotonic(), time.monotonic()
    finished = place.ledger.counts["clients at their end"] + len(clients)
    # The longest single action is several requests, each of which has its own limit.
    while place.ledger.counts["clients at their end"] < finished and time.monotonic() < end + 240:
        time.sleep(0.2)
        if place.gateway.process.poll() is not None:
            raise Fault("gateway-died", f"it ended with {place.gateway.process.returncode}")
        if time.monotonic() > told + 10:
            told = time.monotonic()
            report(place, told - started)
    place.calm.touch()
    place.calming = True
    for thread in threads:
        thread.join(max(1, end + 300 - time.monotonic()))
    stuck = [client.name for client, thread in zip(clients, threads) if thread.is_alive()]
    if stuck:
        place.ledger.fault("stuck", f"{len(stuck)} clients never came to an end: {stuck[:10]}")
    for headers in place.forgotten:
        with wire.Connection(place.port, 30) as connection:
            connection.send(wire.request("DELETE", "/mcp", headers))
            place.ledger.status(connection.response("DELETE").status)
    place.forgotten.clear()


def report(place, seconds):
    ledger, last = place.ledger, place.vitals.readings[-1]
    with ledger.lock:
        requests = sum(len(waits) for waits in ledger.waits.values())
        slow = max((max(waits[-200:]) for waits in ledger.waits.values() if waits), default=0)
        faults = sum(ledger.fault_counts.values())
    values = " ".join(f"{name.removeprefix('mcp_')}={value}" for name, value in last.values.items())
    print(f"{seconds:5.0f} s  {requests} requests, slowest lately {slow:.1f} s, {faults} faults | {last.resident:.0f} MiB {values}", flush=True)


def settled(place, before, seconds):
    """Waits until all is as before; the names of what is not."""
    end = time.monotonic() + seconds
    while True:
        last = place.vitals.readings[-1]
        more = {name: (last[name], before[name]) for name in last.values if last[name] > before[name] + SLACK.get(name, 0)}
        if not more or time.monotonic() > end:
            return more, last
        time.sleep(0.3)


def quiet(place):
    """How the gateway is when nobody is there: the most of some looks, so that its upkeep is in them."""
    since, count = time.monotonic(), 4
    house.eventually(lambda: len(place.vitals.since(since)) >= count, 60, "some looks at the gateway")
    looks = place.vitals.since(since)
    values = {name: max(each[name] for each in looks) for name in looks[0].values}
    return Reading(since, median([each.resident for each in looks]), values)


def warm_up(place):
    """What is made once stays: so the comparison begins after some clients have been there. They cannot be asked, as the sessions
    that are held for those who can would have to be waited for."""
    clients = fleet(place, 20)
    for client in clients:
        client.able = {}
    run(place, clients, place.options.warm_up, place.options.pace)
    before = quiet(place)
    print(f"after the warm-up: {before.resident:.0f} MiB {before.values}", flush=True)
    return before


def judge_memory(place, loaded):
    """Flat between the first and the last third of the time under load; the rise of the clients is left out."""
    if len(loaded) < 30:
        return "too short to tell"
    third = len(loaded) // 3
    first, last = (median([each.resident for each in part]) for part in (loaded[:third], loaded[-third:]))
    rest = loaded[third:]
    words = f"{first:.0f} MiB in the first third, {last:.0f} in the last; slope of the last two thirds {slope(rest):+.0f} MiB/h"
    if last > first * 1.25 + 16:
        place.ledger.fault("memory-grows", words)
    return words


def end(place):
    """The database is whole, the process ends at once and well, and nothing of it is left."""
    gateway, ledger = place.gateway, place.ledger
    if (answer := gateway.sql("PRAGMA integrity_check")) != "ok":
        ledger.fault("database", f"while it runs: {answer}")
    place.over = True
    place.vitals.stop()
    code = gateway.terminate(30)
    if code != 0:
        ledger.fault("exit", f"exit code {code} after TERM")
    if (answer := gateway.sql("PRAGMA integrity_check")) != "ok":
        ledger.fault("database", f"after the end: {answer}")
    try:
        house.eventually(lambda: not place.vitals.left_over(), 5, "the end of all processes")
    except AssertionError:
        left = [pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()[:100] for pid in place.vitals.left_over()]
        ledger.fault("processes-left", f"{left}")
        for pid in place.vitals.left_over():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    problems = [line for line in gateway.stdout().splitlines() if " error " in line or "Fatal" in line]
    for line in problems[:5]:
        ledger.fault("error-in-the-log", line[:400])
    for server in place.servers:
        if server.process.poll() is not None:
            ledger.fault("fixture", f"{server.command[1:]} ended with {server.process.returncode}: a fault of the test")


def table(title, rows):
    if rows:
        print(f"\n{title}")
        width = max(len(str(name)) for name, _ in rows)
        for name, value in rows:
            print(f"  {name:<{width}}  {value}")


def summary(place, before, after, memory):
    ledger = place.ledger
    table("requests: count, median, 99 of 100, longest", [
        (name, f"{len(waits):6d} {median(waits) * 1000:7.0f} ms {sorted(waits)[int(len(waits) * 0.99)] * 1000:7.0f} ms {max(waits) * 1000:7.0f} ms")
        for name, waits in sorted(ledger.waits.items())])
    table("what clients did", sorted((name, count) for name, count in ledger.counts.items() if name not in ledger.waits))
    table("HTTP", sorted(ledger.statuses.items()))
    table("mischief of the unruly upstreams", place.mischief().most_common())
    for kind, words in ledger.refusals.items():
        table(f"told in words, {kind} upstreams", [(text, count) for text, count in words.most_common(25)])
    peak = {name: max(each[name] for each in place.vitals.readings) for name in before.values}
    table("what must not stay: before, most, after", [
        (name, f"{before[name]:6d} {peak[name]:6d} {after[name]:6d}") for name in before.values] + [
        ("resident MiB", f"{before.resident:6.0f} {max(each.resident for each in place.vitals.readings):6.0f} {after.resident:6.0f}"),
        ("memory under load", memory)])
    table("FAULTS", sorted(ledger.fault_counts.items()))
    for kind, text in ledger.faults:
        print(f"  {kind}: {text}")


def soak(options):
    place = Place(options)
    try:
        place.start()
        before = warm_up(place)
        place.calm.unlink()
        began = time.monotonic()
        run(place, fleet(place, options.clients), options.seconds, options.pace)
        loaded = [each for each in place.vitals.since(began + min(options.seconds / 6, 10) + 5) if each.at < began + options.seconds]
        report(place, time.monotonic() - began)
        print("the clients have left", flush=True)
        more, after = settled(place, before, QUIET)
        report(place, time.monotonic() - began)
        if more:
            place.ledger.fault("left-behind", f"{QUIET} s after the last client (now, before): {more}")
        memory = judge_memory(place, loaded)
        end(place)
        summary(place, before, after, memory)
    except (Fault, AssertionError, subprocess.TimeoutExpired) as problem:
        place.ledger.fault("soak", f"{type(problem).__name__} {problem}")
        print(f"FAULT {problem}\n{place.gateway.stdout()[-3000:] if place.gateway.home.exists() else ''}")
        for kind, text in place.ledger.faults:
            print(f"  {kind}: {text}")
    finally:
        if options.keep:
            print(f"kept: {place.folder} {place.gateway.home}")
            subprocess.run(["cp", "-r", str(place.gateway.home), str(place.folder / "gateway")])
        place.close()
    faults = sum(place.ledger.fault_counts.values())
    print(f"\n{'all is well' if not faults else f'{faults} faults'}; seed {options.seed}", flush=True)
    return place.ledger


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long the clients stay")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between two actions of one client, on average")
    parser.add_argument("--warm-up", type=float, default=10, help="seconds of the warm-up")
    parser.add_argument("--keep", action="store_true", help="keeps the gateway's directory")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.stack_size(1 << 19)
    sys.exit(1 if soak(parse()).fault_counts else 0)
