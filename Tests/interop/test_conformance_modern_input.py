# Licensed under the Apache License 2.0; see LICENSE.
"""Results that ask (`input_required`), as a conformance suite checks them; the upstream behind may be of either era.

A legacy upstream asks in the middle of its call, so the gateway holds that call open between the rounds and names the questions
as it likes. Their keys are asserted only where the server chose them itself.
"""

import concurrent.futures

import pytest

import conformance
from conformance import MODERN_TARGETS

pytestmark = pytest.mark.parametrize("target", MODERN_TARGETS, indirect=True)

EVERYTHING = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}
ANSWERS = {
    "elicitation/create": {"action": "accept", "content": {"name": "Ada", "ok": True, "value": "first", "context": "the sea"}},
    "sampling/createMessage": {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "tested"},
    "roots/list": {"roots": [{"uri": "file:///home/ada", "name": "home"}]},
}
ELICITATION = "test_input_required_result_elicitation"
STATE = "test_input_required_result_request_state"


def asked(exchange):
    """The questions of a round, and its state."""
    result = exchange.result
    assert result["resultType"] == "input_required", result
    return result["inputRequests"], result.get("requestState")


def answers_to(questions):
    return {key: ANSWERS[question["method"]] for key, question in questions.items()}


def only(questions, target, key, method):
    """The one question there is, of that method, under the server's own key where there is no bridge."""
    ((name, question),) = questions.items()
    assert question["method"] == method and (name == key or target.upstream == "legacy"), questions
    return name, question


@pytest.mark.parametrize("tool, key, method, text", [
    (ELICITATION, "user_name", "elicitation/create", "Hello, Ada!"),
    ("test_input_required_result_sampling", "capital_question", "sampling/createMessage", "The model said: Paris"),
    ("test_input_required_result_list_roots", "client_roots", "roots/list", "Roots: file:///home/ada")])
def test_a_question_is_answered_in_a_second_round(target, tool, key, method, text):
    questions, state = asked(target.call(tool, {}, capabilities=EVERYTHING))
    only(questions, target, key, method)
    done = target.call(tool, {}, responses=answers_to(questions), state=state, capabilities=EVERYTHING)
    assert done.result["resultType"] == "complete" and done.text == text


def test_a_question_carries_what_the_user_must_see(target):
    questions, state = asked(target.call(ELICITATION, {}, capabilities=EVERYTHING))
    _, question = only(questions, target, "user_name", "elicitation/create")
    # A gateway may say who asks, before the words.
    assert question["params"]["message"].endswith("What is your name?")
    assert question["params"]["requestedSchema"]["properties"]["name"] == {"type": "string"}
    target.call(ELICITATION, {}, responses=answers_to(questions), state=state, capabilities=EVERYTHING)


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_a_user_may_say_no(target, action):
    questions, state = asked(target.call(ELICITATION, {}, capabilities=EVERYTHING))
    no = {key: {"action": action} for key in questions}
    assert target.call(ELICITATION, {}, responses=no, state=state, capabilities=EVERYTHING).text == f"Hello, ({action})!"


def test_a_state_that_comes_back_is_taken(target):
    questions, state = asked(target.call(STATE, {}, capabilities=EVERYTHING))
    only(questions, target, "confirm", "elicitation/create")
    assert isinstance(state, str) and state
    done = target.call(STATE, {}, responses=answers_to(questions), state=state, capabilities=EVERYTHING)
    assert done.text == "state-ok True accept"


def test_three_things_can_be_asked_for_at_once(target):
    tool = "test_input_required_result_multiple_inputs"
    exchange, seen = target.call(tool, {}, capabilities=EVERYTHING), []
    if target.upstream == "modern":
        questions, state = asked(exchange)
        assert {"user_name", "greeting", "client_roots"} == set(questions) and isinstance(state, str)
    # A bridge collects simultaneous questions for a short while only, so those of a legacy server may take more rounds.
    while exchange.result["resultType"] == "input_required":
        questions, state = asked(exchange)
        seen += [question["method"] for question in questions.values()]
        assert len(seen) <= 3
        exchange = target.call(tool, {}, responses=answers_to(questions), state=state, capabilities=EVERYTHING)
    assert set(seen) == set(ANSWERS)
    assert exchange.text == "Paris Ada, you have 1 roots."


