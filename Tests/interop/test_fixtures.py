# Licensed under the Apache License 2.0; see LICENSE.
"""The fixture servers without any gateway, over the transports that direct mode does not reach: stdio, and that of 2024-11-05.

A failure here is one of the fixtures or of an SDK, and explains others.
"""

import pytest

import conformance
import gateway as house
import sdk
from wire import MODERN

ABLE = ["elicitation", "sampling", "roots"]
WATCHED = "test://watched-resource"


@pytest.fixture(scope="module", params=[
    ("mcp1", "legacy", "stdio", "2025-11-25"), ("mcp1", "modern", "stdio", "2025-11-25"), ("mcp1", "legacy", "sse", "2025-11-25"),
    ("mcp2", "legacy", "stdio", "2025-11-25"), ("mcp2", "modern", "stdio", MODERN)], ids="-".join)
def client(request, fixture_servers):
    kind, server, transport, revision = request.param
    place = conformance.fixture_command(server, "stdio")
    if transport == "sse":
        place = f"http://127.0.0.1:{fixture_servers(server).port}/sse"
    with sdk.Client(kind, place, able=ABLE, log_level="debug") as client:
        assert client.opened["connected"] == revision
        client.answers = lambda **answers: client.order(do="answers", answers=answers)
        yield client


def test_it_lists_reads_and_calls(client):
    tools = client.list()
    assert tools[0] == min(tools) == "about" and len(tools) == len(set(tools))
    assert len(client.order(do="resources")["resources"]) >= 3
    assert client.order(do="read", uri="test://static-text")["contents"]
    assert client.order(do="prompt", name="test_simple_prompt")["messages"]
    assert client.call("test_simple_text") == ("This is a simple text response for testing.", False)


def test_every_tool_can_be_called(client):
    """None ends in an error that nobody meant."""
    client.answers(elicitation={"action": "accept", "content": {"name": "n", "value": "v", "ok": True}}, sampling="s", roots=[])
    needed = {"test_sampling": {"prompt": "?"}, "test_elicitation": {"message": "?"}, "ask_and_echo": {"tag": "t"},
              "ask_model_and_echo": {"tag": "t"}, "structured_sum": {"a": 1, "b": 2}, "slow_compute": {"seconds": 0},
              "confirm_delete": {"filename": "f"}, "cancellable": {"seconds": 0}, "slow_progress": {"steps": 1, "pause": 0},
              "json_schema_2020_12_tool": {"name": "n", "contact": 1}}
    meant = {"protocol_error_job": -32603, "failing_job": -32021 if client.opened["connected"] == MODERN else None}
    for name in set(client.list()) - {"extra_tool", "triggered_tool"}:  # these come and go with some of the others
        answer = client.order(do="call", name=name, arguments=needed.get(name, {}))
        if "failure" in answer:
            assert answer.get("code") == meant.get(name, "none"), (name, answer, client.complaints())
        else:
            assert answer["isError"] is (name in ("test_error_handling", "failing_job")), (name, answer)
    assert client.order(do="call", name="ask_and_echo")["isError"] is True, "an argument is missing"


def test_it_is_asked_during_a_call(client):
    client.answers(elicitation={"action": "accept", "content": {"value": "mine"}}, sampling="Paris", roots=["file:///a"])
    assert client.call("ask_and_echo", {"tag": "t"}) == ("t:mine", False)
    assert client.call("test_sampling", {"prompt": "?"}) == ("LLM response: Paris", False)
    assert client.call("test_input_required_result_list_roots") == ("Roots: file:///a", False)


def test_it_hears_progress_and_log(client):
    client.start("heard", "slow_progress", {"steps": 3, "tag": "heard"})
    assert client.finish("heard") == ("heard: 3 steps", False)
    house.eventually(lambda: len(client.heard("progress", **{"as": "heard"})) == 3, 5, "progress")
    house.eventually(lambda: len(client.heard("told", logger="heard")) == 3, 5, "the log")


def test_it_cancels(client):
    client.start("long", "cancellable", {"seconds": 60, "tag": "fixture"})
    house.eventually(lambda: client.call("was_cancelled", {"tag": "fixture"})[0] == "running", 5, "the beginning")
    client.order(**{"do": "cancel", "as": "long"})
    house.eventually(lambda: client.call("was_cancelled", {"tag": "fixture"})[0] == "cancelled", 5, "the end")


def test_it_hears_of_changes(client):
    if client.opened["connected"] == MODERN:
        client.order(do="listen", tools=True, resources=True, uris=[WATCHED])
    else:
        client.order(do="subscribe", uri=WATCHED)
    for trigger, what in (("change_tools", "tools/list_changed"), ("touch_watched", "resources/updated"),
                          ("change_resources", "resources/list_changed")):
        client.call(trigger)
        method = f"notifications/{what}"
        house.eventually(lambda: client.heard("told", told=method), 5, method)


def test_it_ends_cleanly(client):
    assert client.close() == {"closed": True}, client.complaints()
