# Licensed under the Apache License 2.0; see LICENSE.
"""A server of the legacy era asks its client in the middle of a call: sampling, elicitation and roots, on the call's own stream.

The upstream behind a gateway may be modern and ask by a result instead; the client must not see a difference.
"""

import concurrent.futures
import json

import pytest

import conformance
from conformance import LEGACY_TARGETS, Refused

pytestmark = pytest.mark.parametrize("target", LEGACY_TARGETS, indirect=True)

EVERYTHING = {"elicitation": {}, "sampling": {}, "roots": {}}
PAGES = {"elicitation": {"form": {}, "url": {}}}


class Person:
    """Answers whatever it is asked, and remembers what that was."""

    def __init__(self, **content):
        self.asked, self.content = [], content
        self.answers = {"elicitation/create": self.fill_in, "sampling/createMessage": self.speak, "roots/list": self.roots}

    def fill_in(self, params):
        self.asked.append(params)
        fields = params.get("requestedSchema", {}).get("properties", {})
        filled = {name: self.content.get(name, field.get("default", "Ada")) for name, field in fields.items()}
        return {"action": "accept", "content": filled}

    def speak(self, params):
        self.asked.append(params)
        return {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "tested", "stopReason": "endTurn"}

    def roots(self, params):
        self.asked.append(params)
        return {"roots": [{"uri": "file:///home/ada", "name": "home"}]}


def talk(target, person, capabilities=EVERYTHING, version="2025-11-25"):
    return target.session(version, capabilities, person.answers)


def test_a_tool_asks_the_clients_model(target):
    person = Person()
    exchange = talk(target, person).call("test_sampling", {"prompt": "What is the capital of France?"})
    assert exchange.text == "LLM response: Paris"
    (asked,) = person.asked
    assert asked["maxTokens"] == 100 and asked["messages"][0]["content"]["text"] == "What is the capital of France?"
    assert [each["method"] for each in exchange.requests] == ["sampling/createMessage"], "on the stream of the call"


def test_a_tool_asks_the_user(target):
    person = Person(username="ada", email="ada@example.com")
    exchange = talk(target, person).call("test_elicitation", {"message": "Who are you?"})
    assert exchange.text.startswith("User response: accept") and '"email": "ada@example.com"' in exchange.text
    (asked,) = person.asked
    assert asked["message"].endswith("Who are you?")
    assert asked["requestedSchema"]["required"] == ["username", "email"]
    assert [each["method"] for each in exchange.requests] == ["elicitation/create"], "on the stream of the call"


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_a_user_may_say_no(target, action):
    session = target.session("2025-11-25", EVERYTHING, {"elicitation/create": lambda params: {"action": action}})
    assert session.call("test_elicitation", {"message": "?"}).text == f"User response: {action} {{}}"


def test_defaults_of_every_kind_arrive_in_a_form(target):
    person = Person()
    exchange = talk(target, person).call("test_elicitation_sep1034_defaults", {})
    fields = person.asked[0]["requestedSchema"]["properties"]
    assert fields["name"] == {"type": "string", "default": "John Doe"} and fields["age"] == {"type": "integer", "default": 30}
    assert fields["score"] == {"type": "number", "default": 95.5} and fields["verified"] == {"type": "boolean", "default": True}
    assert fields["status"] == {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"}
    assert json.loads(exchange.text.split(" accept ")[1]) == {
        "name": "John Doe", "age": 30, "score": 95.5, "status": "active", "verified": True}


def test_choices_of_every_form_arrive_in_a_form(target):
    person = Person(titledSingle="value1", untitledSingle="option2", legacyEnum="opt1", titledMulti=["value2"],
                    untitledMulti=["option1", "option3"])
    exchange = talk(target, person).call("test_elicitation_sep1330_enums", {})
    fields = person.asked[0]["requestedSchema"]["properties"]
    plain, titled = ["option1", "option2", "option3"], [{"const": f"value{n}", "title": f"Title {n}"} for n in (1, 2, 3)]
    assert fields["untitledSingle"] == {"type": "string", "enum": plain}
    assert fields["titledSingle"] == {"type": "string", "oneOf": titled}
    assert fields["legacyEnum"] == {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]}
    assert fields["untitledMulti"] == {
        "type": "array", "items": {"type": "string", "enum": plain}, "minItems": 1, "maxItems": 2}
    assert fields["titledMulti"] == {"type": "array", "items": {"anyOf": titled}}
    assert json.loads(exchange.text.split(" accept ")[1])["untitledMulti"] == ["option1", "option3"]