def test_two_rounds_can_follow_each_other(target):
    tool = "test_input_required_result_multi_round"
    first, state = asked(target.call(tool, {}, capabilities=EVERYTHING))
    only(first, target, "step1", "elicitation/create")
    second, later = asked(target.call(tool, {}, responses=answers_to(first), state=state, capabilities=EVERYTHING))
    key, _ = only(second, target, "step2", "elicitation/create")
    assert isinstance(state, str) and isinstance(later, str)
    assert later != state or target.upstream == "legacy"
    last = {key: {"action": "accept", "content": {"value": "second"}}}
    assert target.call(tool, {}, responses=last, state=later, capabilities=EVERYTHING).text == "first, then second"


def test_an_answer_under_a_wrong_key_is_asked_for_again(target):
    questions, state = asked(target.call(ELICITATION, {}, capabilities=EVERYTHING))
    wrong = {"not_the_key": ANSWERS["elicitation/create"]}
    again, state = asked(target.call(ELICITATION, {}, responses=wrong, state=state, capabilities=EVERYTHING))
    assert set(again) == set(questions)
    done = target.call(ELICITATION, {}, responses=answers_to(again), state=state, capabilities=EVERYTHING)
    assert done.text == "Hello, Ada!"


def test_no_answer_at_all_is_asked_for_again(target):
    questions, state = asked(target.call(ELICITATION, {}, capabilities=EVERYTHING))
    again, state = asked(target.call(ELICITATION, {}, responses={}, state=state, capabilities=EVERYTHING))
    assert set(again) == set(questions)
    target.call(ELICITATION, {}, responses=answers_to(again), state=state, capabilities=EVERYTHING)


def test_answers_to_nothing_are_ignored(target):
    questions, state = asked(target.call(ELICITATION, {}, capabilities=EVERYTHING))
    more = {**answers_to(questions), "extra": {"action": "accept", "content": {"x": 1}}, "another": ANSWERS["roots/list"]}
    assert target.call(ELICITATION, {}, responses=more, state=state, capabilities=EVERYTHING).text == "Hello, Ada!"


@pytest.mark.parametrize("nonsense", [42, None, "yes", [], {"action": "maybe"}], ids=repr)
def test_nonsense_is_not_taken_for_an_answer(target, nonsense):
    first = target.call(ELICITATION, {}, capabilities=EVERYTHING)
    questions, state = asked(first)
    responses = {key: nonsense for key in questions}
    exchange = target.call(ELICITATION, {}, responses=responses, state=state, capabilities=EVERYTHING)
    assert "error" in exchange.answer or exchange.result["resultType"] == "input_required", exchange.answer
    conformance.settle(target, ELICITATION, exchange if "result" in exchange.answer else first)


def test_a_prompt_can_ask_too(target):
    params = {"name": "test_input_required_result_prompt"}
    questions, state = asked(target.ask("prompts/get", params, capabilities=EVERYTHING))
    only(questions, target, "user_context", "elicitation/create")
    again = conformance.again(params, answers_to(questions), state)
    result = target.ask("prompts/get", again, capabilities=EVERYTHING).result
    assert result["resultType"] == "complete" and result["messages"][0]["content"]["text"] == "About: the sea"


