# Licensed under the Apache License 2.0; see LICENSE.
"""The modern era as a conformance suite checks it: each request stands for itself, and each mistake has its code and status."""

import concurrent.futures
import json

import pytest

import conformance
import wire
from conformance import MODERN_TARGETS
from wire import CAPABILITIES_KEY, MODERN, VERSION_KEY

pytestmark = pytest.mark.parametrize("target", MODERN_TARGETS, indirect=True)


def send(target, method, params, meta, version=MODERN, id=None):
    """A request whose `_meta` is exactly that, or left out for None; the answer, checked, and its status."""
    id = next(conformance.ids) if id is None else id
    params = dict(params) if meta is None else {**params, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()
    stream = target.raw(target.request("POST", wire.modern_headers(method, version=version), body))
    return conformance.Exchange(stream, MODERN, method, id).finish()


@pytest.mark.parametrize("meta", [None, {}, {CAPABILITIES_KEY: {}}, {VERSION_KEY: MODERN}],
                         ids=["no _meta", "nothing in it", "no version", "no capabilities"])
def test_a_request_without_its_envelope_is_refused(target, meta):
    exchange = send(target, "tools/list", {}, meta)
    assert (exchange.status, exchange.error["code"]) == (400, -32602), exchange.answer


def test_a_client_may_keep_its_name_to_itself(target):
    exchange = send(target, "tools/list", {}, {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}})
    assert exchange.status == 200 and exchange.result["tools"]


def test_discovery_tells_versions_capabilities_and_identity(target):
    result = target.ask("server/discover").result
    assert MODERN in result["supportedVersions"]
    identity = result["_meta"]["io.modelcontextprotocol/serverInfo"]
    assert identity["name"] and identity["version"]
    assert {"tools", "prompts", "resources", "completions"} <= set(result["capabilities"]), result["capabilities"]


@pytest.mark.parametrize("capability, method, member", [
    ("tools", "tools/list", "tools"), ("prompts", "prompts/list", "prompts"), ("resources", "resources/list", "resources")])
def test_a_list_is_there_exactly_when_its_capability_is(target, capability, method, member):
    if capability in target.ask("server/discover").result["capabilities"]:
        assert isinstance(target.ask(method).result[member], list)
    else:
        assert target.ask(method).error["code"] == -32601


def test_a_version_of_nobody_is_refused_with_those_there_are(target):
    exchange = send(target, "tools/list", {}, wire.meta("v999.0.0"), version="v999.0.0")
    assert (exchange.status, exchange.error["code"]) == (400, -32022), exchange.answer
    data = exchange.error["data"]
    assert data["requested"] == "v999.0.0" and MODERN in data["supported"]
    assert set(data["supported"]) <= set(target.ask("server/discover").result["supportedVersions"])


def test_a_header_of_another_version_than_the_envelope_is_refused(target):
    exchange = send(target, "tools/list", {}, wire.meta(MODERN), version="v999.0.0")
    assert (exchange.status, exchange.error["code"]) == (400, -32020), exchange.answer


def test_a_missing_capability_of_the_client_is_named(target):
    if target.upstream == "legacy":
        pytest.skip("a legacy server has no way to name a capability that it misses")
    exchange = target.call("test_missing_capability", {})
    assert (exchange.status, exchange.error["code"]) == (400, -32021), exchange.answer
    assert isinstance(exchange.error["data"]["requiredCapabilities"]["sampling"], dict)


def test_a_capability_counts_for_its_own_request_only(target):
    if target.upstream == "legacy":
        pytest.skip("a legacy server has no way to name a capability that it misses")
    assert "result" in target.call("test_missing_capability", {}, capabilities={"sampling": {}}).answer
    assert target.call("test_missing_capability", {}).error["code"] == -32021


REMOVED = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "unknown/method"]
LIKELY = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": conformance.CLIENT, "level": "debug",
          "uri": "test://watched-resource"}


@pytest.mark.parametrize("method", REMOVED)
def test_a_method_that_this_era_lacks_is_not_found(target, method):
    exchange = target.ask(method, LIKELY)
    assert (exchange.status, exchange.error["code"]) == (404, -32601), exchange.answer


@pytest.mark.parametrize("id", ["1", 1, 0, -7, "", "x" * 200, 1_790_000_000_123, 2**53 + 1, 2**63 - 1, "☃"])
def test_an_id_comes_back_as_it_was_sent(target, id):
    assert target.ask("tools/list", id=id).answer["id"] == id
    assert target.ask("unknown/method", id=id).answer["id"] == id
    assert target.call("no_such_tool", {}, id=id).answer["id"] == id


