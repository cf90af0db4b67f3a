# Licensed under the Apache License 2.0; see LICENSE.
"""What a soak test sees: faults, counts, whose words travel where, and how the gateway's process is.

Every client has a tag that nobody can guess and puts it into everything it says. All bytes that a client receives are looked
through for tags; one of somebody else is cross-talk, wherever it stands.
"""

import collections
import pathlib
import re
import secrets
import threading
import time

import exposition
import gateway as house
import wire

TAG = re.compile(rb"soak-[0-9a-f]{16}")
TAG_BYTES = 21


def new_tag():
    return f"soak-{secrets.token_hex(8)}"


class Fault(Exception):
    """Something that the gateway must not do, in words."""


class Ledger:
    """What happened, of all clients together. Safe to use from any thread."""

    EXAMPLES = 12

    def __init__(self):
        self.lock = threading.RLock()
        self.began = time.monotonic()
        self.counts, self.fault_counts = collections.Counter(), collections.Counter()
        self.refusals = {"good": collections.Counter(), "unruly": collections.Counter()}
        self.statuses, self.faults, self.owners, self.waits = collections.Counter(), [], {}, {}

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] += number

    def took(self, what, seconds):
        with self.lock:
            self.counts[what] += 1
            self.waits.setdefault(what, []).append(seconds)

    def status(self, number):
        with self.lock:
            self.statuses[number] += 1
        # 500 is never right, and whoever answers 502 or 504 has let an upstream's mishap through.
        if number >= 500:
            self.fault("http-5xx", f"HTTP {number}")

    def fault(self, kind, text):
        with self.lock:
            self.fault_counts[kind] += 1
            if self.fault_counts[kind] <= self.EXAMPLES:
                self.faults.append((kind, f"{time.monotonic() - self.began:.1f} s: {text}"))

    def refused(self, kind, words):
        """A failure told in words; the same words with other names and numbers are counted together."""
        plain = re.sub(r"soak-[0-9a-f]+", "TAG", words)
        plain = re.sub(r"\b(m|l|ms|ls)\d(__|\+)\S+", "TOOL", re.sub(r"\b(bad|mad)(__|\+)\S+", "TOOL", plain))
        plain = re.sub(r"\d+(\.\d+)?", "N", plain)
        with self.lock:
            self.refusals[kind][plain[:170]] += 1

    def who(self, tag):
        return self.owners.get(tag, "somebody before it")


class Watched(wire.Connection):
    """A connection whose every received byte is looked through for tags."""

    def __init__(self, client, address, timeout=30):
        super().__init__(address, timeout)
        self.client, self.tail, self.used = client, b"", time.monotonic()

    def fill(self):
        before = len(self.pending)
        more = super().fill()
        self.tail = look(self.client, self.tail + self.pending[before:])
        return more


def look(client, data):
    """Finds tags that are not the client's own; returns what may be the beginning of one."""
    for found in TAG.findall(data):
        if found != client.tag_bytes:
            place = data.find(found)
            said = data[max(place - 200, 0):place + 100]
            client.ledger.fault("cross-talk", f"{client.name} got what is of {client.ledger.who(found.decode())}: {said!r}")
    return data[-TAG_BYTES + 1:]


class Reading:
    """How the gateway is at one moment."""

    METRICS = ["mcp_calls_in_flight", "mcp_calls_parked", "mcp_listeners", "mcp_upstream_sessions", "mcp_connections"]

    def __init__(self, at, resident, values):
        self.at, self.resident, self.values = at, resident, values

    def __getitem__(self, name):
        return self.values[name]


class Vitals:
    """Looks at the gateway from outside: its process and its metrics, once a second in a thread of its own."""

    def __init__(self, gateway, ledger):
        self.gateway, self.ledger, self.readings, self.over = gateway, ledger, [], False
        self.pid, self.seen = gateway.process.pid, {}
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over and self.gateway.process.poll() is None:
            try:
                self.take()
            except (OSError, AssertionError, ValueError, KeyError) as problem:
                if not self.over and self.gateway.process.poll() is None:
                    self.ledger.fault("vitals", f"the gateway could not be looked at: {type(problem).__name__} {problem}")
            time.sleep(1)

    def take(self):
        place = pathlib.Path(f"/proc/{self.pid}")
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        children = house.descendants(self.pid)
        for child in children:
            self.seen.setdefault(child, birth(child))
        values = {"descriptors": len(list((place / "fd").iterdir())), "threads": int(status["Threads"]),
                  "children": len(children)}
        # With a generous limit: a machine that is busy on purpose is no fault of the gateway.
        with wire.Connection(self.gateway.port, 20) as connection:
            connection.send(wire.request("GET", "/metrics", {}))
            samples, _ = exposition.parse(connection.response("GET").body.decode())
        for name in Reading.METRICS:
            values[name] = int(sum(value for _, value in samples.get(name, [])))
        # The connection of this very look is not to be counted.
        values["mcp_connections"] -= 1
        reading = Reading(time.monotonic(), int(status["VmRSS"].split()[0]) / 1024, values)
        self.readings.append(reading)
        return reading

    def since(self, moment):
        return [reading for reading in self.readings if reading.at >= moment]

    def stop(self):
        self.over = True
        self.thread.join(30)

    def left_over(self):
        """Processes that the gateway once had below it and that still run."""
        return [pid for pid, born in self.seen.items() if born and house.is_alive(pid) and birth(pid) == born]


def birth(pid):
    """When a process began; with it a number that was given again is told apart."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def slope(readings):
    """MiB an hour, by least squares."""
    if len(readings) < 3:
        return 0.0
    times = [reading.at - readings[0].at for reading in readings]
    middle, level = sum(times) / len(times), sum(each.resident for each in readings) / len(readings)
    spread = sum((at - middle) ** 2 for at in times)
    return 3600 * sum((at - middle) * (each.resident - level) for at, each in zip(times, readings)) / max(spread, 1e-9)


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0