@pytest.mark.parametrize("bend", [
    lambda state: state + "-TAMPERED", lambda state: "x" + state, lambda state: state[:-1], lambda state: "made up",
    lambda state: state[: len(state) // 2] + ("A" if state[len(state) // 2] != "A" else "B") + state[len(state) // 2 + 1:]],
    ids=["longer", "other beginning", "shorter", "made up", "one letter"])
def test_a_state_that_somebody_changed_is_an_error(target, bend):
    tool = "test_input_required_result_tampered_state"
    questions, state = asked(target.call(tool, {}, capabilities=EVERYTHING))
    bent = target.call(tool, {}, responses=answers_to(questions), state=bend(state), capabilities=EVERYTHING)
    assert bent.error["code"] == -32602, bent.answer
    done = target.call(tool, {}, responses=answers_to(questions), state=state, capabilities=EVERYTHING)
    assert done.text.startswith("state-ok"), "the real state is still good"


def test_a_state_is_good_for_its_own_call_only(target):
    tool = "ask_and_echo"
    questions, state = asked(target.call(tool, {"tag": "mine"}, capabilities=EVERYTHING))
    responses = {key: {"action": "accept", "content": {"value": "v"}} for key in questions}
    for name, arguments in ((tool, {"tag": "yours"}), (STATE, {})):
        other = target.call(name, arguments, responses=responses, state=state, capabilities=EVERYTHING)
        assert other.error["code"] == -32602, other.answer
    assert target.call(tool, {"tag": "mine"}, responses=responses, state=state, capabilities=EVERYTHING).text == "mine:v"


@pytest.mark.parametrize("capability, method", [
    ("sampling", "sampling/createMessage"), ("elicitation", "elicitation/create"), ("roots", "roots/list")])
def test_only_what_the_client_can_do_is_asked_of_it(target, capability, method):
    tool, able = "test_input_required_result_capabilities", {capability: {}}
    questions, state = asked(target.call(tool, {}, capabilities=able))
    assert [question["method"] for question in questions.values()] == [method]
    done = target.call(tool, {}, responses=answers_to(questions), state=state, capabilities=able)
    assert done.result["resultType"] == "complete"


def test_a_client_that_can_do_nothing_is_asked_nothing(target):
    assert target.call("test_input_required_result_capabilities", {}).text == "This client can be asked nothing."
    exchange = target.call(ELICITATION, {})
    if "error" in exchange.answer:
        assert exchange.error["code"] == -32021 and "elicitation" in exchange.error["data"]["requiredCapabilities"]
    else:
        assert exchange.result["resultType"] == "complete" and exchange.result["isError"] is True


def test_defaults_and_choices_of_a_form_arrive_whole(target):
    questions, state = asked(target.call("test_elicitation_sep1034_defaults", {}, capabilities=EVERYTHING))
    ((key, question),) = questions.items()
    fields = question["params"]["requestedSchema"]["properties"]
    assert {name: field["default"] for name, field in fields.items()} == {
        "name": "John Doe", "age": 30, "score": 95.5, "status": "active", "verified": True}
    done = {"action": "accept", "content": {"name": "Ada", "age": 36, "score": 0.5, "status": "pending", "verified": False}}
    exchange = target.call("test_elicitation_sep1034_defaults", {}, responses={key: done}, state=state, capabilities=EVERYTHING)
    assert '"age": 36' in exchange.text and '"score": 0.5' in exchange.text and '"verified": false' in exchange.text


def ask_for(target, tag):
    questions, state = asked(target.call("ask_and_echo", {"tag": tag}, capabilities=EVERYTHING))
    ((key, question),) = questions.items()
    assert question["params"]["message"].endswith(f"A value for {tag}?")
    return tag, key, state


def answer_for(target, tag, key, state):
    given = {key: {"action": "accept", "content": {"value": f"of {tag}"}}}
    return target.call("ask_and_echo", {"tag": tag}, responses=given, state=state, capabilities=EVERYTHING).text


def test_questions_that_are_open_at_the_same_time_each_get_their_own_answer(target):
    tags = ["one", "two", "three"]
    if target.name == "legacy-stdio":
        # A question over stdio does not say which call it belongs to, so there may be one open call at a time; the others wait.
        with concurrent.futures.ThreadPoolExecutor(len(tags)) as pool:
            texts = list(pool.map(lambda tag: answer_for(target, *ask_for(target, tag)), tags))
    else:
        open_ones = [ask_for(target, tag) for tag in tags]
        texts = [answer_for(target, *one) for one in reversed(open_ones)][::-1]
    assert texts == [f"{tag}:of {tag}" for tag in tags]


def test_a_page_to_open_is_asked_for_where_the_client_opens_pages(target):
    able = {"elicitation": {"form": {}, "url": {}}}
    questions, state = asked(target.call("ask_url", {"tag": "p"}, capabilities=able))
    ((key, question),) = questions.items()
    assert question["params"]["mode"] == "url" and question["params"]["url"] == "https://pages.invalid/p"
    done = target.call("ask_url", {"tag": "p"}, responses={key: {"action": "accept"}}, state=state, capabilities=able)
    assert done.text == "p:accept"


@pytest.mark.parametrize("able", [{}, {"form": {}}], ids=["elicitation", "forms only"])
def test_a_client_that_opens_no_pages_is_not_asked_to(target, able):
    exchange = target.call("ask_url", {"tag": "q"}, capabilities={"elicitation": able})
    if "error" in exchange.answer:
        assert exchange.error["code"] == -32021, exchange.answer
        assert "url" in exchange.error["data"]["requiredCapabilities"]["elicitation"]
    else:
        assert exchange.result["resultType"] == "complete" and exchange.result["isError"] is True
