# Licensed under the Apache License 2.0; see LICENSE.
"""The Tasks extension, as a conformance suite checks it (it does not score it): behind the gateway is a server that has tasks."""

import json

import pytest

import conformance
import gateway as house
from conformance import MODERN_TARGETS, TASKS

TARGETS = [name for name in MODERN_TARGETS if name.startswith("modern")]
pytestmark = pytest.mark.parametrize("target", TARGETS, indirect=True)

ABLE = {"extensions": {TASKS: {}}, "elicitation": {}}
OLD_NAMES = {"task", "ttl", "pollInterval", "requestState"}


@pytest.fixture(autouse=True)
def tasks_are_offered(target):
    capabilities = target.ask("server/discover").result["capabilities"]
    if TASKS not in capabilities.get("extensions", {}):
        pytest.skip("this server offers no tasks")


def create(target, tool, arguments=None, **more):
    """The created task. `schema.check` looks at the shape of this and of everything below."""
    result = target.call(tool, arguments or {}, capabilities=ABLE, **more).result
    assert result["resultType"] == "task" and result["taskId"], result
    return result


def get(target, id, **more):
    result = target.ask("tasks/get", {"taskId": id}, capabilities=ABLE, **more).result
    assert result["resultType"] == "complete" and result["taskId"] == id
    return result


def await_status(target, id, *wanted, seconds=10):
    def there():
        task = get(target, id)
        return task if task["status"] in wanted else None

    return house.eventually(there, seconds, f"the status {wanted} of a task")


def test_a_tool_that_is_quick_is_no_task(target):
    result = target.call("greet", {"name": "Ada"}, capabilities=ABLE).result
    assert result["resultType"] == "complete" and "taskId" not in result
    assert result["content"][0]["text"] == "Hello, Ada!"


def test_a_task_is_flat_and_tells_how_long_it_lasts(target):
    task = create(target, "slow_compute", {"seconds": 0.3, "label": "x"})
    assert task["status"] == "working" and not OLD_NAMES & set(task)
    assert isinstance(task["ttlMs"], int) and isinstance(task["pollIntervalMs"], int)
    await_status(target, task["taskId"], "completed")


def test_a_task_can_be_asked_for_at_once_and_ends_with_its_result(target):
    task = create(target, "slow_compute", {"seconds": 0.4, "label": "answers"})
    assert get(target, task["taskId"])["status"] == "working"
    done = await_status(target, task["taskId"], "completed")
    assert done["result"]["content"][0]["text"] == "Computed answers." and not done["result"].get("isError")
    assert get(target, task["taskId"])["result"] == done["result"], "it stays readable"
    assert not OLD_NAMES & set(done)
    assert "io.modelcontextprotocol/related-task" not in json.dumps(done)


def test_a_task_whose_tool_failed_is_completed(target):
    done = await_status(target, create(target, "failing_job")["taskId"], "completed", "failed")
    assert done["status"] == "completed" and done["result"]["isError"] is True


def test_a_task_that_broke_the_protocol_has_failed(target):
    done = await_status(target, create(target, "protocol_error_job")["taskId"], "completed", "failed")
    assert done["status"] == "failed" and isinstance(done["error"]["code"], int) and "result" not in done


def test_cancelling_is_acknowledged_and_happens(target):
    task = create(target, "slow_compute", {"seconds": 60})
    acknowledged = target.ask("tasks/cancel", {"taskId": task["taskId"]}, capabilities=ABLE).result
    assert set(acknowledged) <= {"resultType", "_meta"}
    assert await_status(target, task["taskId"], "cancelled", "completed", "failed")["status"] == "cancelled"
    again = target.ask("tasks/cancel", {"taskId": task["taskId"]}, capabilities=ABLE).result
    assert set(again) <= {"resultType", "_meta"}, "the end of a task is no reason for an error"


def test_a_question_waits_in_the_task(target):
    task = create(target, "confirm_delete", {"filename": "notes.txt"})
    asking = await_status(target, task["taskId"], "input_required")
    ((key, question),) = asking["inputRequests"].items()
    assert question["method"] == "elicitation/create" and "notes.txt" in question["params"]["message"]
    nonsense = {"nobody asked": {"action": "accept", "content": {}}}
    target.ask("tasks/update", {"taskId": task["taskId"], "inputResponses": nonsense}, capabilities=ABLE)
    assert get(target, task["taskId"])["status"] == "input_required"
    responses = {key: {"action": "accept", "content": {"confirm": True}}}
    update = target.ask("tasks/update", {"taskId": task["taskId"], "inputResponses": responses}, capabilities=ABLE).result
    assert set(update) <= {"resultType", "_meta"}
    assert await_status(target, task["taskId"], "completed")["result"]["content"][0]["text"] == "Deleted notes.txt."


