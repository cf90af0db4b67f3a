# Licensed under the Apache License 2.0; see LICENSE.
"""What all clients of a soak test have in common; soak_over_http.py and soak_over_lines.py say how each kind talks.

Requests carry a mark, `TAG.NUMBER`. Questions name the mark, and the answer to one follows from it, so that a client knows what
every result has to be, also when several of its requests run at once.
"""

import itertools
import json
import random
import re
import time

import schema
import soak_watch
import wire
from soak_watch import Fault

QUESTIONS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
VENDOR = "soak.test/tag"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
CLIENT = {"name": "soak", "version": "1"}
# Longer than the longest a gateway may take for a call, a question and its own limits included.
PATIENCE = 120


class Enough(Exception):
    """The client wants no more of a request. Raised by whoever listens to it."""


class Gone(Enough):
    """The client's connection breaks; the request itself goes on."""


class Left(Exception):
    """The client did not come back to be answered, which it may."""


class Run:
    """One request and what was heard of it."""

    def __init__(self, client, method, params, *, progress=False, log=None, on_note=None, headers=None, strict=True, seconds=PATIENCE):
        self.client, self.method, self.params, self.headers = client, method, params, headers or {}
        self.on_note, self.strict, self.seconds, self.log = on_note, strict, seconds, log
        number = next(client.numbers)
        # Ids are told apart by their kind as well: both have to come back as they were.
        self.id = f"{client.tag}:{number}" if number % 2 else number + 2**53
        self.token = (f"{client.tag}-{number}" if number % 3 else number) if progress else None
        self.last, self.notes, self.answer = float("-inf"), [], None

    def meta(self):
        return {VENDOR: self.client.tag, **({} if self.token is None else {"progressToken": self.token})}

    def check(self, message):
        if self.strict:
            try:
                schema.check(message, self.client.revision, self.method, self.id)
            except (AssertionError, KeyError, TypeError) as problem:
                raise Fault("schema", f"{type(problem).__name__} {problem}") from None

    def note(self, message):
        if self.answer is not None:
            raise Fault("after-the-answer", f"{message}")
        self.check(message)
        params = message.get("params", {})
        if message["method"] == "notifications/progress":
            if type(params.get("progressToken")) is not type(self.token) or params.get("progressToken") != self.token:
                raise Fault("progress-token", f"wanted {self.token!r}: {message}")
            if not params["progress"] > self.last:
                raise Fault("progress-order", f"{params} after {self.last}")
            self.last = params["progress"]
        elif message["method"] == "notifications/message" and self.client.modern and self.log is None:
            raise Fault("unwanted-log", f"{message}")
        self.notes.append(message)
        if self.on_note:
            self.on_note(message)

    def take_answer(self, message):
        if type(message.get("id")) is not type(self.id) or message.get("id") != self.id:
            raise Fault("wrong-id", f"wanted {self.id!r}: {json.dumps(message)[:300]}")
        if self.answer is not None:
            raise Fault("answered-twice", f"{json.dumps(message)[:300]}")
        self.check(message)
        self.answer = message

    def told(self, method):
        return [note["params"] for note in self.notes if note["method"] == method]


