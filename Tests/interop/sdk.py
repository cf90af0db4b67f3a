# Licensed under the Apache License 2.0; see LICENSE.
"""Clients of the SDKs, as a test orders them about."""

import contextlib
import json
import pathlib
import queue
import subprocess
import tempfile
import threading

import gateway as house


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
            [house.PYTHON[kind], str(driver), kind, place, mode, json.dumps(options)], stdin=subprocess.PIPE,
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