def test_two_questions_can_be_answered_one_by_one(target):
    id = create(target, "multi_input")["taskId"]
    keys = list(await_status(target, id, "input_required")["inputRequests"])
    assert len(keys) == 2
    for number, key in enumerate(keys):
        responses = {key: {"action": "accept", "content": {"colour": "red", "animal": "red"}}}
        target.ask("tasks/update", {"taskId": id, "inputResponses": responses}, capabilities=ABLE)
        if number == 0:
            left = house.eventually(lambda: (task := get(target, id)) and len(task.get("inputRequests", "12")) == 1 and task, 10)
            assert left["status"] == "input_required" and list(left["inputRequests"]) == keys[1:]
    assert "red" in await_status(target, id, "completed")["result"]["content"][0]["text"]


def test_a_call_may_ask_first_and_become_a_task_then(target):
    first = target.call("test_tool_with_task", {}, capabilities=ABLE).result
    assert first["resultType"] == "input_required" and "taskId" not in first
    responses = {key: {"action": "accept", "content": {"input": "the sea"}} for key in first["inputRequests"]}
    task = create(target, "test_tool_with_task", responses=responses, state=first.get("requestState"))
    assert "the sea" in await_status(target, task["taskId"], "completed")["result"]["content"][0]["text"]


def test_the_extension_is_told_in_its_place(target):
    assert "tasks" not in target.ask("server/discover").result["capabilities"]


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_a_client_that_does_not_know_tasks_is_told_so(target, method):
    id = create(target, "slow_compute", {"seconds": 0.2})["taskId"]
    exchange = target.ask(method, {"taskId": id, "inputResponses": {}})
    assert (exchange.status, exchange.error["code"]) == (400, -32021), exchange.answer
    assert exchange.error["data"]["requiredCapabilities"]["extensions"][TASKS] == {}


def test_a_client_that_does_not_know_tasks_gets_a_result(target):
    result = target.call("slow_compute", {"seconds": 0.1, "label": "it"}).result
    assert result["resultType"] == "complete" and result["content"][0]["text"] == "Computed it."
    create(target, "slow_compute", {"seconds": 0.1})


def test_a_tool_that_runs_as_a_task_only_says_so(target):
    exchange = target.call("failing_job", {})
    assert (exchange.status, exchange.error["code"]) == (400, -32021), exchange.answer
    assert TASKS in exchange.error["data"]["requiredCapabilities"]["extensions"]


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_a_task_that_never_was_is_an_error(target, method):
    exchange = target.ask(method, {"taskId": "t_never_was", "inputResponses": {}}, capabilities=ABLE)
    assert exchange.error["code"] == -32602


@pytest.mark.parametrize("method", ["tasks/result", "tasks/list"])
def test_methods_of_the_older_tasks_are_gone(target, method):
    exchange = target.ask(method, {"taskId": "t"}, capabilities=ABLE)
    assert (exchange.status, exchange.error["code"]) == (404, -32601), exchange.answer


def test_the_older_way_to_ask_for_a_task_changes_nothing(target):
    exchange = target.ask("tools/call", {"name": "slow_compute", "arguments": {"seconds": 0.1}, "task": {"ttl": 5000}})
    assert exchange.result["resultType"] == "complete"
    exchange = target.ask("tools/call", {"name": "greet", "arguments": {}, "task": {"ttl": 5000}}, capabilities=ABLE)
    assert exchange.result["resultType"] == "complete"


@pytest.mark.parametrize("headers", [{"Mcp-Name": "t_other"}, {"Mcp-Method": "tasks/cancel"}, {"Mcp-Name": None}], ids=repr)
def test_headers_of_task_requests_repeat_the_body(target, headers):
    id = create(target, "slow_compute", {"seconds": 0.1})["taskId"]
    drop = [name for name, value in headers.items() if value is None]
    exchange = target.ask("tasks/get", {"taskId": id}, capabilities=ABLE, headers=headers, drop=drop)
    assert (exchange.status, exchange.error["code"]) == (400, -32020), exchange.answer
    assert get(target, id)


def test_a_task_outlives_the_connection_it_was_made_on(target):
    with target.open("tools/call", {"name": "slow_compute", "arguments": {"seconds": 0.5}}, capabilities=ABLE) as exchange:
        id = exchange.next(10)["result"]["taskId"]
    assert await_status(target, id, "completed", "cancelled")["status"] == "completed"


def test_task_ids_cannot_be_guessed(target):
    made = {create(target, "slow_compute", {"seconds": 0})["taskId"] for _ in range(5)}
    assert len(made) == 5 and all(len(id) >= 16 for id in made)


@pytest.mark.skipif(conformance.DIRECT, reason="the fixture server makes nothing of tasks in the legacy era")
def test_a_legacy_session_gets_a_result(target):
    session = target.session("2025-06-18")
    assert session.call("slow_compute", {"seconds": 0.1, "label": "it"}).text == "Computed it."
