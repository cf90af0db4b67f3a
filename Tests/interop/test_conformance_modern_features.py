# Licensed under the Apache License 2.0; see LICENSE.
"""Tools, resources, prompts and completion in the modern era, as a conformance suite checks them on the fixtures."""

import json
import re

import pytest

import gateway as house
import wire
from conformance import MODERN_TARGETS

pytestmark = pytest.mark.parametrize("target", MODERN_TARGETS, indirect=True)


def kinds(exchange):
    return [block["type"] for block in exchange.result["content"]]


def test_every_tool_says_what_it_is(target):
    tools = target.pages("tools/list", "tools")
    assert {"about", "test_simple_text", "json_schema_2020_12_tool", "ask_and_echo"} <= {tool["name"] for tool in tools}
    for tool in tools:
        assert re.fullmatch(r"[A-Za-z0-9_./-]{1,64}", tool["name"]) and tool["description"], tool
        assert tool["inputSchema"]["type"] == "object", tool


def test_tools_come_in_the_same_order_each_time(target):
    first = [tool["name"] for tool in target.pages("tools/list", "tools")]
    assert [tool["name"] for tool in target.pages("tools/list", "tools")] == first


def test_a_tool_answers_with_a_text_also_when_called_without_arguments(target):
    exchange = target.call("test_simple_text")
    assert exchange.result["content"] == [{"type": "text", "text": "This is a simple text response for testing."}]
    assert exchange.result["resultType"] == "complete" and exchange.result.get("isError", False) is False


def test_a_tool_answers_with_a_picture(target):
    (block,) = target.call("test_image_content").result["content"]
    assert block["type"] == "image" and block["mimeType"] == "image/png" and len(block["data"]) > 50


def test_a_tool_answers_with_a_sound(target):
    (block,) = target.call("test_audio_content").result["content"]
    assert block["type"] == "audio" and block["mimeType"] == "audio/wav" and block["data"]


def test_a_tool_answers_with_a_resource_inside(target):
    (block,) = target.call("test_embedded_resource").result["content"]
    assert block == {"type": "resource", "resource": {
        "uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content."}}


def test_a_tool_answers_with_several_kinds_in_order(target):
    exchange = target.call("test_multiple_content_types")
    assert kinds(exchange) == ["text", "image", "resource"]
    resource = exchange.result["content"][2]["resource"]
    assert resource["uri"] == "test://mixed-content-resource" and json.loads(resource["text"]) == {"test": "data", "value": 123}


def test_a_tool_answers_with_a_link(target):
    (block,) = target.call("linked_resource").result["content"]
    assert block["type"] == "resource_link" and block["uri"] == "test://static-text"
    assert target.ask("resources/read", {"uri": block["uri"]}).result["contents"]


def test_a_failed_tool_says_so_in_its_result(target):
    result = target.call("test_error_handling").result
    assert result["isError"] is True and result["content"][0]["text"]


def test_structured_data_comes_with_a_text_of_it(target):
    result = target.call("structured_sum", {"a": 2, "b": 40}).result
    assert result["structuredContent"] == {"sum": 42} and json.loads(result["content"][0]["text"]) == {"sum": 42}


def test_a_list_may_be_structured_data(target):
    if target.upstream == "legacy":
        pytest.skip("structured data of the legacy era is always an object")
    assert target.call("structured_list").result["structuredContent"] == [1, 2, 3]


@pytest.mark.parametrize("token", ["a token", 7, 2**53 + 1])
def test_progress_comes_with_the_token_and_rises(target, token):
    exchange = target.call("test_tool_with_progress", {}, meta={"progressToken": token})
    told = exchange.told("notifications/progress")
    assert [each["progress"] for each in told] == [0, 50, 100] and {each["total"] for each in told} == {100}
    assert all(each["progressToken"] == token and type(each["progressToken"]) is type(token) for each in told)


def test_a_client_without_a_token_gets_no_progress(target):
    assert not target.call("test_tool_with_progress", {}).told("notifications/progress")


def test_progress_comes_while_the_call_runs(target):
    """The first word arrives before the last one is spoken, or nobody would need it."""
    arguments = {"steps": 100, "pause": 0.05, "tag": "early"}
    with target.open("tools/call", {"name": "slow_progress", "arguments": arguments}, meta={"progressToken": 1}) as exchange:
        assert exchange.next(4)["params"]["progress"] == 1


