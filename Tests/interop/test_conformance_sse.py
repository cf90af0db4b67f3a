# Licensed under the Apache License 2.0; see LICENSE.
"""The transport of 2024-11-05: one event stream for everything the server says, and an address to post to."""

import json

import pytest

import conformance
import schema
import wire

# The modern fixture server does not offer this transport, so there is no looking at it directly.
TARGETS = ["legacy-http"] if conformance.DIRECT else conformance.EVERY
pytestmark = pytest.mark.parametrize("target", TARGETS, indirect=True)
VERSION = "2024-11-05"


class OldSession(conformance.Answering):
    def __init__(self, target, capabilities=None, answers=None, version=VERSION):
        self.target, self.answers, self.notifications = target, answers or {}, []
        headers = {"Accept": "text/event-stream"}
        self.stream = target.raw(target.request("GET", headers, path="/sse"), "GET")
        assert self.stream.status == 200 and self.stream.is_event_stream, self.stream.response
        first = self.stream.event(10)
        assert first.kind == "endpoint" and first.data, first
        self.address = first.data.removeprefix(f"http://127.0.0.1:{target.port}")
        assert self.address.startswith("/"), first
        opening = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": conformance.CLIENT}
        self.version = version
        self.opened = self.ask("initialize", opening)["result"]
        assert self.opened["protocolVersion"] == version
        self.say(wire.legacy_body("notifications/initialized", id=None))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def post(self, body):
        headers = {"Content-Type": "application/json"}
        return self.target.exchange(self.target.request("POST", headers, body, path=self.address))

    def say(self, body):
        response = self.post(body)
        assert response.status == 202, response

    def ask(self, method, params=None, id=None):
        id = next(conformance.ids) if id is None else id
        self.say(wire.legacy_body(method, params, id))
        while message := self.stream.message(15):
            schema.check(message, self.version, method, id)
            if "method" not in message:
                return message
            if "id" in message:
                self.answer(message)
            else:
                self.notifications.append(message)
        raise AssertionError("the stream ended before the answer")

    def call(self, tool, arguments=None, meta=None):
        params = {"name": tool, "arguments": arguments or {}}
        return wire.text_of(self.ask("tools/call", {**params, "_meta": meta} if meta else params))


def test_a_session_is_opened_and_used(target):
    with OldSession(target) as session:
        assert session.ask("ping")["result"] == {}
        assert "about" in [tool["name"] for tool in session.ask("tools/list")["result"]["tools"]]
        assert session.call("greet", {"name": "old friend"}) == "Hello, old friend!"
        assert session.ask("resources/read", {"uri": "test://static-text"})["result"]["contents"][0]["text"]
        assert session.ask("prompts/get", {"name": "test_simple_prompt"})["result"]["messages"]


def test_progress_comes_on_the_same_stream(target):
    with OldSession(target) as session:
        session.call("test_tool_with_progress", {}, {"progressToken": "old"})
        told = [each["params"]["progress"] for each in session.notifications if each["method"] == "notifications/progress"]
        assert told == [0, 50, 100]


def test_a_tool_asks_the_clients_model(target):
    def speak(params):
        return {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "tested"}

    with OldSession(target, {"sampling": {}}, {"sampling/createMessage": speak}) as session:
        assert session.call("test_sampling", {"prompt": "Capital?"}) == "LLM response: Paris"


def test_a_change_is_told(target):
    with OldSession(target) as session, OldSession(target) as other:
        session.ask("tools/list")
        other.call("test_trigger_prompt_change")
        assert session.stream.message(10)["method"] == "notifications/prompts/list_changed"


def test_two_sessions_do_not_hear_each_other(target):
    with OldSession(target) as one, OldSession(target) as two:
        for number, session in enumerate((one, two, one)):
            assert session.call("greet", {"name": str(number)}) == f"Hello, {number}!"
            assert not session.notifications


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_a_newer_client_may_use_the_old_transport(target, version):
    with OldSession(target, version=version) as session:
        assert session.call("greet") == "Hello, World!"


def test_the_end_of_the_stream_is_the_end_of_the_session(target):
    with OldSession(target) as session:
        pass
    conformance.house.eventually(lambda: session.post(wire.legacy_body("ping")).status in (404, 400, 410), 10, "the end")


def test_nobody_can_post_to_a_session_that_is_not(target):
    with OldSession(target) as session:
        name, _, value = session.address.rpartition("=")
        for address in (f"{name}={value[::-1]}", session.address.split("?")[0]):
            headers = {"Content-Type": "application/json"}
            response = target.exchange(target.request("POST", headers, json.dumps({}).encode(), path=address))
            assert 400 <= response.status < 500, (address, response)
        assert session.ask("ping")["result"] == {}
