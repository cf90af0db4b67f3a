# Licensed under the Apache License 2.0; see LICENSE.
"""Kills the gateway, its upstream, or both, at random instants under calls that are stored, and then counts.

Usage: torture.py [--rounds 1000] [--seed N] [--clients 8] [--restores]. A round is one life of the gateway, a fraction of a second long. What the
clients were told and what the upstream did is written down outside of the gateway. At the end each call that was acknowledged must have
exactly one fate: those of the idempotent tool ran at least once when they are said to be done, those of the other tool at most once,
none has vanished, and the database is sound after each kill. With --restores an older backup is copied over the database now and then,
as the playbook does: what was acknowledged since the backup may be gone then, and nothing may run twice all the same. Exit 1 with words when something is wrong; the seed repeats the plan.
"""

import argparse
import collections
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time

import gateway as house
import wire

TASKS = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


class Book:
    """What clients were told, by the name of their call."""

    def __init__(self):
        self.lock, self.told, self.asked = threading.Lock(), {}, 0

    def next(self):
        with self.lock:
            self.asked += 1
            return f"c{self.asked}"

    def note(self, tool, n, fate, detail=None):
        with self.lock:
            self.told[tool, n] = (fate, detail)


def client(gateway, book, end, chance):
    while not end.is_set():
        time.sleep(chance.uniform(0, 0.06))
        tool, n = chance.choice(["dispense", "assign"]), book.next()
        params = {"name": f"up__{tool}", "arguments": {"n": n}, "_meta": wire.meta(capabilities=TASKS)}
        head = {"Content-Type": "application/json", "Accept": wire.BOTH, **wire.modern_headers("tools/call", f"up__{tool}")}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
        try:
            answer = gateway.exchange(wire.request("POST", "/mcp", head, body), timeout=20)
            result = answer.json.get("result", {})
        except (OSError, AssertionError, ValueError, IndexError, KeyError):
            book.note(tool, n, "no answer")
            time.sleep(0.02)
            continue
        if result.get("resultType") == "task":
            book.note(tool, n, "stored", result["taskId"])
        elif result.get("isError") is False or (result and "isError" not in result):
            book.note(tool, n, "done")
        else:
            book.note(tool, n, "refused", json.dumps(answer.json)[:300])


def look(gateway):
    """Every stored call, read from the file as an operator would."""
    text = gateway.sql("SELECT handle, status, tool, attempts, COALESCE(last_error, '') FROM queue_items")
    return {line.split("|")[0]: line.split("|")[1:] for line in text.splitlines() if line}


class Backups:
    """A copy made now and then, and which calls it cannot know."""

    def __init__(self, place):
        self.path, self.known, self.erased = os.path.join(place, "copy.db"), None, set()

    def make(self, gateway, book):
        body = json.dumps({"to": self.path}).encode()
        with book.lock:
            known = set(book.told)
        answer = gateway.exchange(wire.request("POST", "/admin/backup", {"Host": "localhost"}, body), timeout=30)
        assert answer.status == 200, answer
        self.known = known

    def restore(self, gateway, book):
        shutil.copy(self.path, gateway.database)
        self.erased |= set(book.told) - self.known


def judge(book, rows, done, faults, erased=frozenset()):
    counts = collections.Counter()
    for (tool, n), (fate, handle) in sorted(book.told.items()):
        ran = done[tool, n]
        counts[fate] += 1
        if tool == "dispense" and ran > 1:
            faults.append(f"{tool} {n} ({fate}) ran {ran} times")
        if fate == "done" and ran < 1:
            faults.append(f"{tool} {n} was said to be done and never ran")
        if fate != "stored" or (tool, n) in erased:
            continue
        row = rows.get(handle)
        if row is None:
            faults.append(f"{tool} {n} was acknowledged as {handle} and has vanished")
            continue
        counts[row[0]] += 1
        if row[0] == "completed" and ran < 1:
            faults.append(f"{tool} {n} is completed and never ran")
        if row[0] not in ("completed", "unknown"):
            faults.append(f"{tool} {n} ended as {row}")
        if row[0] == "unknown" and tool == "assign":
            faults.append(f"{tool} {n} is idempotent and unknown: {row}")
    return counts


def torture(rounds, seed, clients, say=lambda *_: None, restores=False):
    chance, faults, book = random.Random(seed), [], Book()
    place = tempfile.mkdtemp(prefix="torture-")
    ledger = os.path.join(place, "book")
    port = house.free_port()
    server = house.ServerProcess([sys.executable, str(house.SERVERS / "counting.py"), str(port), ledger], port)
    policy = {"offline": "queue"}
    up = {"url": f"http://127.0.0.1:{port}/mcp", "timeout": "3s",
          "circuit_breaker": {"open_for": "200ms", "minimum_calls": 5},
          "tools": {"dispense": policy, "assign": {**policy, "idempotent": True}}}
    gateway = house.Gateway({"up": up})
    try:
        server.start()
        gateway.start()
        gateway.wait_for_tools("up__dispense", "up__assign")
        is_up, backups = True, Backups(place)
        for number in range(rounds):
            if restores and chance.random() < 0.15:
                backups.make(gateway, book)
            end = threading.Event()
            threads = [threading.Thread(target=client, args=(gateway, book, end, random.Random(chance.random())), daemon=True)
                       for _ in range(clients)]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.02, 0.5))
            what = chance.choice(["gateway", "gateway", "upstream", "both", "return"])
            if what in ("upstream", "both") and is_up:
                server.kill()
                is_up = False
            elif not is_up and chance.random() < 0.6:
                server.start()
                is_up = True
            time.sleep(chance.uniform(0, 0.2))
            if what != "upstream":
                gateway.kill()
            end.set()
            for thread in threads:
                thread.join(30)
            if what != "upstream":
                if gateway.sql("PRAGMA integrity_check;") != "ok":
                    faults.append(f"round {number}: the database is not whole")
                if restores and backups.known is not None and chance.random() < 0.15:
                    backups.restore(gateway, book)
                gateway.start()
            if number % 50 == 49:
                say(f"round {number + 1}: {book.asked} calls, {len(faults)} faults")
        if not is_up:
            server.start()

        def drained():
            open_ones = gateway.sql("SELECT count(*) FROM queue_items WHERE status IN ('queued', 'in_flight')")
            return open_ones == "0"

        house.eventually(drained, 120 + book.asked / 50, "the queue to be empty")
        gateway.terminate()
        with open(ledger) as lines:
            done = collections.Counter(tuple(line.split()[:2]) for line in lines)
        counts = judge(book, look(gateway), done, faults, backups.erased)
        counts["erased by restores"] = len(backups.erased)
        why = collections.Counter(detail[:160] for fate, detail in book.told.values() if fate == "refused")
        say(f"refused: {why.most_common(4)}")
        return faults, dict(counts)
    finally:
        gateway.close()
        server.kill()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--restores", action="store_true")
    options = parser.parse_args()
    print("seed", options.seed, flush=True)
    faults, counts = torture(options.rounds, options.seed, options.clients, lambda words: print(words, flush=True), options.restores)
    for words in faults[:20]:
        print("FAULT", words)
    print(f"{len(faults)} faults; {counts}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