def test_progress_of_two_calls_with_one_token_does_not_mix(target):
    """The token is the client's own choice; two clients may well choose the same."""
    exchanges = {tag: target.open("tools/call", {"name": "slow_progress", "arguments": {"tag": tag, "steps": 4}},
                                  meta={"progressToken": "same"}) for tag in ("left", "right")}
    for tag, exchange in exchanges.items():
        told = exchange.finish().told("notifications/progress")
        assert [each["message"] for each in told] == [f"{tag} {number}" for number in (1, 2, 3, 4)]
        assert {each["progressToken"] for each in told} == {"same"}


def ended(target, tag):
    return target.call("was_cancelled", {"tag": tag}).text


def test_hanging_up_is_cancelling(target):
    params = {"name": "cancellable", "arguments": {"seconds": 60, "tag": "hung up"}}
    with target.open("tools/call", params, meta={"progressToken": 1}) as exchange:
        assert exchange.next(10)["method"] == "notifications/progress"
        assert ended(target, "hung up") == "running"
    house.eventually(lambda: ended(target, "hung up") == "cancelled", 10, "the end of the call")


def test_hanging_up_before_any_answer_is_cancelling_too(target):
    """No progress was asked for, so not even the head of an answer has come when the client goes."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "cancellable", "arguments": {"seconds": 60, "tag": "quiet"}, "_meta": wire.meta()}}).encode()
    with wire.Connection(target.port) as connection:
        connection.send(target.request("POST", wire.modern_headers("tools/call", "cancellable"), body))
        house.eventually(lambda: ended(target, "quiet") == "running", 10, "the beginning of the call")
    house.eventually(lambda: ended(target, "quiet") == "cancelled", 10, "the end of the call")


def test_every_page_of_resources_can_be_had(target):
    resources = {each["uri"]: each for each in target.pages("resources/list", "resources")}
    assert {"test://static-text", "test://static-binary", "test://watched-resource"} <= set(resources)
    assert all(each["name"] and each["description"] for each in resources.values())


def test_a_cursor_that_nobody_gave_is_refused(target):
    assert target.ask("resources/list", {"cursor": "made up"}).error["code"] == -32602


def test_a_text_is_read(target):
    (content,) = target.ask("resources/read", {"uri": "test://static-text"}).result["contents"]
    assert content == {"uri": "test://static-text", "mimeType": "text/plain",
                       "text": "This is the content of the static text resource."}


def test_a_blob_is_read(target):
    (content,) = target.ask("resources/read", {"uri": "test://static-binary"}).result["contents"]
    assert content["mimeType"] == "image/png" and content["blob"] and content["uri"] == "test://static-binary"


@pytest.mark.parametrize("id", ["123", "a%20b", "%E2%98%83"])
def test_a_resource_of_a_template_is_read(target, id):
    templates = target.pages("resources/templates/list", "resourceTemplates")
    assert "test://template/{id}/data" in [each["uriTemplate"] for each in templates]
    uri = f"test://template/{id}/data"
    (content,) = target.ask("resources/read", {"uri": uri}).result["contents"]
    assert content["uri"] == uri and id in content["text"]


def test_a_resource_that_is_not_there_is_an_error_that_names_it(target):
    exchange = target.ask("resources/read", {"uri": "test://no-such-resource"})
    assert exchange.error["code"] == -32602 and exchange.error["data"]["uri"] == "test://no-such-resource"


def test_every_prompt_says_what_it_is(target):
    prompts = {each["name"]: each for each in target.pages("prompts/list", "prompts")}
    assert {"test_simple_prompt", "test_prompt_with_arguments", "test_prompt_with_embedded_resource",
            "test_prompt_with_image"} <= set(prompts)
    assert [each["name"] for each in prompts["test_prompt_with_arguments"]["arguments"]] == ["arg1", "arg2"]


def prompt(target, name, **arguments):
    return target.ask("prompts/get", {"name": name, "arguments": arguments} if arguments else {"name": name})


def test_a_simple_prompt_is_a_message(target):
    (message,) = prompt(target, "test_simple_prompt").result["messages"]
    assert message["role"] == "user" and message["content"]["type"] == "text" and message["content"]["text"]


def test_arguments_are_put_into_a_prompt(target):
    (message,) = prompt(target, "test_prompt_with_arguments", arg1="hello ☃", arg2="it's").result["messages"]
    assert message["content"]["text"] == "Prompt with arguments: arg1='hello ☃', arg2='it's'"


def test_a_prompt_has_a_resource_in_it(target):
    messages = prompt(target, "test_prompt_with_embedded_resource", resourceUri="test://example-resource").result["messages"]
    assert messages[0]["content"]["resource"]["uri"] == "test://example-resource"
    assert messages[1]["content"]["type"] == "text"


def test_a_prompt_has_a_picture_in_it(target):
    messages = prompt(target, "test_prompt_with_image").result["messages"]
    assert messages[0]["content"]["type"] == "image" and messages[0]["content"]["mimeType"] == "image/png"


def test_a_prompt_that_is_not_there_is_an_error(target):
    assert prompt(target, "no_such_prompt").error["code"] == -32602


def test_a_prompt_without_its_arguments_is_an_error(target):
    assert prompt(target, "test_prompt_with_arguments", arg1="alone").error["code"] == -32602


def complete(target, ref, name, value, **more):
    return target.ask("completion/complete", {"ref": ref, "argument": {"name": name, "value": value}, **more})


def test_an_argument_of_a_prompt_is_completed(target):
    ref = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}
    assert complete(target, ref, "arg1", "par").result["completion"]["values"] == ["paris", "park", "party"]
    assert complete(target, ref, "arg1", "zzz").result["completion"]["values"] == []


def test_a_template_is_completed(target):
    ref = {"type": "ref/resource", "uri": "test://template/{id}/data"}
    assert complete(target, ref, "id", "12").result["completion"]["values"] == ["12", "123"]


def test_what_is_already_filled_in_travels_with_a_completion(target):
    ref = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}
    exchange = complete(target, ref, "arg2", "tw", context={"arguments": {"arg1": "paris"}})
    assert exchange.result["completion"]["values"] == ["two (arg1=paris)"]


def test_nothing_can_be_completed_for_what_is_not_there(target):
    assert complete(target, {"type": "ref/prompt", "name": "no_such_prompt"}, "x", "y").error["code"] == -32602


def test_lists_are_never_answered_with_a_question(target):
    everything = {"sampling": {}, "elicitation": {}, "roots": {}}
    for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
        assert target.ask(method, capabilities=everything).result["resultType"] == "complete"


def test_a_rich_schema_arrives_as_it_was_written(target):
    tools = {tool["name"]: tool["inputSchema"] for tool in target.pages("tools/list", "tools")}
    schema = tools["json_schema_2020_12_tool"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$defs"]["place"]["$anchor"] == "place" and schema["properties"]["address"] == {"$ref": "#/$defs/place"}
    assert schema["additionalProperties"] is False and schema["dependentRequired"] == {"tags": ["name"]}
    assert schema["allOf"] == [{"required": ["name"]}, {"not": {"required": ["forbidden"]}}]
    assert schema["anyOf"] == [{"required": ["address"]}, {"required": ["contact"]}, True]
    assert schema["if"] == {"properties": {"kind": {"const": "company"}}, "required": ["kind"]}
    assert schema["then"] == {"required": ["address"]} and schema["else"] == {"properties": {"tags": {"maxItems": 2}}}
    tags = schema["properties"]["tags"]
    assert tags["prefixItems"] == [{"type": "string"}, {"type": "number", "multipleOf": 0.5}] and tags["items"] is False


def test_a_tool_with_a_rich_schema_can_be_called(target):
    assert target.call("json_schema_2020_12_tool", {"name": "Ada", "contact": 7}).text == 'Taken: {"contact": 7, "name": "Ada"}'


def test_a_vendors_own_meta_reaches_the_tool_and_the_envelope_does_not_leak_wrongly(target):
    text = target.call("whoami_meta", {}, meta={"com.example/trace": {"a": [1, 2.5, "☃"]}}).text
    seen = json.loads(text)
    assert seen["com.example/trace"] == {"a": [1, 2.5, "☃"]}
    if target.upstream == "legacy":
        assert not [key for key in seen if key.startswith("io.modelcontextprotocol/")], seen
