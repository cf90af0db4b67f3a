# Licensed under the Apache License 2.0; see LICENSE.
"""A session of the legacy era as a conformance suite for 2025-11-25 checks it: the handshake, lists, calls, logging, its end."""

import json

import pytest

import wire
from conformance import LEGACY_TARGETS

pytestmark = pytest.mark.parametrize("target", LEGACY_TARGETS, indirect=True)


@pytest.fixture(scope="module")
def session(target):
    return target.session()


def test_the_handshake_tells_what_there_is(target):
    session = target.session()
    assert session.opened["protocolVersion"] == "2025-11-25"
    capabilities = session.opened["capabilities"]
    assert {"tools", "prompts", "resources", "completions", "logging"} <= set(capabilities)
    assert capabilities["resources"]["subscribe"] is True and capabilities["resources"]["listChanged"] is True
    assert capabilities["tools"]["listChanged"] is True and capabilities["prompts"]["listChanged"] is True


def test_a_session_id_is_visible_ascii(session):
    assert session.id and all(0x21 <= ord(letter) <= 0x7E for letter in session.id)


@pytest.mark.parametrize("version", wire.LEGACY)
def test_each_revision_is_spoken_as_asked(target, version):
    session = target.session(version)
    assert session.version == version
    assert session.ask("ping").result == {}
    assert session.call("greet", {"name": version}).text == f"Hello, {version}!"


def test_ping_and_log_level_are_answered_with_nothing(session):
    assert session.ask("ping").result == {}
    for level in ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"):
        assert session.ask("logging/setLevel", {"level": level}).result == {}


def test_a_log_level_that_is_none_is_refused(session):
    assert session.ask("logging/setLevel", {"level": "loud"}).error["code"] == -32602


@pytest.mark.parametrize("id", ["1", 0, 1_790_000_000_123, 2**53 + 1, 2**63 - 1, "☃"])
def test_an_id_comes_back_as_it_was_sent(session, id):
    assert session.ask("ping", id=id).answer["id"] == id
    assert session.call("greet", {}, id=id).answer["id"] == id
    assert session.call("no_such_tool", {}, id=id).answer["id"] == id


def test_an_unknown_method_is_an_error(session):
    assert session.ask("unknown/method").error["code"] in (-32601, -32602)
    assert session.ask("ping").result == {}


def test_every_tool_says_what_it_is(session):
    names = [tool["name"] for tool in session.pages("tools/list", "tools")]
    assert {"about", "test_simple_text", "json_schema_2020_12_tool"} <= set(names)


def test_tools_answer_with_every_kind_of_content(session):
    assert session.call("test_simple_text").text == "This is a simple text response for testing."
    (image,) = session.call("test_image_content", {}).result["content"]
    assert (image["type"], image["mimeType"]) == ("image", "image/png")
    (sound,) = session.call("test_audio_content", {}).result["content"]
    assert (sound["type"], sound["mimeType"]) == ("audio", "audio/wav")
    (inner,) = session.call("test_embedded_resource", {}).result["content"]
    assert inner["resource"]["uri"] == "test://embedded-resource" and inner["resource"]["text"]
    mixed = session.call("test_multiple_content_types", {}).result["content"]
    assert [block["type"] for block in mixed] == ["text", "image", "resource"]


def test_a_failed_tool_says_so_in_its_result(session):
    result = session.call("test_error_handling", {}).result
    assert result["isError"] is True and result["content"][0]["text"]


def test_an_unknown_tool_is_an_error(session):
    assert session.call("no_such_tool", {}).error["code"] == -32602


@pytest.mark.parametrize("token", ["a token", 7, 2**53 + 1])
def test_progress_comes_with_the_token_and_rises(session, token):
    told = session.call("test_tool_with_progress", {}, meta={"progressToken": token}).told("notifications/progress")
    assert [each["progress"] for each in told] == [0, 50, 100] and {each["total"] for each in told} == {100}
    assert all(each["progressToken"] == token and type(each["progressToken"]) is type(token) for each in told)


def test_a_client_without_a_token_gets_no_progress(session):
    assert not session.call("test_tool_with_progress", {}).told("notifications/progress")


def logged(target, level, tool, wanted):
    """What one call logs to a session at that level, on the call's stream and on the session's own."""
    session = target.session()
    with session.listen() as listener:
        session.ask("logging/setLevel", {"level": level})
        own = session.call(tool, {}).told("notifications/message")
        if target.transport == "stdio":
            # A log over stdio names no request and no session, so it may be kept back, or come from a process of its own.
            if len(own) < wanted:
                pytest.skip("a log over stdio names no request, and is not relayed here")
            return own
        listener.wait_for("notifications/message", wanted - len(own))
        # One more message of the session's own stream shows that nothing else was on its way.
        session.call("test_trigger_prompt_change", {})
        listener.wait_for("notifications/prompts/list_changed")
        return own + listener.wait_for("notifications/message", 0)


def test_log_messages_reach_the_client(target):
    messages = logged(target, "debug", "test_tool_with_logging", 3)
    assert [each["data"] for each in messages] == [
        "Tool execution started", "Tool processing data", "Tool execution completed"]
    assert {each["level"] for each in messages} == {"info"}


@pytest.mark.parametrize("level, levels", [
    ("debug", ["debug", "info", "error"]), ("info", ["info", "error"]), ("error", ["error"])])