def test_an_unknown_tool_is_an_error_and_a_failed_one_is_not(target):
    assert target.call("no_such_tool", {}).error["code"] == -32602
    assert target.call("test_error_handling").result["isError"] is True


def test_a_tool_that_asks_sends_no_request_on_its_stream(target):
    # The schema forbids requests to every message of this era; what is left to see is that the question comes at all.
    tool = "test_streaming_elicitation"
    exchange = target.call(tool, {}, capabilities={"elicitation": {}}, meta={"progressToken": "asks"})
    result = exchange.result
    assert result["resultType"] == "input_required"
    assert [each["method"] for each in result["inputRequests"].values()] == ["elicitation/create"]
    assert not exchange.requests
    conformance.settle(target, tool, exchange)


def test_nothing_is_logged_to_a_client_that_did_not_ask(target):
    for _ in range(2):
        exchange = target.call("test_logging_tool", {}, meta={"progressToken": 5})
        assert not exchange.told("notifications/message")


@pytest.mark.parametrize("level, count", [("debug", 3), ("info", 2), ("warning", 1), ("emergency", 0)])
def test_a_client_gets_the_log_it_asked_for_on_that_stream(target, level, count):
    told = target.call("test_logging_tool", {}, meta={conformance.LOG_LEVEL: level}).told("notifications/message")
    # A legacy server's log belongs to its session, and a log over stdio names no request, so a gateway may keep either back;
    # nobody gets more than was asked for.
    assert len(told) == count or target.name != "modern-http" and len(told) < count


def test_a_log_level_that_is_none_is_refused(target):
    exchange = target.call("test_logging_tool", {}, meta={conformance.LOG_LEVEL: "loud"})
    assert exchange.error["code"] == -32602, exchange.answer


def test_three_requests_at_once_are_all_answered(target):
    exchanges = [target.open("tools/list") for _ in range(3)]
    for exchange in reversed(exchanges):
        assert exchange.finish().status == 200 and exchange.result["tools"]


def test_many_calls_at_once_each_get_their_own_answer(target):
    names = [f"caller {number}" for number in range(12)]
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        texts = list(pool.map(lambda name: target.call("greet", {"name": name}).text, names))
    assert texts == [f"Hello, {name}!" for name in names]


@pytest.mark.parametrize("header", ["Host", "Origin"])
def test_a_page_of_elsewhere_is_refused(target, header):
    strange = {"Host": "evil.example.com", "Origin": "http://evil.example.com"}[header]
    body = wire.modern_body("server/discover")
    headers = {**wire.modern_headers("server/discover"), header: strange}
    response = target.exchange(target.request("POST", headers, body))
    assert 400 <= response.status < 500, response
    own = {"Host": f"127.0.0.1:{target.port}", "Origin": f"http://127.0.0.1:{target.port}"}[header]
    assert target.ask("server/discover", headers={header: own}).status == 200


@pytest.mark.parametrize("method, params", [
    ("server/discover", {}), ("tools/list", {}), ("prompts/list", {}), ("resources/list", {}), ("resources/templates/list", {}),
    ("resources/read", {"uri": "test://static-text"}), ("resources/read", {"uri": "test://template/9/data"})])
def test_what_may_be_kept_says_for_how_long_and_for_whom(target, method, params):
    result = target.ask(method, params).result
    assert result["ttlMs"] >= 0 and result["cacheScope"] in ("public", "private")


def test_all_pages_of_a_list_are_for_the_same_eyes(target):
    first = target.ask("resources/list").result
    if "nextCursor" in first:
        second = target.ask("resources/list", {"cursor": first["nextCursor"]}).result
        assert second["cacheScope"] == first["cacheScope"]


def test_a_list_does_not_depend_on_who_asked_before(target):
    before = target.ask("tools/list").result["tools"]
    target.ask("tools/list", capabilities={"sampling": {}, "elicitation": {}, "roots": {}})
    assert target.ask("tools/list").result["tools"] == before


def test_a_get_or_delete_without_a_session_is_not_allowed(target):
    for method in ("GET", "DELETE", "PUT"):
        headers = {"MCP-Protocol-Version": MODERN, "Accept": "application/json"}
        response = target.exchange(target.request(method, headers), method)
        assert response.status == 405 and "POST" in response.header("Allow"), (method, response)
