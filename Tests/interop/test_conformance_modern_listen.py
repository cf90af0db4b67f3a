# Licensed under the Apache License 2.0; see LICENSE.
"""`subscriptions/listen`: the acknowledgement first, every message tagged, and only what was wished for."""

import pytest

import conformance
from conformance import MODERN_TARGETS, listen
from schema import SUBSCRIPTION

pytestmark = pytest.mark.parametrize("target", MODERN_TARGETS, indirect=True)

# A conformance suite waits for about this long after a change.
SOON = 1.5
WATCHED = "test://watched-resource"


@pytest.mark.parametrize("wanted", [
    {"toolsListChanged": True}, {"promptsListChanged": True}, {"resourcesListChanged": True},
    {"resourceSubscriptions": [WATCHED]},
    {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True, "resourceSubscriptions": [WATCHED]}])
def test_a_subscription_begins_with_what_will_be_told(target, wanted):
    with listen(target, **wanted) as exchange:
        assert exchange.honoured == wanted


def test_what_is_not_wished_for_is_not_honoured(target):
    with listen(target, toolsListChanged=False, resourceSubscriptions=[]) as exchange:
        assert exchange.honoured == {}


@pytest.mark.parametrize("id", [1_790_000_000_123, 2**53 + 1, "a text", 0])
def test_every_message_names_its_subscription(target, id):
    with listen(target, id, toolsListChanged=True) as exchange:
        target.call("test_trigger_tool_change")
        told = exchange.next(SOON)
        for message in (*exchange.notifications, told):
            tag = message["params"]["_meta"][SUBSCRIPTION]
            assert tag == id and type(tag) is type(id)


@pytest.mark.parametrize("wish, trigger, method", [
    ("toolsListChanged", "test_trigger_tool_change", "notifications/tools/list_changed"),
    ("promptsListChanged", "test_trigger_prompt_change", "notifications/prompts/list_changed"),
    ("resourcesListChanged", "change_resources", "notifications/resources/list_changed")])
def test_a_change_is_told_soon_and_again(target, wish, trigger, method):
    with listen(target, **{wish: True}) as exchange:
        for _ in range(2):
            assert not target.call(trigger).result.get("isError")
            assert exchange.next(SOON)["method"] == method


def test_a_change_that_was_told_is_in_the_list(target):
    target.call("change_tools", {"present": False})
    with listen(target, toolsListChanged=True) as exchange:
        for present in (True, False):
            target.call("change_tools", {"present": present})
            assert exchange.next(SOON)["method"] == "notifications/tools/list_changed"
            names = [tool["name"] for tool in target.pages("tools/list", "tools")]
            assert ("extra_tool" in names) is present


def test_another_kind_of_change_is_not_told(target):
    with listen(target, promptsListChanged=True) as exchange:
        target.call("test_trigger_tool_change")
        target.call("change_resources")
        target.call("touch_watched")
        target.call("test_trigger_prompt_change")
        # Whatever the others would have sent was sent before this.
        assert exchange.next(SOON)["method"] == "notifications/prompts/list_changed"


def test_a_watched_resource_is_told_of_by_its_address(target):
    with listen(target, resourceSubscriptions=[WATCHED]) as exchange:
        before = target.ask("resources/read", {"uri": WATCHED}).result["contents"][0]["text"]
        target.call("touch_watched")
        told = exchange.next(SOON)
        assert told["method"] == "notifications/resources/updated" and told["params"]["uri"] == WATCHED
        assert target.ask("resources/read", {"uri": WATCHED}).result["contents"][0]["text"] != before


def test_a_resource_that_nobody_watches_is_not_told_of(target):
    with listen(target, resourceSubscriptions=["test://static-text"], promptsListChanged=True) as exchange:
        target.call("touch_watched")
        target.call("test_trigger_prompt_change")
        assert exchange.next(SOON)["method"] == "notifications/prompts/list_changed"


def test_two_subscriptions_are_told_each_under_its_own_id(target):
    with listen(target, "left", toolsListChanged=True) as left, \
            listen(target, "right", toolsListChanged=True, resourceSubscriptions=[WATCHED]) as right:
        target.call("test_trigger_tool_change")
        for exchange in (left, right):
            assert exchange.next(SOON)["method"] == "notifications/tools/list_changed"
        target.call("touch_watched")
        assert right.next(SOON)["method"] == "notifications/resources/updated"
        target.call("test_trigger_tool_change")
        for exchange in (left, right):
            assert exchange.next(SOON)["method"] == "notifications/tools/list_changed"


def test_the_end_of_one_subscription_is_not_that_of_another(target):
    with listen(target, toolsListChanged=True, resourceSubscriptions=[WATCHED]) as stays:
        listen(target, toolsListChanged=True, resourceSubscriptions=[WATCHED]).stream.close()
        target.call("touch_watched")
        assert stays.next(SOON)["method"] == "notifications/resources/updated"
        target.call("test_trigger_tool_change")
        assert stays.next(SOON)["method"] == "notifications/tools/list_changed"


def test_progress_and_log_of_calls_do_not_come_to_subscriptions(target):
    with listen(target, toolsListChanged=True) as exchange:
        target.call("slow_progress", {"steps": 2, "tag": "elsewhere"},
                    meta={"progressToken": 1, conformance.LOG_LEVEL: "debug"})
        target.call("test_trigger_tool_change")
        # The schema lets no progress and no log through on this stream.
        assert exchange.next(SOON)["method"] == "notifications/tools/list_changed"


@pytest.mark.parametrize("params", [{}, {"notifications": None}, {"notifications": {"resourceSubscriptions": "test://x"}}])
def test_a_subscription_to_nothing_sensible_is_refused(target, params):
    assert target.ask("subscriptions/listen", params).error["code"] == -32602
