# Licensed under the Apache License 2.0; see LICENSE.
"""The streams of a legacy session: what comes on which, how a broken one is resumed, and how a call is cancelled."""

import json
import time

import pytest

import conformance
import gateway as house
import schema
import wire
from conformance import LEGACY_TARGETS

pytestmark = pytest.mark.parametrize("target", LEGACY_TARGETS, indirect=True)

WATCHED = "test://watched-resource"
CHANGES = [
    ("change_tools", "notifications/tools/list_changed"), ("change_resources", "notifications/resources/list_changed"),
    ("test_trigger_prompt_change", "notifications/prompts/list_changed")]


def events_until(stream, exchange, done, seconds=15):
    """The events of a call's answer that have a message in them, until one is `done`, or the stream ends."""
    found = []
    while event := stream.event(seconds):
        if event.data:
            assert len(event.lines) == 1
            message = schema.check(json.loads(event.data), exchange.revision, exchange.method, exchange.id)
            found.append((event.id, message))
            if done(message):
                break
    return found


def is_answer(message):
    return "method" not in message


def test_a_call_outlives_the_connection_that_the_server_closes(target):
    session = target.session()
    with session.open("tools/call", {"name": "test_reconnection", "arguments": {}}) as exchange:
        stream = exchange.stream
        if not stream.is_event_stream:
            pytest.skip("a call this short is answered without a stream")
        first = stream.event(10)
        if first.id is None:
            pytest.skip("streams are not resumable here")
        assert first.data == "", "an event to resume from comes before anything else"
        found = events_until(stream, exchange, is_answer)
    last, retry = (found[-1][0] if found else first.id), first.retry
    assert found or not conformance.DIRECT or retry is not None
    while not (found and is_answer(found[-1][1])):
        time.sleep((retry or 0) / 1000)  # what the server asked for
        with session.stream(last) as stream:
            assert stream.status == 200, stream.response
            more = events_until(stream, exchange, is_answer)
            found += more
            last = more[-1][0] if more else last
    assert wire.text_of(found[-1][1]) == "Reconnection test completed successfully."


def test_a_stream_that_breaks_is_resumed_where_it_stopped(target):
    session = target.session()
    params = {"name": "slow_progress", "arguments": {"steps": 8, "pause": 0.05, "tag": "broken"}, "_meta": {"progressToken": 1}}
    with session.open("tools/call", params) as exchange:
        before = events_until(exchange.stream, exchange, lambda message: message.get("params", {}).get("progress") == 2)
    if before[-1][0] is None:
        pytest.skip("streams are not resumable here")
    with session.stream(before[-1][0]) as stream:
        after = events_until(stream, exchange, is_answer)
    told = [message["params"]["progress"] for _, message in before + after if message.get("method") == "notifications/progress"]
    assert told == [1, 2, 3, 4, 5, 6, 7, 8]
    assert wire.text_of(after[-1][1]) == "broken: 8 steps"
    names = [id for id, _ in before + after]
    assert len(set(names)) == len(names)


def test_an_event_of_another_session_cannot_be_resumed(target):
    mine, other = target.session(), target.session()
    params = {"name": "slow_progress", "arguments": {"steps": 2, "tag": "secret"}, "_meta": {"progressToken": 1}}
    with mine.open("tools/call", params) as exchange:
        events = events_until(exchange.stream, exchange, is_answer)
    if conformance.DIRECT or events[0][0] is None:
        pytest.skip("the SDKs leave it to the event store whose events these are")
    with other.stream(events[0][0]) as stream:
        assert stream.status >= 400 or not stream.is_over_within(0.5)
    assert other.ask("ping").result == {}


def test_a_client_that_hangs_up_does_not_cancel(target):
    session = target.session()
    params = {"name": "cancellable", "arguments": {"seconds": 1, "tag": "left"}, "_meta": {"progressToken": 1}}
    with session.open("tools/call", params) as exchange:
        assert exchange.next(10)["method"] == "notifications/progress"
    house.eventually(lambda: session.call("was_cancelled", {"tag": "left"}).text != "running", 10, "the end of the call")
    assert session.call("was_cancelled", {"tag": "left"}).text == "finished"


def test_a_client_that_cancels_does(target):
    session = target.session()
    params = {"name": "cancellable", "arguments": {"seconds": 60, "tag": "stopped"}, "_meta": {"progressToken": 1}}
    with session.open("tools/call", params) as exchange:
        assert exchange.next(10)["method"] == "notifications/progress"
        session.notify("notifications/cancelled", {"requestId": exchange.id, "reason": "enough"})
        house.eventually(lambda: session.call("was_cancelled", {"tag": "stopped"}).text == "cancelled", 10, "the end of the call")
    session.notify("notifications/cancelled", {"requestId": "never used"})
    assert session.call("greet", {}).text == "Hello, World!"