def test_a_session_gets_the_levels_it_asked_for(target, level, levels):
    assert [each["level"] for each in logged(target, level, "test_logging_tool", len(levels))] == levels


def test_three_requests_at_once_are_all_answered(session):
    exchanges = [session.open("tools/list") for _ in range(3)]
    for exchange in reversed(exchanges):
        assert exchange.finish().status == 200 and exchange.result["tools"]


def test_every_page_of_resources_can_be_had(session):
    uris = {each["uri"] for each in session.pages("resources/list", "resources")}
    assert {"test://static-text", "test://static-binary", "test://watched-resource"} <= uris
    assert session.ask("resources/list", {"cursor": "made up"}).error["code"] == -32602


def test_resources_are_read(session):
    (text,) = session.ask("resources/read", {"uri": "test://static-text"}).result["contents"]
    assert text["text"] == "This is the content of the static text resource." and text["mimeType"] == "text/plain"
    (blob,) = session.ask("resources/read", {"uri": "test://static-binary"}).result["contents"]
    assert blob["mimeType"] == "image/png" and blob["blob"]
    assert [each["uriTemplate"] for each in session.pages("resources/templates/list", "resourceTemplates")]
    (data,) = session.ask("resources/read", {"uri": "test://template/123/data"}).result["contents"]
    assert data["uri"] == "test://template/123/data" and json.loads(data["text"])["id"] == "123"


def test_a_resource_that_is_not_there_is_an_error_that_names_it(session):
    error = session.ask("resources/read", {"uri": "test://no-such-resource"}).error
    assert error["code"] == -32002 and error["data"]["uri"] == "test://no-such-resource"


def test_prompts_are_had(session):
    names = {each["name"] for each in session.pages("prompts/list", "prompts")}
    assert {"test_simple_prompt", "test_prompt_with_arguments"} <= names

    def messages(name, **arguments):
        return session.ask("prompts/get", {"name": name, "arguments": arguments}).result["messages"]

    assert messages("test_simple_prompt")[0]["content"]["text"]
    (filled,) = messages("test_prompt_with_arguments", arg1="hello", arg2="world")
    assert filled["content"]["text"] == "Prompt with arguments: arg1='hello', arg2='world'"
    inner, words = messages("test_prompt_with_embedded_resource", resourceUri="test://example")
    assert inner["content"]["resource"]["uri"] == "test://example" and words["content"]["type"] == "text"
    picture, words = messages("test_prompt_with_image")
    assert picture["content"]["mimeType"] == "image/png" and words["content"]["text"]
    assert session.ask("prompts/get", {"name": "no_such_prompt"}).error["code"] == -32602


def test_arguments_are_completed(session):
    ref, argument = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}, {"name": "arg1", "value": "par"}
    completion = session.ask("completion/complete", {"ref": ref, "argument": argument}).result["completion"]
    assert completion["values"] == ["paris", "park", "party"]
    more = {"ref": ref, "argument": {"name": "arg2", "value": "tw"}, "context": {"arguments": {"arg1": "paris"}}}
    assert session.ask("completion/complete", more).result["completion"]["values"] == ["two (arg1=paris)"]


def test_a_rich_schema_arrives_as_it_was_written(session):
    tools = {tool["name"]: tool["inputSchema"] for tool in session.pages("tools/list", "tools")}
    schema = tools["json_schema_2020_12_tool"]
    assert {"$schema", "$defs", "additionalProperties", "allOf", "anyOf", "if", "then", "else"} <= set(schema)
    assert schema["$defs"]["place"]["$anchor"] == "place"


@pytest.mark.parametrize("header", ["Host", "Origin"])
def test_a_page_of_elsewhere_is_refused(target, session, header):
    strange = {"Host": "evil.example.com", "Origin": "http://evil.example.com"}[header]
    for method, body in (("POST", wire.initialize_body()), ("POST", wire.legacy_body("ping")), ("GET", b""), ("DELETE", b"")):
        headers = {**(wire.LEGACY_HEADERS if b"initialize" in body else session.headers), header: strange}
        response = target.exchange(target.request(method, headers, body), method)
        assert 400 <= response.status < 500, (method, response)
    assert session.ask("ping").result == {}
    own = {"Host": f"127.0.0.1:{target.port}", "Origin": f"http://127.0.0.1:{target.port}"}[header]
    headers = {**session.headers, header: own}
    assert target.exchange(target.request("POST", headers, wire.legacy_body("ping"))).status == 200


def test_a_session_that_was_ended_is_not_found(target):
    session = target.session()
    response = session.delete()
    if response.status == 405:
        pytest.skip("sessions cannot be ended here")
    assert 200 <= response.status < 300, response
    assert session.post(wire.legacy_body("ping")).status == 404
    assert target.exchange(target.request("GET", {**session.headers, "Accept": "text/event-stream"}), "GET").status == 404


def test_a_request_without_its_session_is_refused(target, session):
    headers = {**session.headers, "Mcp-Session-Id": None}
    assert target.exchange(target.request("POST", headers, wire.legacy_body("ping"))).status == 400
    headers["Mcp-Session-Id"] = "never-given"
    assert target.exchange(target.request("POST", headers, wire.legacy_body("ping"))).status == 404


def test_a_clients_own_meta_reaches_the_tool(session):
    seen = json.loads(session.call("whoami_meta", {}, meta={"com.example/trace": {"a": 1}}).text)
    assert seen["com.example/trace"] == {"a": 1}
