# Licensed under the Apache License 2.0; see LICENSE.
"""Clients of both SDK generations on servers of both, in all four pairs: whatever one side wants, the other gets in its own way.

The gateway between them answers a new client in the new way, whatever the server behind it speaks. In direct mode there is no
gateway, and a new client falls back to the old way before an old server.
"""

import json

import pytest

import conformance
import exposition
import gateway as house
import sdk
from conformance import LEGACY_TARGETS
from wire import MODERN

pytestmark = [
    pytest.mark.parametrize("kind", ["mcp1", "mcp2"], ids=["old client", "new client"], scope="module"),
    pytest.mark.parametrize("target", LEGACY_TARGETS, indirect=True, scope="module"),
]
ABLE = ["elicitation", "sampling", "roots"]
WATCHED = "test://watched-resource"


def connect(target, kind, **options):
    return sdk.Client(kind, f"http://127.0.0.1:{target.port}/mcp", **{"able": ABLE, "log_level": "debug", **options})


@pytest.fixture(scope="module")
def client(target, kind):
    with connect(target, kind) as client:
        if kind == "mcp1":
            client.order(do="level", level="debug")
        yield client


def answer(client, **answers):
    client.order(do="answers", answers=answers)


def is_new(client):
    return client.opened["connected"] == MODERN


def test_each_speaks_the_newest_that_it_can(client, target, kind):
    newest = MODERN if kind == "mcp2" and not (conformance.DIRECT and target.upstream == "legacy") else "2025-11-25"
    assert client.opened["connected"] == newest


def test_everything_is_listed(client):
    assert {"about", "ask_and_echo", "slow_progress"} <= set(client.list())
    uris = {each["uri"] for each in client.order(do="resources")["resources"]}
    assert {"test://static-text", "test://static-binary", WATCHED} <= uris
    assert client.order(do="templates")["resourceTemplates"][0]["uriTemplate"] == "test://template/{id}/data"
    assert "test_simple_prompt" in {each["name"] for each in client.order(do="prompts")["prompts"]}


def test_resources_are_read_and_prompts_had(client):
    assert client.order(do="read", uri="test://static-text")["contents"][0]["text"].startswith("This is the content")
    assert client.order(do="read", uri="test://static-binary")["contents"][0]["blob"]
    assert "123" in client.order(do="read", uri="test://template/123/data")["contents"][0]["text"]
    arguments = {"arg1": "a", "arg2": "b"}
    messages = client.order(do="prompt", name="test_prompt_with_arguments", arguments=arguments)["messages"]
    assert messages[0]["content"]["text"] == "Prompt with arguments: arg1='a', arg2='b'"


def test_arguments_are_completed(client):
    ref, argument = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}, {"name": "arg1", "value": "par"}
    assert client.order(do="complete", ref=ref, argument=argument)["completion"]["values"] == ["paris", "park", "party"]


def test_errors_have_the_code_of_the_clients_era(client):
    assert client.order(do="read", uri="test://none")["code"] == (-32602 if is_new(client) else -32002)
    assert client.order(do="prompt", name="none")["code"] == -32602
    assert client.order(do="call", name="none")["code"] == -32602
    assert client.call("test_error_handling")[1] is True


def test_every_kind_of_content_arrives(client):
    content = client.order(do="call", name="test_multiple_content_types")["content"]
    assert [block["type"] for block in content] == ["text", "image", "resource"]
    assert client.order(do="call", name="structured_sum", arguments={"a": 1, "b": 2})["structuredContent"] == {"sum": 3}
    assert client.order(do="call", name="test_audio_content")["content"][0]["mimeType"] == "audio/wav"


def test_the_user_is_asked(client):
    answer(client, elicitation={"action": "accept", "content": {"username": "ada", "email": "ada@example.com"}})
    text, is_error = client.call("test_elicitation", {"message": "Who are you?"})
    assert not is_error and text.startswith("User response: accept") and "ada@example.com" in text
    asked = client.heard("asked", asked="elicitation")[-1]
    assert asked["message"].endswith("Who are you?") and set(asked["requestedSchema"]["properties"]) == {"username", "email"}


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_the_user_may_say_no(client, action):
    answer(client, elicitation={"action": action})
    assert client.call("test_elicitation", {"message": "?"}) == (f"User response: {action} {{}}", False)


def test_a_page_is_opened(client):
    answer(client, elicitation={"action": "accept"})
    assert client.call("ask_url", {"tag": "p"}) == ("p:accept", False)
    asked = client.heard("asked", asked="elicitation")[-1]
    assert (asked["mode"], asked["url"]) == ("url", "https://pages.invalid/p")
    assert ("elicitationId" in asked) is not is_new(client)


