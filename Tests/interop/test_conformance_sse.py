# Licensed under the Apache License 2.0; see LICENSE.
"""The transport of 2024-11-05: one event stream for everything the server says, and an address to post to."""

import json

import pytest

import conformance
import wire
from conformance import OldSession

# The modern fixture server does not offer this transport, so there is no looking at it directly.
TARGETS = ["legacy-http"] if conformance.DIRECT else conformance.EVERY
pytestmark = pytest.mark.parametrize("target", TARGETS, indirect=True)


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