class Client:
    """`place` says where the gateway is. Each kind of client adds `once`, which sends one request and hears it out."""

    modern, kind = False, ""

    def __init__(self, place, number, seed, revision):
        self.place, self.ledger, self.random, self.revision = place, place.ledger, random.Random(seed), revision
        self.tag, self.numbers = soak_watch.new_tag(), itertools.count(1)
        self.tag_bytes, self.name = self.tag.encode(), f"{self.kind} {revision} {number}"
        self.ledger.owners[self.tag] = self.name
        names = ["elicitation", "sampling", "roots"]
        able = self.random.choice([names, names, names, names[:1], names[1:], []])
        if revision < "2025-06-18":
            able = able[1:] if able[:1] == ["elicitation"] else able
        self.able = {name: {} for name in able}
        if "elicitation" in self.able and self.modern:
            self.able["elicitation"] = {"form": {}, "url": {}}
        self.parked = []

    def chance(self, share):
        return self.random.random() < share

    def mark(self):
        return f"{self.tag}.{next(self.numbers)}"

    # Questions

    def given(self, mark):
        """What the client says when it is asked about something with that mark."""
        return "(decline)" if int(mark.rpartition(".")[2]) % 17 == 0 else f"{mark}!"

    def reply_to(self, method, params):
        """The result of a question; never of one that this client did not offer to be asked."""
        kind = QUESTIONS.get(method)
        if kind not in self.able:
            raise Fault("asked-what-it-cannot", f"{method} {json.dumps(params)[:200]}")
        self.ledger.count("questions answered")
        found = re.search(rf"{self.tag}\.\d+", json.dumps(params))
        value = self.given(found[0]) if found else f"{self.tag}!"
        if kind == "roots":
            return {"roots": [{"uri": f"file:///{self.tag}"}]}
        if kind == "sampling":
            words = f"{found[0]}!" if found else value
            return {"role": "assistant", "content": {"type": "text", "text": words}, "model": "soak"}
        if value == "(decline)":
            return {"action": "decline"}
        if params.get("mode") == "url":
            return {"action": "accept"}
        fields = params["requestedSchema"]["properties"]
        return {"action": "accept", "content": {
            name: True if field["type"] == "boolean" else value for name, field in fields.items()}}

    # Requests

    def request(self, method, params=None, *, leaves=False, **more):
        """A request to its end, over all questions."""
        params = dict(params or {})
        began = time.monotonic()
        for _ in range(12):
            run = Run(self, method, params, **more)
            self.once(run)
            result = run.answer.get("result")
            if not self.modern or not isinstance(result, dict) or result.get("resultType") != "input_required":
                self.ledger.took(method, time.monotonic() - began)
                return run
            responses = {key: self.reply_to(each["method"], each.get("params", {}))
                         for key, each in result.get("inputRequests", {}).items()}
            params = self.again(params, responses, result.get("requestState"))
            if leaves:
                self.parked.append((method, params))
                raise Left
        raise Fault("endless-questions", f"{method} {json.dumps(params)[:300]}")

    @staticmethod
    def again(params, responses, state):
        params = {key: value for key, value in params.items() if key not in ("inputResponses", "requestState")}
        return {**params, "inputResponses": responses, **({} if state is None else {"requestState": state})}

    def settle(self):
        """Answers what was asked long ago; an answer in words is as good as one of the call."""
        while self.parked:
            self.request(*self.parked.pop(), strict=False)

    def once(self, run):
        raise NotImplementedError

    def open(self):
        pass

    def leave(self):
        self.settle()


class Modern:
    """The envelope of the stateless era."""

    modern = True

    def envelope(self, run):
        more = {} if run.log is None else {LOG_LEVEL: run.log}
        meta = {**wire.meta(capabilities=self.able), "io.modelcontextprotocol/clientInfo": CLIENT, **run.meta(), **more}
        return {"jsonrpc": "2.0", "id": run.id, "method": run.method, "params": {**run.params, "_meta": meta}}


class Legacy:
    def envelope(self, run):
        message = {"jsonrpc": "2.0", "id": run.id, "method": run.method, "params": dict(run.params)}
        if run.method != "initialize":
            message["params"]["_meta"] = run.meta()
        return message

    def opening(self):
        return {"protocolVersion": self.revision, "capabilities": self.able, "clientInfo": CLIENT}

    def response(self, question):
        """The response to a server's request, as a message."""
        reply = {"jsonrpc": "2.0", "id": question["id"]}
        if question["method"] == "ping":
            return {**reply, "result": {}}
        return {**reply, "result": self.reply_to(question["method"], question.get("params", {}))}


def check_listened(run, message):
    run.check(message)
    mark = message.get("params", {}).get("_meta", {}).get(SUBSCRIPTION)
    if type(mark) is not type(run.id) or mark != run.id:
        raise Fault("subscription-id", f"wanted {run.id!r}: {message}")
    return message