def test_the_model_is_asked(client):
    answer(client, sampling="Paris")
    assert client.call("test_sampling", {"prompt": "What is the capital of France?"}) == ("LLM response: Paris", False)
    asked = client.heard("asked", asked="sampling")[-1]
    assert asked["maxTokens"] == 100 and asked["messages"][0]["content"]["text"] == "What is the capital of France?"


def test_the_roots_are_asked_for(client):
    answer(client, roots=["file:///home/ada", "file:///tmp"])
    assert client.call("test_input_required_result_list_roots") == ("Roots: file:///home/ada, file:///tmp", False)


def test_several_questions_at_once_and_one_after_the_other(client):
    filled = {"action": "accept", "content": {"name": "Ada", "value": "v"}}
    answer(client, elicitation=filled, sampling="Hello", roots=["file:///a"])
    assert client.call("test_input_required_result_multiple_inputs") == ("Hello Ada, you have 1 roots.", False)
    assert client.call("test_input_required_result_multi_round") == ("v, then v", False)


def test_a_prompt_asks_too(client):
    answer(client, elicitation={"action": "accept", "content": {"context": "the sea"}})
    messages = client.order(do="prompt", name="test_input_required_result_prompt")["messages"]
    assert messages[0]["content"]["text"] == "About: the sea"


def test_a_state_is_carried_for_the_server(client):
    answer(client, elicitation={"action": "accept", "content": {"ok": True}})
    assert client.call("test_input_required_result_request_state") == ("state-ok True accept", False)


def test_the_server_is_told_what_this_client_can_do(target, kind):
    for able in (["sampling"], ["elicitation", "roots"]):
        with connect(target, kind, able=able) as client:
            told = json.loads(client.call("about")[0])["capabilities"]
            assert set(told) & set(ABLE) <= set(able), "never more than the client can do"
            answer(client, elicitation={"action": "accept", "content": {"name": "Ada"}})
            names = {"sampling": "greeting", "elicitation": "user_name", "roots": "client_roots"}
            wanted = ", ".join(sorted(names[each] for each in able))
            assert client.call("test_input_required_result_capabilities") == (f"Got: {wanted}", False)


def test_a_client_that_cannot_be_asked_is_not(target, kind):
    with connect(target, kind, able=[]) as client:
        assert client.call("test_input_required_result_capabilities") == ("This client can be asked nothing.", False)
        refused = client.order(do="call", name="ask_and_echo", arguments={"tag": "x"})
        assert "failure" in refused or refused["isError"] is True
        assert not client.heard("asked") and client.call("greet") == ("Hello, World!", False)


def test_progress_arrives_in_order(client):
    client.start("progress", "slow_progress", {"steps": 4, "tag": "p"})
    assert client.finish("progress") == ("p: 4 steps", False)
    heard = house.eventually(lambda: len(found := client.heard("progress", **{"as": "progress"})) == 4 and found, 10, "progress")
    assert [(each["progress"], each["total"], each["message"]) for each in heard] == [
        (number, 4, f"p {number}") for number in (1, 2, 3, 4)]


def test_log_messages_arrive(client, target):
    if is_new(client) and target.upstream == "legacy":
        pytest.skip("a legacy server's log belongs to its session, and may be kept from a modern request")
    client.call("slow_progress", {"steps": 2, "tag": "logged"})
    logs = house.eventually(lambda: len(found := logs_of(client, "logged")) >= 2 and found, 10, "the log")
    assert [each["data"]["step"] for each in logs] == [1, 2] and {each["level"] for each in logs} == {"info"}


def logs_of(client, tag):
    return [each for each in client.heard("told", told="notifications/message") if each.get("logger") == tag]


def test_a_change_of_the_lists_is_heard(client, target, kind):
    with connect(target, kind) as other:
        if is_new(other):
            assert other.order(do="listen", tools=True, prompts=True, resources=True)["honoured"]
        else:
            other.list()
        for trigger, kind_ in (("test_trigger_tool_change", "tools"), ("test_trigger_prompt_change", "prompts"),
                               ("change_resources", "resources")):
            client.call(trigger)
            method = f"notifications/{kind_}/list_changed"
            house.eventually(lambda: other.heard("told", told=method), 10, method)


