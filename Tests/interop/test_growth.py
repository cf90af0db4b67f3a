# Licensed under the Apache License 2.0; see LICENSE.
"""Ten thousand calls of every kind at one gateway: what it holds afterwards is what it held before.

Measured with the debug build in fifteen runs, some of them two at a time: 58 MB resident after the first 2,000 calls
and USR1; after 4,000 and after 8,000 more calls between 0.1 and 0.9 MB more, and as often less at the second look as at
the first. So what moves does not grow. The bound is 2 MiB: 260 bytes for each of 8,000 calls, 5 KB for each of 400
sessions.
"""

import collections
import concurrent.futures
import math
import os
import pathlib
import re
import signal

import gateway as house
import wire
from upstreams import Moody, family

CLIENTS = 4
# One lap of one client: so many requests of each kind.
LAP = {"wasm": 18, "http": 10, "stdio": 6, "failing": 2, "mistake": 4, "metrics": 1, "session": 3, "stream": 4,
       "kept": 2}
REQUESTS = {"session": 4}
PER_LAP = sum(count * REQUESTS.get(kind, 1) for kind, count in LAP.items())
STORED = 25
GROWTH_MAX = 2 << 20
POOL_MAX = 16
AT_REST = ("mcp_calls_in_flight", "mcp_calls_waiting", "mcp_calls_parked", "mcp_listeners", "mcp_upstream_sessions",
           "mcp_wasm_instances", "mcp_queue_size")


class Client:
    """One of those who call all the time, over one connection and some that do not last."""

    def __init__(self, gateway, number):
        self.gateway, self.number, self.asked = gateway, number, 0
        self.counts = collections.Counter()

    def laps(self, count):
        with wire.Connection(self.gateway.port, 30) as self.connection:
            for _ in range(count):
                for kind, times in LAP.items():
                    for _ in range(times):
                        getattr(self, kind)()
                        self.counts[kind] += 1

    def exchange(self, data, method="POST"):
        self.asked += 1
        self.connection.send(data)
        return self.connection.response(method)

    def call(self, tool, arguments, is_error=False):
        self.asked += 1
        self.connection.send(wire.modern_request("tools/call", {"name": tool, "arguments": arguments}, self.asked))
        response = self.connection.response()
        assert response.status == 200, response
        result = response.json["result"]
        assert result.get("isError", False) is is_error, result
        return result

    @property
    def text(self):
        """Another one each time, so that whatever is kept by its text would grow."""
        return f"{self.number}-{self.asked} " + "x" * (self.asked * 37 % 2_000)

    def wasm(self):
        self.call("text__echo", {"text": self.text})

    def http(self):
        self.call("shop__work", {"n": self.text})

    def kept(self):
        self.call("shop__safe", {"n": f"{self.number}-{self.asked}"})

    def stdio(self):
        self.call("pipe__pid", {})

    def failing(self):
        self.call("torn__work", {"n": self.text}, is_error=True)

    def mistake(self):
        mistakes = [
            (wire.modern_request("tools/call", {"name": f"no__{self.text[:20]}", "arguments": {}}), "POST"),
            (wire.request("POST", "/mcp", wire.modern_headers("tools/list"), b"{no json"), "POST"),
            (wire.request("GET", f"/nothing/{self.number}/{self.asked}", {}), "GET")]
        data, method = mistakes[self.asked % len(mistakes)]
        assert 200 <= self.exchange(data, method).status < 500

    def metrics(self):
        assert self.exchange(wire.request("GET", "/metrics", {}), "GET").status == 200

    def session(self):
        session = self.gateway.legacy(wire.LEGACY[self.asked % len(wire.LEGACY)])
        assert session.call("text__echo", {"text": self.text})[1] is False
        assert session.delete().status in (200, 202, 204)
        self.asked += REQUESTS["session"]

    def stream(self):
        self.asked += 1
        wanted = {"notifications": {"toolsListChanged": True}}
        with wire.Connection(self.gateway.port) as connection:
            connection.send(wire.modern_request("subscriptions/listen", wanted, self.asked))
            stream = wire.Stream(connection)
            assert stream.status == 200 and stream.message(10)["method"].endswith("acknowledged")


