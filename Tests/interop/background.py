# Licensed under the Apache License 2.0; see LICENSE.
"""What goes on in threads beside a test: one call, somebody who repeats one thing, a crowd that calls without a pause."""

import threading

import gateway as house


def slow_call(gateway, tool, arguments=None):
    """A call in a thread of its own; its answer ends up in the list."""
    answers = []

    def run():
        try:
            answers.append(gateway.call(tool, arguments, timeout=30))
        except Exception as failure:  # judged by the test
            answers.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, answers


class Repeated:
    """Somebody who does one thing again and again, `pause` seconds apart, until the end of the block."""

    def __init__(self, pause, action):
        self.pause, self.action, self.fault = pause, action, None
        self.over, self.thread = threading.Event(), threading.Thread(target=self.go_on, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join(60)
        assert kind or not self.thread.is_alive(), "what is repeated does not come to an end"
        assert kind or not self.fault, self.fault

    def go_on(self):
        while not self.over.is_set():
            try:
                self.action()
            except Exception as fault:  # told at the end of the block, in the thread that waits there
                self.fault = fault
                return
            self.over.wait(self.pause)


class Crowd:
    """Clients that call without a pause, each in its own way, until the end of the block.

    A way is a generator: for each call it gives what came of it and what should have. `wrong` holds what was not the
    same, and what was raised; whoever has raised something begins anew. The test judges.
    """

    def __init__(self, *ways):
        self.over, self.wrong, self.done = threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.run, args=(way,), daemon=True) for way in ways]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert kind or not any(thread.is_alive() for thread in self.threads), "a client does not come to an end"

    def run(self, way):
        step = way()
        while not self.over.is_set():
            try:
                answer, wanted = next(step)
                if answer != wanted:
                    self.wrong.append((way.__name__, answer))
            except Exception as failure:  # judged by the test
                self.wrong.append((way.__name__, repr(failure)))
                step = way()
            self.done += 1
        step.close()

    def goes_on(self, calls=40):
        before = self.done
        house.eventually(lambda: self.done >= before + calls, 30, "further calls")
