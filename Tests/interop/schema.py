# Licensed under the Apache License 2.0; see LICENSE.
"""What each message of a server must look like, by revision and method; hand-written from the schemas, checked on every message.

`check` is told which request the message came on (its method and id), and fails with the message in hand. It does not ask for
what is merely good manners.
"""

import base64
import json
import re

MODERN = "2026-07-28"
CACHEABLE = {"server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"}
MAY_ASK = {"tools/call", "prompts/get", "resources/read"}
QUESTIONS = {"elicitation/create", "sampling/createMessage", "roots/list"}
LOG_LEVELS = {"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}
LIST_CHANGED = {f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources")}
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
ON_LISTEN = LIST_CHANGED | {"notifications/resources/updated", "notifications/subscriptions/acknowledged", "notifications/tasks"}
ON_REQUESTS = {"notifications/progress", "notifications/message"}
ON_LEGACY = LIST_CHANGED | ON_REQUESTS | {
    "notifications/resources/updated", "notifications/cancelled", "notifications/elicitation/complete",
    "notifications/tasks/status"}
TASK_STATES = {"working", "input_required", "completed", "failed", "cancelled"}
OF_MODERN_ONLY = {-32020, -32021, -32022}
OF_LEGACY_ONLY = {-32002, -32042}
CONTENT = {"text": {"text": str}, "image": {"data": str, "mimeType": str}, "audio": {"data": str, "mimeType": str},
           "resource": {"resource": dict}, "resource_link": {"uri": str, "name": str}}
CONTENT_SINCE = {"audio": "2025-03-26", "resource_link": "2025-06-18"}


# The SDKs check what they send by the newest legacy schema, whatever was agreed; a gateway knows each revision.
strict_about_old_revisions = True


def since(revision, first):
    return revision >= first or not strict_about_old_revisions


def is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_id(value):
    return is_whole(value) or isinstance(value, str)


def has(value, **kinds):
    """Whether the members are there and of that kind; a kind in a tuple may be left out."""
    for name, kind in kinds.items():
        if isinstance(kind, tuple):
            if name in value and not isinstance(value[name], kind):
                return False
        elif name not in value or not isinstance(value[name], kind):
            return False
    return True


def check(message, revision, method=None, id=None):
    """`method` and `id` are those of the request whose answer this message is part of; None for a stream of no request."""
    try:
        assert isinstance(message, dict) and message.get("jsonrpc") == "2.0", "an object of JSON-RPC 2.0"
        if "method" in message:
            check_sent(message, revision, method, id)
        else:
            check_answer(message, revision, method, id)
    except AssertionError as failure:
        told = json.dumps(message, ensure_ascii=False)[:1500]
        raise AssertionError(f"on {method} at {revision}: {failure}\n{told}") from None
    return message


def check_sent(message, revision, method, id):
    name, params = message["method"], message.get("params", {})
    assert isinstance(params, dict), "params are an object"
    if "id" in message:
        assert revision != MODERN, "a modern server sends no requests"
        assert is_id(message["id"]), "an id is a string or a whole number"
        assert name in QUESTIONS | {"ping"}, "a request that servers may send"
        assert name != "elicitation/create" or since(revision, "2025-06-18"), "elicitation came with 2025-06-18"
        return check_question({"method": name, "params": params}, revision)
    if revision != MODERN:
        assert name in ON_LEGACY, "a notification of the legacy era"
        assert SUBSCRIPTION not in params.get("_meta", {}), "subscriptions are of the modern era"
    else:
        listening = method == "subscriptions/listen"
        assert name in (ON_LISTEN if listening else ON_REQUESTS), "a notification that belongs on this stream"
        if listening:
            tag = params.get("_meta", {}).get(SUBSCRIPTION)
            assert tag == id and type(tag) is type(id), "tagged with the id of its subscription"
    if name == "notifications/progress":
        assert is_id(params.get("progressToken")) and is_number(params.get("progress")), "a token and a progress"
        assert "total" not in params or is_number(params["total"]), "a total is a number"
        assert "message" not in params or has(params, message=str) and since(revision, "2025-03-26"), "a message is text"
    elif name == "notifications/message":
        assert params.get("level") in LOG_LEVELS and "data" in params and has(params, logger=(str,)), "a level and data"
    elif name == "notifications/resources/updated":
        assert has(params, uri=str), "an address"
    elif name == "notifications/subscriptions/acknowledged":
        assert has(params, notifications=dict), "the honoured filter"


def check_question(question, revision):
    assert question.get("method") in QUESTIONS | {"ping"}, "one of the three questions"
    params = question.get("params", {})
    if question["method"] == "elicitation/create":
        assert has(params, message=str), "a message for the user"
        if params.get("mode") == "url":
            assert has(params, url=str) and revision >= "2025-11-25", "an address to open"
            assert ("elicitationId" in params) == (revision == "2025-11-25"), "an elicitationId in 2025-11-25 only"
        else:
            wanted = params.get("requestedSchema")
            assert isinstance(wanted, dict) and wanted.get("type") == "object", "a form is an object"
            assert isinstance(wanted.get("properties"), dict), "a form has fields"
            assert "mode" not in params or since(revision, "2025-11-25"), "mode came with 2025-11-25"
    elif question["method"] == "sampling/createMessage":
        assert isinstance(params.get("messages"), list) and is_whole(params.get("maxTokens")), "messages and a limit"
        for each in params["messages"]:
            assert each.get("role") in ("user", "assistant"), "a role"


def check_answer(message, revision, method, id):
    assert ("result" in message) != ("error" in message), "either a result or an error"
    if "error" in message:
        error = message["error"]
        assert is_whole(error.get("code")) and has(error, message=str), "a code and words"
        assert error["code"] not in (OF_LEGACY_ONLY if revision == MODERN else OF_MODERN_ONLY), "a code of this era"
        if message.get("id") is None:
            return
    assert message["id"] == id and type(message["id"]) is type(id), f"the id of the request, {id!r}"
    if "result" in message:
        assert isinstance(message["result"], dict), "a result is an object"
        check_result(message["result"], revision, method, id)


def check_result(result, revision, method, id):
    if revision == MODERN:
        kind = result.get("resultType")
        assert kind in ("complete", "input_required", "task"), "a resultType"
        if kind == "input_required":
            assert method in MAY_ASK, f"{method} may not ask"
            return check_asking(result)
        if kind == "task":
            assert method == "tools/call", "only calls of tools become tasks"
            return check_task(result, created=True)
        assert "inputRequests" not in result or method == "tasks/get", "no questions in a complete result"
        if method in CACHEABLE:
            assert is_whole(result.get("ttlMs")) and result["ttlMs"] >= 0, "a ttlMs"
            assert result.get("cacheScope") in ("public", "private"), "a cacheScope"
        if method == "tasks/get":
            check_task(result, created=False)
        if method == "subscriptions/listen":
            assert result.get("_meta", {}).get(SUBSCRIPTION) == id, "the end of a subscription names it"
    else:
        for name in ("resultType", "ttlMs", "cacheScope", "inputRequests", "requestState"):
            assert name not in result, f"{name} is of the modern era"
        assert "io.modelcontextprotocol/serverInfo" not in result.get("_meta", {}), "serverInfo in _meta is of the modern era"
    SHAPES.get(method, lambda *_: None)(result, revision)


def check_asking(result):
    assert result.get("inputRequests") or "requestState" in result, "questions or a state"
    assert has(result, requestState=(str,), inputRequests=(dict,)), "a state is text"
    for name in ("content", "contents", "messages", "ttlMs", "cacheScope", "taskId"):
        assert name not in result, f"no {name} in a result that asks"
    for question in result.get("inputRequests", {}).values():
        check_question(question, MODERN)


def check_task(result, created):
    assert has(result, taskId=str, createdAt=str, lastUpdatedAt=str) and result.get("status") in TASK_STATES, "a task"
    assert "ttlMs" in result and (result["ttlMs"] is None or is_whole(result["ttlMs"])), "a ttlMs"
    assert "pollIntervalMs" not in result or is_whole(result["pollIntervalMs"]), "a pollIntervalMs"
    for name in ("task", "ttl", "pollInterval", "requestState"):
        assert name not in result, f"no {name} in a task"
    status = result["status"]
    assert ("result" in result) == (status == "completed" and not created), "a result when completed"
    assert ("error" in result) == (status == "failed" and not created), "an error when failed"
    assert ("inputRequests" in result) == (status == "input_required" and not created), "questions when it has some"
    if "result" in result:
        assert "io.modelcontextprotocol/related-task" not in result["result"].get("_meta", {}), "no related-task inside"
        check_call(result["result"], MODERN)


def check_resource_inside(resource):
    assert has(resource, uri=str, mimeType=(str,)), "a resource has an address"
    assert has(resource, text=str) != has(resource, blob=str), "a text or a blob"
    if "blob" in resource:
        base64.b64decode(resource["blob"], validate=True)


def check_content(block, revision):
    kind = block.get("type")
    assert kind in CONTENT and has(block, **CONTENT[kind]), f"a known block of content, {kind}"
    assert since(revision, CONTENT_SINCE.get(kind, "")), f"{kind} is not of this revision"
    if kind in ("image", "audio"):
        base64.b64decode(block["data"], validate=True)
    if kind == "resource":
        check_resource_inside(block["resource"])


def check_call(result, revision):
    assert has(result, content=list, isError=(bool,)), "a list of content"
    for block in result["content"]:
        check_content(block, revision)
    if "structuredContent" in result:
        assert since(revision, "2025-06-18"), "structured content came with 2025-06-18"
        assert revision == MODERN or isinstance(result["structuredContent"], dict), "structured content is an object"


def check_tools(result, revision):
    assert has(result, tools=list, nextCursor=(str,)), "a list of tools"
    names = [tool.get("name") for tool in result["tools"]]
    assert len(names) == len(set(names)), "each name once"
    for tool in result["tools"]:
        # The specification does not demand a description, the conformance suite does.
        assert has(tool, name=str, description=str, inputSchema=dict), "a name, a description and a schema"
        assert re.fullmatch(r"[A-Za-z0-9_./-]{1,64}", tool["name"]), "a name of the letters that names have"
        assert tool["inputSchema"].get("type") == "object", "arguments are an object"
        assert "outputSchema" not in tool or since(revision, "2025-06-18"), "outputSchema came with 2025-06-18"
        if revision != MODERN and "outputSchema" in tool:
            assert tool["outputSchema"].get("type") == "object", "a legacy outputSchema is of an object"
        assert "execution" not in tool or revision == "2025-11-25", "execution is of 2025-11-25 only"


def check_named(member, *fields):
    def shape(result, revision):
        assert has(result, nextCursor=(str,), **{member: list}), f"a list of {member}"
        for each in result[member]:
            assert has(each, **{field: str for field in fields}), f"each has {fields}"

    return shape


def check_contents(result, revision):
    assert has(result, contents=list), "contents"
    for each in result["contents"]:
        check_resource_inside(each)


def check_messages(result, revision):
    assert has(result, messages=list, description=(str,)), "messages"
    for each in result["messages"]:
        assert each.get("role") in ("user", "assistant"), "a role"
        check_content(each["content"], revision)


def check_completion(result, revision):
    completion = result.get("completion", {})
    assert has(completion, values=list, hasMore=(bool,)) and len(completion["values"]) <= 100, "at most 100 values"
    assert all(isinstance(value, str) for value in completion["values"]), "values are texts"


def check_discovered(result, revision):
    assert has(result, supportedVersions=list, capabilities=dict, instructions=(str,)), "versions and capabilities"
    assert result["supportedVersions"] and "serverInfo" not in result, "identity is in _meta"
    assert "tasks" not in result["capabilities"], "tasks are an extension"


def check_opened(result, revision):
    assert has(result, protocolVersion=str, capabilities=dict, serverInfo=dict, instructions=(str,)), "an opening"
    assert has(result["serverInfo"], name=str, version=str), "who the server is"


def check_empty(result, revision):
    assert set(result) <= {"_meta", "resultType"}, "nothing inside"


SHAPES = {
    "tools/call": check_call, "tools/list": check_tools, "prompts/get": check_messages, "resources/read": check_contents,
    "prompts/list": check_named("prompts", "name", "description"), "completion/complete": check_completion,
    "resources/list": check_named("resources", "uri", "name", "description"), "server/discover": check_discovered,
    "resources/templates/list": check_named("resourceTemplates", "uriTemplate", "name"), "initialize": check_opened,
    "tasks/update": check_empty, "tasks/cancel": check_empty, "subscriptions/listen": check_empty,
    "ping": check_empty, "logging/setLevel": check_empty, "resources/subscribe": check_empty,
    "resources/unsubscribe": check_empty,
}