class House:
    def __init__(self, make, folder):
        self.shop, self.torn, self.till = (make.server(Moody()) for _ in range(3))
        self.torn.feel("failing", status=500)
        never = {"minimum_calls": 10_000, "failures": 1.0}
        self.gateway = make.gateway({
            "shop": {"url": self.shop.url, "tools": {"safe": {"cache": "1s"}}},
            "torn": {"url": self.torn.url, "circuit_breaker": never},
            "till": {"url": self.till.url, "circuit_breaker": never, "tools": {"work": {"offline": "queue"}}},
            "pipe": family(folder / "pids")}, ["text"],
            {"cache": {"max_bytes": "64KiB"}})
        self.gateway.wait_for_tools("shop__work", "torn__work", "till__work", "pipe__pid", "text__echo")
        self.clients = [Client(self.gateway, number) for number in range(CLIENTS)]
        self.calls = 0

    def work(self, until):
        """Calls until there were so many; some of them are stored on the way, and sent."""
        laps = math.ceil((until - self.calls) / (PER_LAP * CLIENTS))
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(client.laps, laps) for client in self.clients]
            self.store_and_drain()
            for one in running:
                one.result()
        self.calls += laps * PER_LAP * CLIENTS + STORED
        return self.calls

    def store_and_drain(self):
        self.till.kill()
        stored = lambda n: self.gateway.call("till__work", {"n": n})[0].startswith("NOT DONE YET")
        for n in range(STORED):
            house.eventually(lambda: stored(str(n)), 5, "the call to be stored")
        self.till.start()
        self.gateway.order("POST", "/admin/sync/force")
        house.eventually(lambda: self.gateway.metric("mcp_queue_size") == 0, 20, "the stored calls")

    def rest(self):
        """What is held when nobody calls and memory was given back."""
        rests = lambda: all(self.gateway.metric(name) == 0 for name in AT_REST)
        house.eventually(rests, 15, "the end of all that ran")
        # The one that asks is left.
        alone = lambda: self.gateway.metric("mcp_connections", listener="public") == 1
        house.eventually(alone, 15, "the last to hang up")
        lines = lambda: self.gateway.stdout().count("resident_after=")
        before = lines()
        self.gateway.signal(signal.SIGUSR1)
        house.eventually(lambda: lines() > before, 10, "the memory that was given back")
        return Held(self.gateway, [server.port for server in (self.shop, self.torn, self.till)])


class Held:
    """What a gateway holds at one moment, as the kernel and its own metrics say."""

    def __init__(self, gateway, upstream_ports):
        proc = pathlib.Path(f"/proc/{gateway.process.pid}")
        status = (proc / "status").read_text()
        self.resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024
        self.threads, self.pool = collections.Counter(), 0
        for name in thread_names(proc):
            # Those of the system's own pool come and go with the load.
            if name.endswith(("-qos", ".overcommit")):
                self.pool += 1
            else:
                self.threads[name] += 1
        self.descriptors, self.kept_open = collections.Counter(), collections.Counter()
        remote = remote_ports(proc)
        for place in (proc / "fd").iterdir():
            try:
                target = os.readlink(place)
            except FileNotFoundError:
                continue  # the one of the last request, just closed
            port = remote.get(target)
            if port in upstream_ports:
                self.kept_open[port] += 1
            else:
                self.descriptors[target if target.startswith("/") else target.split(":")[0]] += 1
        self.series = {
            (name, tuple(sorted(labels.items()))) for name, found in gateway.metrics().items() for labels, _ in found}


def thread_names(proc):
    for task in (proc / "task").iterdir():
        try:
            yield (task / "comm").read_text().strip()
        except FileNotFoundError:
            continue  # ended meanwhile


def remote_ports(proc):
    """The port at the other end of each connection, by the name of its descriptor."""
    rows = [line.split() for line in (proc / "net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]": int(row[2].split(":")[1], 16) for row in rows}


def test_ten_thousand_calls_leave_nothing_behind(make, tmp_path):
    shop = House(make, tmp_path)
    shop.work(until=2_000)
    before = shop.rest()
    found = []
    for until in (6_000, 10_000):
        shop.work(until)
        after = shop.rest()
        found.append(after.resident - before.resident)
        assert after.resident - before.resident < GROWTH_MAX, found
        assert after.threads == before.threads and after.pool <= POOL_MAX, (before.threads, after.threads, after.pool)
        assert after.descriptors == before.descriptors
        # Connections to a server stay for the next call, and are never more than callers at one time.
        assert all(count <= CLIENTS + 2 for count in after.kept_open.values()), after.kept_open
        assert after.series == before.series
    assert shop.calls >= 10_000
    print("resident", before.resident, "and then more by", found)

    rows = lambda query: shop.gateway.sql(query)
    sessions = sum(client.counts["session"] for client in shop.clients)
    assert rows("SELECT status, count(*) FROM queue_items GROUP BY 1") == f"completed|{3 * STORED}"
    # An ended session leaves a mark until it would have expired.
    assert rows("SELECT count(*) FROM session_tombstones") == str(sessions)
    assert rows("SELECT count(*) FROM call_ledger") == "0"
    failed = sum(client.counts["failing"] for client in shop.clients)
    assert shop.gateway.metric("mcp_tool_calls_total", tool="torn__work", outcome="failed") == failed > 300
    streams = sum(client.counts["stream"] for client in shop.clients)
    assert shop.gateway.metric("mcp_stream_duration_seconds_count") >= streams
    for kind in LAP:
        assert sum(client.counts[kind] for client in shop.clients) > 100, kind