def test_one_session_cannot_cancel_anothers_call(target):
    mine, other = target.session(), target.session()
    params = {"name": "cancellable", "arguments": {"seconds": 60, "tag": "mine"}, "_meta": {"progressToken": 1}}
    with mine.open("tools/call", params, id=77) as exchange:
        assert exchange.next(10)["method"] == "notifications/progress"
        other.notify("notifications/cancelled", {"requestId": 77})
        assert other.call("greet", {}).text == "Hello, World!"
        assert other.call("was_cancelled", {"tag": "mine"}).text == "running"
        mine.notify("notifications/cancelled", {"requestId": 77})
        house.eventually(lambda: mine.call("was_cancelled", {"tag": "mine"}).text == "cancelled", 10, "the end of the call")


@pytest.mark.parametrize("trigger, method", CHANGES)
def test_a_change_is_told_to_each_session_once(target, trigger, method):
    one, two = target.session(), target.session()
    for session in (one, two):
        session.ask("tools/list")
    with one.listen() as left, two.listen() as right:
        for time_ in (1, 2):
            one.call(trigger, {})
            for listener in (left, right):
                assert len(listener.wait_for(method, time_)) == time_


def test_a_watched_resource_is_told_of_to_those_who_watch(target):
    watching, other = target.session(), target.session()
    with watching.listen() as left, other.listen() as right:
        assert watching.ask("resources/subscribe", {"uri": WATCHED}).result == {}
        other.call("touch_watched", {})
        assert left.wait_for("notifications/resources/updated") == [{"uri": WATCHED}]
        assert watching.ask("resources/unsubscribe", {"uri": WATCHED}).result == {}
        other.call("touch_watched", {})
        other.call("test_trigger_prompt_change", {})
        for listener in (left, right):
            listener.wait_for("notifications/prompts/list_changed")
        assert len(left.wait_for("notifications/resources/updated")) == 1
        assert not right.wait_for("notifications/resources/updated", 0)


def test_a_message_comes_on_one_stream_only(target):
    session = target.session()
    session.ask("tools/list")
    with session.listen() as first:
        with session.stream() as second:
            if second.status != 200:
                assert second.status in (405, 409), second.response
                return
        with session.listen() as second:
            for times in (1, 2, 3):
                session.call("test_trigger_prompt_change", {})
                house.eventually(lambda: len(first.messages + second.messages) >= times, 10, "the change")
            assert len(first.messages + second.messages) == 3


def test_what_happens_between_two_streams_is_told_later(target):
    session = target.session()
    session.ask("tools/list")
    with session.stream() as stream:
        session.call("test_trigger_prompt_change", {})
        event = stream.event(10)
        while not event.data:
            event = stream.event(10)
    if event.id is None:
        pytest.skip("streams are not resumable here")
    session.call("test_trigger_tool_change", {})
    with session.stream(event.id) as stream:
        assert stream.message(10)["method"] == "notifications/tools/list_changed"


def test_a_stream_has_to_be_accepted(target):
    session = target.session()
    response = target.exchange(target.request("GET", {**session.headers, "Accept": "application/json"}), "GET")
    assert response.status in (405, 406), response


def test_progress_and_log_of_one_session_stay_with_it(target):
    one, two = target.session(), target.session()
    with two.listen() as listener:
        two.ask("logging/setLevel", {"level": "debug"})
        params = {"name": "slow_progress", "arguments": {"steps": 3, "tag": "of one"}, "_meta": {"progressToken": "same"}}
        exchange = one.open("tools/call", params)
        told = two.call("slow_progress", {"steps": 3, "tag": "of two"}, meta={"progressToken": "same"})
        assert [each["message"] for each in told.told("notifications/progress")] == ["of two 1", "of two 2", "of two 3"]
        exchange.finish()
        assert [each["message"] for each in exchange.told("notifications/progress")] == ["of one 1", "of one 2", "of one 3"]
        one.call("test_trigger_prompt_change", {})
        listener.wait_for("notifications/prompts/list_changed")
        heard = told.told("notifications/message") + listener.wait_for("notifications/message", 0)
        assert {each["data"]["tag"] for each in heard} <= {"of two"}, heard
