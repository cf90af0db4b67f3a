# Licensed under the Apache License 2.0; see LICENSE.
"""What both unruly upstreams of the soak test offer, and when they behave. Standard library only.

`say` gives its tag back, `steps` reports progress with it, `ask` asks the user and gives the tag back with the answer. Whoever
calls has to expect any failure, but never what belongs to somebody else. While the file CALM exists they do nothing wrong.
"""

import collections
import itertools
import json
import os
import random
import threading

TEXT = {"type": "string"}
NAMES = {"say": "Gives its tag back.", "steps": "Reports progress with its tag.", "ask": "Asks for a value."}
flickers = itertools.count()


class Mood:
    """Chance with a seed, the file that ends all mischief, and a count of what was done."""

    def __init__(self, seed, calm, counts):
        self.random, self.calm, self.counts = random.Random(seed), calm, counts
        self.done, self.lock = collections.Counter(), threading.Lock()

    def is_calm(self):
        return os.path.exists(self.calm)

    def chance(self, share):
        with self.lock:
            return not self.is_calm() and self.random.random() < share

    def pick(self, choices):
        with self.lock:
            return self.random.choice(choices)

    def note(self, what):
        with self.lock:
            self.done[what] += 1
            if self.counts:
                # One line each: many processes write, and some of them die at once.
                with open(self.counts, "a") as file:
                    file.write(what + "\n")


def tools(flicker):
    """The list; one tool of it comes and goes."""
    own = [{"name": name, "description": words, "inputSchema": {"type": "object", "properties": {"tag": TEXT}}}
           for name, words in NAMES.items()]
    if flicker:
        own.append({"name": f"flicker_{flicker % 2}", "description": "Comes and goes.", "inputSchema": {"type": "object"}})
    return own


def message(**members):
    return json.dumps({"jsonrpc": "2.0", **members})


def result(id, text):
    return message(id=id, result={"content": [{"type": "text", "text": text}]})


def note(method, **params):
    return message(method=method, **({"params": params} if params else {}))


def progress(token, number, tag):
    return note("notifications/progress", progressToken=token, progress=number, total=100, message=f"{tag} {number}")


def question(id, tag):
    schema = {"type": "object", "properties": {"value": TEXT}, "required": ["value"]}
    return message(id=id, method="elicitation/create", params={"message": f"A value for {tag}?", "requestedSchema": schema})


def opening(revision):
    capabilities = {"tools": {"listChanged": True}, "resources": {"subscribe": True, "listChanged": True}}
    return {"protocolVersion": revision, "capabilities": capabilities, "serverInfo": {"name": "unruly", "version": "1"}}


def answer(request, flicker):
    """The result of whatever is no call; None for what is not known here."""
    method = request["method"]
    known = {
        "initialize": opening("2025-06-18"), "ping": {}, "tools/list": {"tools": tools(flicker)},
        "resources/list": {"resources": []}, "resources/subscribe": {}, "resources/unsubscribe": {},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "test://private/{id}", "name": "private"}]}}
    return known.get(method)


# Answers that are none, each in another way. TAG and ID are filled in.
NONSENSE = {
    "not json": "{this is not JSON TAG",
    "a list": '[{"jsonrpc":"2.0","id":ID,"result":{}}]',
    "no message": '{"hello":"TAG"}',
    "both": '{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":"TAG"}}',
    "neither": '{"jsonrpc":"2.0","id":ID}',
    "a result that is no object": '{"jsonrpc":"2.0","id":ID,"result":"TAG"}',
    "an error that is no object": '{"jsonrpc":"2.0","id":ID,"error":"TAG"}',
    "an error without words": '{"jsonrpc":"2.0","id":ID,"error":{"code":-32000}}',
    "a strange kind of result": '{"jsonrpc":"2.0","id":ID,"result":{"resultType":"TAG","content":[]}}',
    "too deep": '{"jsonrpc":"2.0","id":ID,"result":{"content":' + "[" * 500 + "]" * 500 + "}}",
    "a key twice": '{"jsonrpc":"2.0","id":ID,"id":ID,"result":{"content":[]}}',
    "half a letter": '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"\\ud800"}]}}',
    "asking without a question": '{"jsonrpc":"2.0","id":ID,"result":{"resultType":"input_required"}}',
    "another number": '{"jsonrpc":"2.0","id":9ID9,"result":{"content":[{"type":"text","text":"TAG"}]}}',
    "a number as a text": '{"jsonrpc":"2.0","id":"ID","result":{"content":[{"type":"text","text":"TAG"}]}}',
    "no number": '{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"TAG: I am lost"}}',
}


def nonsense(kind, id, tag):
    return NONSENSE[kind].replace("TAG", tag).replace("ID", str(id))
