# Licensed under the Apache License 2.0; see LICENSE.
"""The headers that repeat the body, and those that carry arguments; a conformance suite checks them, but does not score them."""

import json
import urllib.parse

import pytest

import wire
from conformance import MODERN_TARGETS

pytestmark = pytest.mark.parametrize("target", MODERN_TARGETS, indirect=True)

SIMPLE = {"name": "test_simple_text", "arguments": {}}


def code_of(exchange):
    return exchange.status, exchange.error["code"]


def test_the_first_tool_of_the_list_can_be_called_with_nothing(target):
    first = target.ask("tools/list").result["tools"][0]["name"]
    exchange = target.call(first, {})
    assert exchange.status == 200 and "result" in exchange.answer


MISTAKES = {
    "another method": ("tools/list", {}, {"Mcp-Method": "tools/call"}, ()),
    "no method": ("tools/list", {}, {}, ("Mcp-Method",)),
    "the method in capitals": ("tools/list", {}, {"Mcp-Method": "TOOLS/LIST"}, ()),
    "another tool": ("tools/call", SIMPLE, {"Mcp-Name": "test_error_handling"}, ()),
    "no tool": ("tools/call", SIMPLE, {}, ("Mcp-Name",)),
    "another prompt": ("prompts/get", {"name": "test_simple_prompt"}, {"Mcp-Name": "test_prompt_with_image"}, ()),
    "no prompt": ("prompts/get", {"name": "test_simple_prompt"}, {}, ("Mcp-Name",)),
    "another resource": ("resources/read", {"uri": "test://static-text"}, {"Mcp-Name": "test://static-binary"}, ()),
    "no resource": ("resources/read", {"uri": "test://static-text"}, {}, ("Mcp-Name",)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_header_that_differs_from_the_body_is_refused(target, name):
    method, params, headers, drop = MISTAKES[name]
    assert code_of(target.ask(method, params, headers=headers, drop=drop)) == (400, -32020)


def test_the_case_of_header_names_and_space_around_values_do_not_matter(target):
    id, body = 5, wire.modern_body("tools/call", SIMPLE, 5)
    fields = {name.upper(): f"  {value} " for name, value in wire.modern_headers("tools/call", "test_simple_text").items()}
    response = target.exchange(target.request("POST", fields, body))
    assert response.status == 200 and response.json["id"] == id and "result" in response.json


@pytest.mark.parametrize("uri", ["test://static-text", "test://template/a b/data", "test://template/☃/data"])
def test_an_address_travels_in_a_header(target, uri):
    (content,) = target.ask("resources/read", {"uri": uri}).result["contents"]
    # The first generation of the SDK spells such letters in its own way.
    assert urllib.parse.unquote(content["uri"]) == uri


@pytest.fixture
def routed(target):
    """A tool that wants arguments in headers, and the name of each header by argument; as a client finds it in the list."""
    if target.upstream == "legacy":
        pytest.skip("headers of arguments are of the modern era")
    for tool in target.pages("tools/list", "tools"):
        properties = tool["inputSchema"].get("properties", {}).items()
        names = {name: each["x-mcp-header"] for name, each in properties if "x-mcp-header" in each}
        if names:
            assert tool["name"] == "routed_echo" and set(names) == {"tenant", "count", "urgent"}
            return names
    pytest.skip("the gateway does not ask its clients for headers of arguments")


def call(target, names, arguments, **replaced):
    """The call with its headers; `replaced` gives another value for an argument's header, None leaves it out."""
    headers = {f"Mcp-Param-{names[name]}": wire.header_text(value) for name, value in arguments.items()
               if name in names and value is not None}
    drop = [f"Mcp-Param-{names[name]}" for name, value in replaced.items() if value is None]
    headers |= {f"Mcp-Param-{names[name]}": value for name, value in replaced.items() if value is not None}
    return target.ask("tools/call", {"name": "routed_echo", "arguments": arguments}, headers=headers, drop=drop)


def test_a_tool_with_arguments_in_headers_works_with_what_its_list_says(target):
    """Whether a gateway hands the annotation on or takes it away, a client that follows the list gets through."""
    if target.upstream == "legacy":
        pytest.skip("headers of arguments are of the modern era")
    schema = next(tool for tool in target.pages("tools/list", "tools") if tool["name"] == "routed_echo")["inputSchema"]
    names = {name: each.get("x-mcp-header") for name, each in schema["properties"].items()}
    arguments = {"tenant": "Müller", "count": 3, "urgent": True, "note": "n"}
    headers = {f"Mcp-Param-{names[name]}": wire.header_text(value) for name, value in arguments.items() if names[name]}
    exchange = target.ask("tools/call", {"name": "routed_echo", "arguments": arguments}, headers=headers)
    assert json.loads(exchange.text) == arguments


@pytest.mark.parametrize("arguments", [
    {"tenant": "acme"}, {"tenant": "Müller ☃"}, {"tenant": " padded "}, {"tenant": "=?base64?bm8=?="}, {"tenant": ""},
    {"tenant": "a\tb"}, {"tenant": "two\nlines"}, {"count": 42}, {"count": -(2**53 - 1)}, {"urgent": True}, {"urgent": False},
    {"tenant": None, "note": "ü"}, {"tenant": "t", "count": 1, "urgent": False, "note": "all"}, {}], ids=repr)
def test_arguments_in_headers_are_taken(target, routed, arguments):
    assert json.loads(call(target, routed, arguments).text) == arguments


@pytest.mark.parametrize("header", ["=?base64?SGVsbG8=?=", "Hello", "\t Hello  "])
def test_a_header_may_be_encoded_or_plain(target, routed, header):
    assert json.loads(call(target, routed, {"tenant": "Hello"}, tenant=header).text) == {"tenant": "Hello"}


@pytest.mark.parametrize("text", ["base64?SGVsbG8=?=", "=?base64?SGVsbG8=", "=?BASE64?SGVsbG8=?=", "SGVsbG8="])
def test_what_only_resembles_an_encoding_is_a_text(target, routed, text):
    assert json.loads(call(target, routed, {"tenant": text}, tenant=text).text) == {"tenant": text}


@pytest.mark.parametrize("header", ["=?base64?SGVsbG8?=", "=?base64?SGVs!!!bG8=?=", "=?base64?SGVsbG8==?="],
                         ids=["no padding", "no such letter", "too much padding"])
def test_a_broken_encoding_is_refused(target, routed, header):
    assert code_of(call(target, routed, {"tenant": "Hello"}, tenant=header)) == (400, -32020)


@pytest.mark.parametrize("arguments, replaced", [
    ({"tenant": "acme"}, {"tenant": None}), ({"tenant": "acme"}, {"tenant": "Acme"}), ({"tenant": "acme"}, {"tenant": "other"}),
    ({"count": 7}, {"count": "8"}), ({"count": 7}, {"count": None}), ({"urgent": True}, {"urgent": "false"}),
    ({"urgent": True}, {"urgent": "True"}), ({"note": "n"}, {"tenant": "acme"})], ids=repr)
def test_a_header_that_differs_from_its_argument_is_refused(target, routed, arguments, replaced):
    assert code_of(call(target, routed, arguments, **replaced)) == (400, -32020)


def test_whole_numbers_are_compared_as_numbers(target, routed):
    assert json.loads(call(target, routed, {"count": 42}, count="42.0").text) == {"count": 42}


def test_a_header_of_no_argument_is_ignored(target):
    exchange = target.ask("tools/call", SIMPLE, headers={"Mcp-Param-Nobody": "x"})
    assert "result" in exchange.answer