def test_a_watched_resource_is_heard_of(client, target, kind):
    with connect(target, kind) as other:
        if is_new(other):
            assert other.order(do="listen", uris=[WATCHED]) == {"honoured": {"resourceSubscriptions": [WATCHED]}}
        else:
            assert "failure" not in other.order(do="subscribe", uri=WATCHED)
        client.call("touch_watched")
        told = house.eventually(lambda: other.heard("told", told="notifications/resources/updated"), 10, "the update")
        assert told[0]["uri"] == WATCHED and not client.heard("told", told="notifications/resources/updated")


def test_a_call_is_cancelled_all_the_way(client, target, kind):
    tag = f"{kind} {target.name}"
    client.start("long", "cancellable", {"seconds": 60, "tag": tag})
    house.eventually(lambda: client.call("was_cancelled", {"tag": tag})[0] == "running", 10, "the beginning")
    assert client.order(**{"do": "cancel", "as": "long"}) == {"cancelled": "long"}
    house.eventually(lambda: client.call("was_cancelled", {"tag": tag})[0] == "cancelled", 10, "the end")


def test_two_clients_of_one_server_never_hear_each_other(target, kind):
    """Questions, progress and logs of both run at the same time, also between a client of each generation."""
    other_kind = "mcp1" if kind == "mcp2" else "mcp2"
    with connect(target, kind) as left, connect(target, other_kind) as right:
        clients = {"left": left, "right": right}
        for name, client in clients.items():
            if not is_new(client):
                client.order(do="level", level="debug")
            answer(client, elicitation={"action": "accept", "content": {"value": f"of {name}"}}, sampling=f"said by {name}")
        for time in range(3):
            for name, client in clients.items():
                client.start("ask", "ask_and_echo", {"tag": f"{name}{time}"})
                client.start("model", "ask_model_and_echo", {"tag": f"{name}{time}"})
                client.start("slow", "slow_progress", {"tag": name, "steps": 3})
            for name, client in clients.items():
                assert client.finish("ask") == (f"{name}{time}:of {name}", False)
                assert client.finish("model") == (f"{name}{time}:said by {name}", False)
                assert client.finish("slow") == (f"{name}: 3 steps", False)
        for name, client in clients.items():
            other = "right" if name == "left" else "left"
            assert len(client.heard("asked")) == 6 and other not in json.dumps(client.heard("asked"))
            assert len(client.heard("progress", **{"as": "slow"})) == 9
            assert other not in json.dumps(client.heard("progress")) and other not in json.dumps(client.heard("told"))


def test_a_user_who_thinks_for_long_holds_up_nobody_else(target, kind):
    if target.name == "legacy-stdio":
        pytest.skip("a question over stdio does not say which call it belongs to, so the other call may have to wait")
    with connect(target, kind) as slow, connect(target, kind) as quick:
        answer(slow, elicitation={"action": "accept", "content": {"value": "at last"}, "wait": 1})
        slow.start("ask", "ask_and_echo", {"tag": "slow"})
        house.eventually(lambda: slow.heard("asked"), 10, "the question")
        answer(quick, elicitation={"action": "accept", "content": {"value": "at once"}})
        assert quick.call("ask_and_echo", {"tag": "quick"}) == ("quick:at once", False)
        assert quick.call("greet") == ("Hello, World!", False)
        assert slow.finish("ask") == ("slow:at last", False)


def test_the_time_a_user_takes_is_no_part_of_the_time_a_call_took(target, kind):
    if conformance.DIRECT:
        pytest.skip("there is no gateway that writes it down")
    if kind == "mcp2":
        pytest.skip("a new client is not waited for: it comes back with its answer")
    before = long_requests(target.gateway)
    with connect(target, kind) as client:
        answer(client, elicitation={"action": "accept", "content": {"value": "at last"}, "wait": 3})
        assert client.call("ask_and_echo", {"tag": "thinks"}) == ("thinks:at last", False)
    row = ("SELECT response_time_ms FROM request_log WHERE tool LIKE '%ask_and_echo' AND status = 'ok' "
           "ORDER BY id DESC LIMIT 1")
    took = house.eventually(lambda: target.gateway.sql(row), 10, "the row of the call")
    assert float(took) < 2_000, took
    assert long_requests(target.gateway) == before


def long_requests(gateway):
    """Those that took more than two seconds."""
    samples, _ = exposition.parse(gateway.get("/metrics").body.decode())
    buckets = {labels["le"]: value for labels, value in samples["http_request_duration_seconds_bucket"]
               if labels["path"] == "/mcp"}
    return buckets["+Inf"] - buckets["2"] if buckets else 0
