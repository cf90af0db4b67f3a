# Licensed under the Apache License 2.0; see LICENSE.
"""Each legacy revision gets only what it knows, and still all of the meaning. `schema.check` looks at every message by it."""

import json

import pytest

import conformance
import wire

pytestmark = [
    pytest.mark.skipif(conformance.DIRECT, reason="the SDKs do not look at the revision that was agreed"),
    pytest.mark.parametrize("target", conformance.LEGACY_TARGETS, indirect=True),
    pytest.mark.parametrize("version", wire.LEGACY),
]


@pytest.fixture
def session(target, version):
    return target.session(version)


def test_lists_hold_only_members_that_the_revision_knows(session, version):
    tools = {tool["name"]: tool for tool in session.pages("tools/list", "tools")}
    assert ("outputSchema" in tools["structured_sum"]) is (version >= "2025-06-18")
    assert ("title" in tools["test_simple_text"]) is (version >= "2025-06-18")
    assert ("annotations" in tools["test_simple_text"]) is (version >= "2025-03-26")


def test_a_tool_does_not_speak_of_headers_that_the_era_lacks(session, version):
    """Nobody is harmed by such an annotation, but nobody can follow it either."""
    for tool in session.pages("tools/list", "tools"):
        assert "x-mcp-header" not in json.dumps(tool["inputSchema"]), tool["name"]


def test_structured_data_is_left_out_but_its_text_stays(session, version):
    result = session.call("structured_sum", {"a": 2, "b": 40}).result
    assert ("structuredContent" in result) is (version >= "2025-06-18")
    assert json.loads(result["content"][0]["text"]) == {"sum": 42}


def test_a_list_as_data_is_wrapped_or_left_out(session, target, version):
    if target.upstream == "legacy":
        pytest.skip("structured data of the legacy era is always an object")
    result = session.call("structured_list", {}).result
    assert result.get("structuredContent", {"result": [1, 2, 3]}) == {"result": [1, 2, 3]}
    assert result["content"][0]["text"] == "[1, 2, 3]"


def test_a_link_keeps_its_address(session, version):
    content = session.call("linked_resource", {}).result["content"]
    assert (content[0]["type"] == "resource_link") is (version >= "2025-06-18")
    assert "test://static-text" in json.dumps(content)


def test_a_sound_is_kept_in_some_form(session, version):
    content = session.call("test_audio_content", {}).result["content"]
    assert content and (content[0]["type"] == "audio") is (version >= "2025-03-26")


def test_progress_keeps_its_numbers(session, version):
    told = session.call("slow_progress", {"steps": 2, "tag": "t"}, meta={"progressToken": 1}).told("notifications/progress")
    assert [each["progress"] for each in told] == [1, 2]
    assert all(("message" in each) is (version >= "2025-03-26") for each in told)


def test_a_resource_that_is_not_there_has_the_code_of_the_era(session, version):
    assert session.ask("resources/read", {"uri": "test://none"}).error["code"] == -32002


def test_a_missing_capability_is_told_in_words(session, version):
    exchange = session.call("test_missing_capability", {})
    assert "error" in exchange.answer or exchange.result["isError"] is True


def test_capabilities_are_those_of_the_revision(session, version):
    capabilities = session.opened["capabilities"]
    assert "extensions" not in capabilities
    assert "completions" not in capabilities or version >= "2025-03-26"
    assert "tasks" not in capabilities or version == "2025-11-25"
    assert session.ask("completion/complete", {
        "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"}, "argument": {"name": "arg1", "value": "par"},
    }).result["completion"]["values"] == ["paris", "park", "party"]