@pytest.mark.parametrize("tool, text", [
    ("test_input_required_result_elicitation", "Hello, Ada!"),
    ("test_input_required_result_sampling", "The model said: Paris"),
    ("test_input_required_result_list_roots", "Roots: file:///home/ada"),
    ("test_input_required_result_request_state", "state-ok True accept"),
    ("test_input_required_result_multiple_inputs", "Paris Ada, you have 1 roots."),
    ("test_input_required_result_multi_round", "Ada, then Ada"),
    ("test_input_required_result_capabilities", "Got: client_roots, greeting, user_name"),
    ("test_streaming_elicitation", "Hello, Ada!")])
def test_whatever_a_tool_needs_is_asked_for_during_the_call(target, tool, text):
    assert talk(target, Person()).call(tool, {}).text == text


def test_a_prompt_can_ask_too(target):
    result = talk(target, Person(context="the sea")).ask("prompts/get", {"name": "test_input_required_result_prompt"}).result
    assert result["messages"][0]["content"]["text"] == "About: the sea"


@pytest.mark.parametrize("capability, text", [
    ("sampling", "Got: greeting"), ("elicitation", "Got: user_name"), ("roots", "Got: client_roots")])
def test_only_what_the_client_can_do_is_asked_of_it(target, capability, text):
    assert talk(target, Person(), {capability: {}}).call("test_input_required_result_capabilities", {}).text == text


def test_a_client_that_can_do_nothing_is_asked_nothing(target):
    person = Person()
    session = talk(target, person, {})
    assert session.call("test_input_required_result_capabilities", {}).text == "This client can be asked nothing."
    if not conformance.DIRECT:
        # The SDKs leave it to each tool whether it looks first; a gateway does not let such a question through.
        exchange = session.call("test_input_required_result_elicitation", {})
        assert "error" in exchange.answer or exchange.result["isError"] is True
        assert not person.asked


def test_a_client_that_refuses_a_question_gets_an_answer_all_the_same(target):
    def refuse(params):
        raise Refused(-1, "the user does not want that")

    session = target.session("2025-11-25", EVERYTHING, {"sampling/createMessage": refuse})
    exchange = session.call("test_sampling", {"prompt": "?"})
    assert "error" in exchange.answer or exchange.result["isError"] is True
    assert session.call("greet", {}).text == "Hello, World!"


def test_progress_rises_over_a_question(target):
    exchange = talk(target, Person()).call("test_streaming_elicitation", {}, meta={"progressToken": "p"})
    told = [each["progress"] for each in exchange.told("notifications/progress")]
    assert told and told == sorted(set(told)), told


def test_a_page_to_open_is_asked_for_where_the_client_opens_pages(target):
    asked = []

    def open_page(params):
        asked.append(params)
        return {"action": "accept"}

    session = target.session("2025-11-25", PAGES, {"elicitation/create": open_page})
    assert session.call("ask_url", {"tag": "p"}).text == "p:accept"
    assert asked[0]["mode"] == "url" and asked[0]["url"] == "https://pages.invalid/p" and asked[0]["elicitationId"]


def test_sessions_never_see_each_others_questions(target):
    """Several sessions ask at once, each answers with its own word, and none hears of another's tag."""
    def life(number):
        person = Person(value=f"word {number}")
        session = talk(target, person)
        texts = [session.call("ask_and_echo", {"tag": f"{number}-{time}"}).text for time in range(3)]
        assert texts == [f"{number}-{time}:word {number}" for time in range(3)]
        assert [each["message"].endswith(f"{number}-{time}?") for time, each in enumerate(person.asked)] == [True] * 3

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(life, number) for number in range(4)]:
            one.result(60)


def test_one_session_may_be_asked_twice_at_once(target):
    person = Person(value="v")
    session = talk(target, person)
    exchanges = {tag: session.open("tools/call", {"name": "ask_and_echo", "arguments": {"tag": tag}}) for tag in ("a", "b")}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        texts = dict(zip(exchanges, pool.map(lambda exchange: exchange.finish(30).text, exchanges.values())))
    assert texts == {"a": "a:v", "b": "b:v"}


def test_elicitation_is_not_asked_of_a_revision_that_lacks_it(target):
    if conformance.DIRECT:
        pytest.skip("the SDKs ask whatever a tool asks, in any revision")
    person = Person()
    session = talk(target, person, version="2025-03-26")
    assert session.call("test_sampling", {"prompt": "?"}).text == "LLM response: Paris"
    exchange = session.call("test_input_required_result_elicitation", {})
    assert "error" in exchange.answer or exchange.result["isError"] is True
    assert len(person.asked) == 1


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_a_question_has_the_form_of_its_revision(target, version):
    person = Person()
    # The schema looks at each question by the session's revision.
    assert talk(target, person, version=version).call("test_input_required_result_elicitation", {}).text == "Hello, Ada!"
