# Licensed under the Apache License 2.0; see LICENSE.
"""Clients of a soak test to whom everything comes one way: `mcp-gateway stdio` in both eras, and the old HTTP+SSE."""

import contextlib
import json
import queue
import subprocess
import threading
import time

import gateway as house
import schema
import wire
from soak_clients import PATIENCE, Client, Enough, Legacy, Modern, Run, check_listened
from soak_watch import Fault, Watched, look

# What was on its way when a request was taken back may still arrive.
LATE = 5


class OverLines(Client):
    """A thread reads; every message goes to the request it belongs to."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.runs, self.tokens, self.done, self.given_up = {}, {}, set(), {}
        self.told, self.logs, self.is_open = [], 0, False

    def write(self, message):
        raise NotImplementedError

    def begin(self, messages):
        self.is_open = True
        threading.Thread(target=self.read, args=(messages,), daemon=True).start()

    def read(self, messages):
        try:
            for message in messages:
                self.dispatch(message)
        except (OSError, ValueError, AssertionError, Fault) as problem:
            if self.is_open:
                self.ledger.fault("stream", f"{self.name}: {type(problem).__name__} {problem}")
        was_open, self.is_open = self.is_open, False
        if was_open and not self.place.over:
            self.ledger.fault("stream", f"{self.name}: the gateway ended it")
        for run in list(self.runs.values()):
            run.queue.put(None)

    def dispatch(self, message):
        if "method" not in message:
            return self.answered(message)
        if "id" in message:
            if self.modern:
                raise Fault("asked-a-modern-client", f"{message}")
            schema.check(message, self.revision)
            return self.write(self.response(message))
        params = message.get("params", {})
        token = params.get("progressToken")
        if message["method"] == "notifications/progress":
            run = self.tokens.get(token)
            if run is None:
                if time.monotonic() - self.given_up.get(token, 0) > LATE:
                    self.ledger.fault("progress-token", f"{self.name}: progress of nothing that runs: {message}")
                return
            return run.queue.put(message)
        mark = params.get("_meta", {}).get("io.modelcontextprotocol/subscriptionId")
        if mark is not None:
            run = self.runs.get(mark)
            if run is not None:
                return run.queue.put(message)
            if time.monotonic() - self.given_up.get(mark, 0) > LATE:
                self.ledger.fault("subscription-id", f"{self.name}: of no subscription: {message}")
            return
        if message["method"] == "notifications/message":
            self.logs += 1
        else:
            self.told.append(message)

    def answered(self, message):
        id = message.get("id")
        run = self.runs.get(id)
        if run is not None:
            return run.queue.put(message)
        if id in self.given_up:
            if time.monotonic() - self.given_up[id] > LATE:
                self.ledger.fault("answered-when-cancelled", f"{self.name}: {json.dumps(message)[:300]}")
        else:
            kind = "answered-twice" if id in self.done else "wrong-id"
            self.ledger.fault(kind, f"{self.name}: {json.dumps(message)[:300]}")

    def start(self, run):
        run.queue = queue.Queue()
        self.runs[run.id] = run
        if run.token is not None:
            self.tokens[run.token] = run
        self.write(self.envelope(run))

    def forget(self, run, given_up=False):
        if given_up:
            self.given_up[run.id] = time.monotonic()
            if run.token is not None:
                self.given_up[run.token] = time.monotonic()
        else:
            self.done.add(run.id)
        self.runs.pop(run.id, None)
        self.tokens.pop(run.token, None)

    def next(self, run, seconds):
        message = run.queue.get(timeout=seconds)
        if message is None:
            raise Fault("unanswered", f"the stream ended before the answer to {run.method}")
        return message

    def once(self, run):
        self.start(run)
        try:
            while run.answer is None:
                try:
                    message = self.next(run, run.seconds)
                except queue.Empty:
                    raise Fault("unanswered", f"{run.method} got no answer within {run.seconds} s") from None
                if "method" in message:
                    run.note(message)
                else:
                    run.take_answer(message)
            self.forget(run)
        except Enough:
            self.give_up(run)
            raise
        except Fault:
            self.forget(run)
            raise

    def give_up(self, run):
        self.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": run.id, "reason": self.tag}})
        self.forget(run, given_up=True)

    @contextlib.contextmanager
    def listening(self, wanted):
        """As over HTTP; the subscription ends in words."""
        run = Run(self, "subscriptions/listen", {"notifications": wanted})
        self.start(run)

        def told(seconds):
            try:
                message = self.next(run, seconds)
            except queue.Empty:
                return None
            if "method" not in message:
                raise Fault("listen-ended", f"{json.dumps(message)[:300]}")
            return check_listened(run, message)

        try:
            yield told
        finally:
            if self.is_open:
                self.give_up(run)

    def shake_hands(self):
        run = Run(self, "initialize", self.opening())
        self.once(run)
        if run.answer.get("result", {}).get("protocolVersion") != self.revision:
            raise Fault("initialize", f"{json.dumps(run.answer)[:300]}")
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        if self.chance(0.3):
            self.request("logging/setLevel", {"level": self.random.choice(["debug", "info", "error"])})


class OldSSE(Legacy, OverLines):
    """The transport of 2024-11-05, which newer clients may use, too."""

    kind = "http+sse"

    def open(self):
        connection = Watched(self, self.place.port)
        connection.socket.settimeout(PATIENCE)
        connection.send(wire.request("GET", "/sse", {"Accept": "text/event-stream"}))
        self.stream = wire.Stream(connection, "GET")
        self.ledger.status(self.stream.status)
        first = self.stream.event(PATIENCE)
        if self.stream.status != 200 or first is None or first.kind != "endpoint":
            raise Fault("no-endpoint", f"HTTP {self.stream.status} {first}")
        self.address = first.data
        self.begin(iter(lambda: self.stream.message(3600), None))
        self.shake_hands()

    def write(self, message):
        headers = {"Content-Type": "application/json"}
        with Watched(self, self.place.port, PATIENCE) as connection:
            connection.send(wire.request("POST", self.address, headers, json.dumps(message).encode()))
            response = connection.response()
        self.ledger.status(response.status)
        if response.status != 202:
            raise Fault("not-accepted", f"{message.get('method', 'a response')}: {response}")

    def deafen(self):
        self.is_open = False
        with contextlib.suppress(OSError):
            self.stream.connection.socket.shutdown(2)
        self.stream.close()

    def leave(self):
        self.deafen()


class Stdio(OverLines):
    """A process `mcp-gateway stdio` that shares the running gateway."""

    def open(self):
        self.process = subprocess.Popen(
            [str(house.BINARY), "stdio", "--config", str(self.place.configuration)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.place.environment)
        self.place.processes.append(self.process)
        self.writing = threading.Lock()
        self.begin(self.lines())

    def lines(self):
        for line in self.process.stdout:
            look(self, line)
            yield json.loads(line)

    def write(self, message):
        with self.writing:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def deafen(self):
        self.is_open = False
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Fault("stdio-stays", "the process lives on 30 s after the end of its input") from None
        if code != 0:
            raise Fault("stdio-exit", f"the process ended with {code}")

    def leave(self):
        super().leave()
        self.deafen()


class ModernStdio(Modern, Stdio):
    kind = "modern-stdio"


class LegacyStdio(Legacy, Stdio):
    kind = "legacy-stdio"

    def open(self):
        super().open()
        self.shake_hands()
