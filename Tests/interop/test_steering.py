# Licensed under the Apache License 2.0; see LICENSE.
"""What operators order about traffic, typed as the playbook has it, and what clients, health, metrics and logs then say."""

import concurrent.futures
import json
import pathlib
import subprocess
import time

import pytest

import gateway as house
import sdk
import wire
from operators import ordered
from upstreams import Moody, level, upstream
from wire import tell

# From the playbook, letter by letter.
ENABLE_BREAKER = "curl -X POST http://localhost:8080/admin/circuit-breaker/enable"
REDUCE_LOAD = """curl -X POST http://localhost:8080/admin/rate-limit -d '{"requests_per_second": 10}'"""
CLEAR_CACHES = "curl -X POST http://localhost:8080/admin/cache/clear"
COLLECT_GARBAGE = "kill -USR1 $(pgrep mcp-gateway)"

TIGHT = {"requests_per_second": 0.001, "burst": 1}
URL = "http://127.0.0.1:{}/mcp"


def typed(gateway, line):
    """What an operator gets who types a line of the playbook at this gateway."""
    line = line.replace("localhost:8080", f"localhost:{gateway.port}").replace("$(pgrep mcp-gateway)", str(gateway.process.pid))
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran
    return json.loads(ran.stdout) if ran.stdout else None


def breaker(gateway, name):
    found = [one for one in ordered(gateway, "GET", "/admin/circuit-breaker")["breakers"] if one["upstream"] == name]
    assert len(found) == 1, found
    return found[0]


def overrides(gateway):
    """What is changed by hand, by both places that tell; they have to agree."""
    listed = ordered(gateway, "GET", "/admin/overrides")["overrides"]
    assert gateway.health()["overrides"] == listed
    return {(one["what"], one["subject"]): one["value"] for one in listed}


def rows(gateway, status):
    return int(gateway.sql(f"SELECT count(*) FROM request_log WHERE status = '{status}'"))


@pytest.fixture(scope="module")
def servers(make_once):
    """Two that are well, for the tests that harm nobody."""
    return make_once.server(Moody()), make_once.server(Moody())


@pytest.fixture(scope="module")
def gateway(make_once, servers):
    """One for the tests that leave it as it was."""
    gateway = make_once.gateway({"one": upstream(servers[0])})
    gateway.wait_for_tools("one__work")
    return gateway


@pytest.fixture
def pair(make, servers):
    gateway = make.gateway({"one": upstream(servers[0]), "two": upstream(servers[1])})
    gateway.wait_for_tools("one__work", "two__work")
    return gateway


# Breakers.

def test_the_literal_order_opens_the_breaker_of_who_fails(make, servers):
    failing = make.server(Moody())
    gateway = make.gateway({"bad": upstream(failing), "good": upstream(servers[0])})
    gateway.wait_for_tools("bad__work", "good__work")
    session = gateway.legacy()
    assert gateway.call("bad__work", {"n": "before"}) == ("work before", False)
    failing.kill()
    for _ in range(4):
        text, is_error = gateway.call("bad__work", {"n": "lost"})
        assert is_error and "breaker" not in text, "so few calls open nothing by themselves"
        assert gateway.call("good__work", {"n": "x"}) == ("work x", False)
    assert level(gateway, "bad") == 0
    said = typed(gateway, ENABLE_BREAKER)
    assert said["opened"] == ["bad"] and "bad" in said["words"], said
    states = {one["upstream"]: one["state"] for one in said["breakers"]}
    assert states == {"bad": "open", "good": "closed"}
    assert (level(gateway, "bad"), level(gateway, "good")) == (2, 0)
    assert gateway.component("upstream:bad")["status"] == "unhealthy"
    assert "breaker open" in gateway.component("upstream:bad")["detail"]
    assert gateway.component("upstream:good")["status"] == "healthy"
    health = gateway.get("/health")
    assert (health.status, health.json["status"]) == (200, "degraded")
    for text, is_error in (gateway.call("bad__work"), session.call("bad__work")):
        assert is_error
        tell(text, "breaker", "bad", "open", " s")
    for caller in (gateway, session):
        assert caller.call("good__work", {"n": "y"}) == ("work y", False)
    assert typed(gateway, ENABLE_BREAKER)["opened"] == [], "a second time it does nothing more"
    # It comes back: one call finds out, and all go on.
    failing.start()
    house.eventually(lambda: gateway.call("bad__work", {"n": "back"}) == ("work back", False), 15, "the probe")
    assert len(failing.arrivals()) == 1
    assert level(gateway, "bad") == 0 and breaker(gateway, "bad")["state"] == "closed"
    house.eventually(lambda: gateway.component("upstream:bad")["status"] == "healthy", 5, "health")
    assert overrides(gateway) == {}, "to arm a breaker is how it is anyway"


def test_a_server_that_is_there_and_fails_gets_one_probe(make):
    server = make.server(Moody())
    gateway = make.gateway({"bad": upstream(server, circuit_breaker={"open_for": "500ms"})})
    gateway.wait_for_tools("bad__work")
    server.feel("cut")
    for _ in range(3):
        assert gateway.call("bad__work", {"n": "lost"})[1]
    assert typed(gateway, ENABLE_BREAKER)["opened"] == ["bad"]
    arrived = len(server.arrivals())
    assert gateway.call("bad__work", {"n": "refused"})[1] and len(server.arrivals()) == arrived
    server.feel("slow", seconds=0.4)
    house.eventually(lambda: breaker(gateway, "bad")["state"] == "half-open", 5)
    assert level(gateway, "bad") == 1
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: gateway.call("bad__work", {"n": "probe"}), range(5)))
    assert sorted(is_error for _, is_error in answers) == [False, True, True, True, True]
    assert len(server.arrivals("probe")) == 1
    assert level(gateway, "bad") == 0


def test_a_breaker_is_held_open_for_a_time_and_kept_closed(pair, servers):
    said = ordered(pair, "POST", "/admin/circuit-breaker/enable", {"force": True, "upstream": "one", "for": "1s"})
    assert said["opened"] == ["one"]
    assert breaker(pair, "one")["forced"] and level(pair, "one") == 2 and level(pair, "two") == 0
    assert overrides(pair) == {("circuit-breaker", "one"): "forced-open"}
    text, is_error = pair.call("one__work")
    assert is_error
    tell(text, "breaker", "operator")
    assert pair.call("two__work", {"n": "x"}) == ("work x", False)
    house.eventually(lambda: overrides(pair) == {}, 5, "the end of its time")
    assert pair.call("one__work", {"n": "y"}) == ("work y", False) and level(pair, "one") == 0
    # Without an end it stays, until it is closed and kept closed.
    ordered(pair, "POST", "/admin/circuit-breaker/enable", {"force": True, "upstream": "one"})
    assert pair.call("one__work")[1]
    said = ordered(pair, "POST", "/admin/circuit-breaker/disable", {"upstream": "one"})
    states = {one["upstream"]: (one["state"], one["armed"]) for one in said["breakers"]}
    assert states == {"one": ("closed", False), "two": ("closed", True)}
    assert overrides(pair) == {("circuit-breaker", "one"): "disarmed"}
    servers[0].feel("failing", status=500)
    try:
        for _ in range(15):
            text, is_error = pair.call("one__work")
            assert is_error and "breaker" not in text
        assert level(pair, "one") == 0
        assert "breaker disarmed" in pair.component("upstream:one")["detail"]
    finally:
        servers[0].feel("fine")
    said = typed(pair, ENABLE_BREAKER)
    assert all(one["armed"] for one in said["breakers"]) and overrides(pair) == {}
    assert said["opened"] == ["one"], "what was counted meanwhile counts"


@pytest.mark.parametrize("path, body, status", [
    ("enable", {"upstream": "three"}, 404), ("disable", {"upstream": "three"}, 404), ("enable", {"for": "5m"}, 400),
    ("enable", {"upstream": "one", "force": "yes"}, 400), ("enable", {"force": True, "for": "soon"}, 400), ("open", None, 404)])
def test_orders_that_mean_nothing_change_nothing(gateway, path, body, status):
    assert ordered(gateway, "POST", f"/admin/circuit-breaker/{path}", body, status)["error"]["message"]
    assert overrides(gateway) == {} and level(gateway, "one") == 0


# Overrides.

def test_what_was_changed_by_hand_stays_until_it_is_undone(pair):
    ordered(pair, "POST", "/admin/rate-limit", {"requests_per_second": 50, "burst": 70})
    ordered(pair, "POST", "/admin/circuit-breaker/enable", {"force": True, "upstream": "one"})
    ordered(pair, "POST", "/admin/tools/two__other/disable", {"for": "1h"})
    ordered(pair, "POST", "/admin/tools/two__safe/disable")
    wanted = {("rate-limit", None): "50/s, burst 70", ("circuit-breaker", "one"): "forced-open",
              ("tool", "two__other"): "disabled", ("tool", "two__safe"): "disabled"}

    def holds():
        assert overrides(pair) == wanted
        assert ordered(pair, "GET", "/admin/rate-limit")["burst"] == 70
        assert pair.call("one__work")[1] and pair.call("two__work", {"n": "x"}) == ("work x", False)
        tools = [tool["name"] for tool in pair.modern("tools/list")[1]["result"]["tools"]]
        assert "two__work" in tools and "two__other" not in tools and "two__safe" not in tools
        one = next(one for one in pair.health()["overrides"] if one["subject"] == "two__other")
        assert one["since"] < one["until"] and one["by"]

    holds()
    pair.restart()
    pair.wait_for_tools("two__work")
    holds()
    pair.tables["limits"] = {"requests_per_second": 400}
    pair.hang_up()
    holds()
    assert ordered(pair, "GET", "/admin/rate-limit")["file"]["requests_per_second"] == 400
    # One, by its kind and whom it is about; then all.
    ordered(pair, "DELETE", "/admin/overrides?what=tool&subject=two__other")
    del wanted["tool", "two__other"]
    assert overrides(pair) == wanted and "two__other" in pair.wait_for_tools("two__work")
    assert ordered(pair, "DELETE", "/admin/overrides?what=circuit-breaker&subject=two")["overrides"], "nothing of this kind was there"
    assert overrides(pair) == wanted
    said = ordered(pair, "DELETE", "/admin/overrides")
    assert said["overrides"] == [] and "rate-limit" in said["words"]
    assert overrides(pair) == {}
    assert ordered(pair, "GET", "/admin/rate-limit")["requests_per_second"] == 400
    assert pair.call("one__work", {"n": "y"}) == ("work y", False)
    assert "two__safe" in pair.wait_for_tools("two__work")
    pair.restart()
    assert overrides(pair) == {}, "nor does a restart bring anything back"
    assert ordered(pair, "DELETE", "/admin/overrides?what=nonsense", status=400)["error"]["message"]


def test_a_time_that_is_over_while_the_gateway_is_down_is_over(pair):
    ordered(pair, "POST", "/admin/rate-limit", {"requests_per_second": 0.5, "for": "1s"})
    ordered(pair, "POST", "/admin/tools/one__other/disable", {"for": "1s"})
    assert len(overrides(pair)) == 2
    pair.kill()
    died = time.monotonic()
    house.eventually(lambda: time.monotonic() - died > 1.1, 5)
    pair.start()
    assert overrides(pair) == {}
    assert "one__other" in pair.wait_for_tools("one__work")
    assert ordered(pair, "GET", "/admin/rate-limit")["requests_per_second"] is None


# Limits.

def use_up(gateway):
    """One refused call of a caller who goes on too long."""
    for id in range(1000, 1200):
        response = gateway.modern_response("tools/call", {"name": "one__work", "arguments": {}}, id)
        if response.status != 200:
            return response
    raise AssertionError("nothing was refused")


def test_the_literal_limit_holds_at_once(pair):
    session = pair.legacy()
    said = typed(pair, REDUCE_LOAD)
    assert (said["requests_per_second"], said["burst"]) == (10, 10) and said["words"]
    assert overrides(pair) == {("rate-limit", None): "10/s, burst 10"}
    limited = pair.metric("mcp_rate_limited_total", scope="global")
    refused = use_up(pair)
    assert refused.status == 429 and int(refused.header("Retry-After")) == 1
    message = refused.json
    assert message["jsonrpc"] == "2.0" and 1000 <= message["id"] < 1200 and "result" not in message
    assert isinstance(message["error"]["code"], int)
    tell(message["error"]["message"], "Too many", "10/s", "1 s")
    assert pair.metric("http_requests_total", path="/mcp", status="429") >= 1
    assert pair.metric("mcp_rate_limited_total", scope="global") > limited
    ordered(pair, "POST", "/admin/rate-limit", TIGHT)
    use_up(pair)
    # An old client would end its session at a 429.
    response = session.post(wire.legacy_body("tools/call", {"name": "one__work", "arguments": {}}, 77))
    assert response.status == 200 and response.json["id"] == 77 and response.json["result"]["isError"] is True
    tell(wire.text_of(response.json), "Too many", "Nothing was done", " s")
    response = session.post(wire.legacy_body("tools/list", id=78))
    assert response.status == 200 and response.json["id"] == 78
    tell(response.json["error"]["message"], "Too many", " s")
    house.eventually(lambda: rows(pair, "limited") >= pair.metric("mcp_rate_limited_total", scope="global") >= 4, 5, "the rows")
    said = ordered(pair, "DELETE", "/admin/rate-limit")
    assert said["requests_per_second"] is None and said["override"] is None
    for id in range(30):
        assert session.call("one__work", {"n": str(id)}, id=100 + id) == (f"work {id}", False)
    assert overrides(pair) == {}


def test_operators_and_the_signs_of_life_of_clients_count_against_nothing(pair):
    session = pair.legacy()
    ordered(pair, "POST", "/admin/rate-limit", TIGHT)
    for version in wire.LEGACY[1:] * 5:
        other = pair.legacy(version)
        assert other.request("ping")["result"] == {}
        assert other.post(wire.legacy_body("notifications/cancelled", {"requestId": 9}, None)).status == 202
        assert other.delete().status in (200, 204)
    for id in range(30):
        assert session.request("ping", id=id)["result"] == {}
    assert pair.metric("mcp_rate_limited_total") == 0
    assert session.call("one__work", {"n": "x"}, id=50) == ("work x", False), "the one token was still there"
    assert session.call("one__work", {"n": "x"}, id=51)[1]
    for _ in range(30):
        assert pair.get("/health").status == 200 and pair.get("/metrics").status == 200
        assert pair.get("/admin/overrides", {"Host": "localhost"}).status == 200
    assert session.request("ping", id=52)["result"] == {}


def test_the_file_limits_as_well_and_the_order_goes_before_it(make, servers):
    gateway = make.gateway({"one": upstream(servers[0])}, sections={"limits": {"requests_per_second": 0.01, "burst": 1}})
    # Lists count, too, so nobody may ask for them here.
    house.eventually(lambda: gateway.component("upstream:one")["status"] == "healthy", 10)
    assert gateway.call("one__work", {"n": "1"}) == ("work 1", False)
    refused = gateway.modern_response("tools/call", {"name": "one__work", "arguments": {}})
    assert refused.status == 429 and 90 <= int(refused.header("Retry-After")) <= 100
    ordered(gateway, "POST", "/admin/rate-limit", {"requests_per_second": 1000, "burst": 1000})
    # What has been earned stays, so the first one may still be early.
    house.eventually(lambda: gateway.modern_response("tools/call", {"name": "one__work", "arguments": {}}).status == 200, 5)
    for n in range(20):
        assert gateway.call("one__work", {"n": str(n)}) == (f"work {n}", False)
    said = ordered(gateway, "DELETE", "/admin/rate-limit")
    assert (said["requests_per_second"], said["burst"]) == (0.01, 1) and said["file"]["burst"] == 1
    assert use_up(gateway).status == 429


@pytest.mark.parametrize("kind, mode", [("mcp1", "auto"), ("mcp2", "auto"), ("mcp2", "legacy")])
def test_clients_that_we_did_not_write_survive_a_hundred_refusals(gateway, servers, kind, mode):
    with sdk.Client(kind, URL.format(gateway.port), mode) as client:
        assert client.call("one__work", {"n": "first"}) == ("work first", False)
        ordered(gateway, "POST", "/admin/rate-limit", TIGHT)
        limited, before = gateway.metric("mcp_rate_limited_total", scope="global"), len(servers[0].arrivals("refused"))
        refusals = [client.order(do="call", name="one__work", arguments={"n": "refused"}) for _ in range(102)]
        refused = [one for one in refusals if one.get("isError") or "failure" in one]
        assert len(refused) >= 100 and gateway.metric("mcp_rate_limited_total", scope="global") - limited >= 100
        text = refused[-1].get("message") or refused[-1]["content"][0]["text"]
        assert "Too many" in text, (refused[-1], client.complaints())
        assert len(servers[0].arrivals("refused")) - before <= 2
        ordered(gateway, "DELETE", "/admin/rate-limit")
        assert client.call("one__work", {"n": "afterwards"}) == ("work afterwards", False)
        assert "one__work" in client.list()


def test_each_caller_has_a_limit_of_his_own(make, servers):
    gateway = make.gateway(
        {"one": upstream(servers[0])},
        sections={"auth": {"mode": "token"}, "limits": {"per_caller": {"requests_per_second": 0.02, "burst": 3}}})
    house.eventually(lambda: gateway.component("upstream:one")["status"] == "healthy", 10)
    ann, bob = gateway.caller("ann"), gateway.caller("bob")
    assert [ann.modern_response("tools/call", {"name": "one__work", "arguments": {}}).status for _ in range(5)] == [200] * 3 + [429] * 2
    refused = use_up(ann)
    assert refused.status == 429 and 1 <= int(refused.header("Retry-After")) <= 50
    tell(refused.json["error"]["message"], "caller", " s")
    assert bob.call("one__work", {"n": "mine"}) == ("work mine", False)
    text, is_error = ann.legacy().call("one__work")
    assert is_error
    tell(text, "caller")
    assert bob.legacy().call("one__work", {"n": "mine, too"}) == ("work mine, too", False)
    assert gateway.metric("mcp_rate_limited_total", scope="caller") == 4
    callers = "SELECT caller, count(*) FROM request_log WHERE status = 'limited' GROUP BY caller"
    house.eventually(lambda: gateway.sql(callers) == "ann|4", 5, "the rows")


def test_a_tool_may_be_called_so_often_and_no_more(make, servers):
    gateway = make.gateway({"one": upstream(servers[0], tools={"work": {"rate": "2/s"}})})
    gateway.wait_for_tools("one__work")
    session = gateway.legacy()
    arrived = len(servers[0].arrivals("counted"))
    began = time.monotonic()
    answers = [gateway.modern_response("tools/call", {"name": "one__work", "arguments": {"n": "counted"}}) for _ in range(12)]
    took = time.monotonic() - began
    let_in = [answer.status for answer in answers].count(200)
    assert 2 <= let_in <= 2 + 2 * took + 1 and len(servers[0].arrivals("counted")) - arrived == let_in
    refused = next(answer for answer in answers if answer.status != 200)
    assert refused.status == 429 and refused.header("Retry-After") == "1"
    tell(refused.json["error"]["message"], "tool", "2/s", "1 s")
    for id in range(12):
        assert gateway.call("one__other", {"n": "x"}) == ("other x", False), "the others go on"
    texts = [session.call("one__work", {"n": "old"}, id=200 + id) for id in range(6)]
    assert any(is_error and "tool" in text for text, is_error in texts)
    assert gateway.metric("mcp_rate_limited_total", scope="tool") >= 12 - let_in + 1
    again = lambda: gateway.modern_response("tools/call", {"name": "one__work", "arguments": {}}).status == 200
    house.eventually(again, 5, "the next second")


# Caches, tools, draining, memory.

def test_the_literal_order_empties_the_cache(make):
    server = make.server(Moody())
    gateway = make.gateway({"one": upstream(server, tools={"safe": {"cache": "1h"}})})
    gateway.wait_for_tools("one__safe")
    for n in ("a", "b", "a", "b"):
        assert gateway.call("one__safe", {"n": n}) == (f"safe {n}", False)
    assert len(server.arrivals()) == 2
    house.eventually(lambda: gateway.metric("mcp_cache_entries") == 2, 5)
    said = typed(gateway, CLEAR_CACHES)
    assert said["words"] and "2" in said["words"], said
    assert gateway.metric("mcp_cache_entries") == 0
    for n in ("a", "b"):
        assert gateway.call("one__safe", {"n": n}) == (f"safe {n}", False)
    assert len(server.arrivals()) == 4


@pytest.mark.parametrize("kind, mode", [("mcp1", "auto"), ("mcp2", "auto")])
def test_a_tool_that_is_taken_out_is_gone_for_everybody_and_comes_back(gateway, servers, kind, mode):
    heard = lambda: len(client.heard("told", told="notifications/tools/list_changed"))
    with sdk.Client(kind, URL.format(gateway.port), mode) as client:
        if client.opened["connected"] == wire.MODERN:
            assert client.order(do="listen", tools=True)["honoured"]
        assert "one__other" in client.list()
        before = heard()
        said = ordered(gateway, "POST", "/admin/tools/one__other/disable")
        assert said["enabled"] is False and overrides(gateway) == {("tool", "one__other"): "disabled"}
        house.eventually(lambda: heard() > before, 5, "the notification")
        assert "one__other" not in client.list() and "one__work" in client.list()
        answer = client.order(do="call", name="one__other", arguments={"n": "out"})
        text = answer.get("message") or answer["content"][0]["text"]
        assert answer.get("isError") or "failure" in answer
        tell(text, "operator")
        assert servers[0].arrivals("out") == []
        shown = {tool["name"]: tool["enabled"] for tool in ordered(gateway, "GET", "/admin/tools")["tools"]}
        assert shown == {"one__other": False, "one__safe": True, "one__work": True}
        before = heard()
        ordered(gateway, "POST", "/admin/tools/one__other/enable")
        house.eventually(lambda: heard() > before, 5, "the notification")
        assert client.call("one__other", {"n": "in"}) == ("other in", False)
        assert "one__other" in client.list()
    assert ordered(gateway, "POST", "/admin/tools/one__nothing/disable", status=404)["error"]["message"]
    assert overrides(gateway) == {}


@pytest.fixture
def storing(make):
    """A gateway that stores calls while its server is away, which it is."""
    server, queue = make.server(Moody()), {"offline": "queue"}
    gateway = make.gateway({"one": upstream(server, tools={"work": queue, "other": queue})})
    gateway.wait_for_tools("one__work")
    server.kill()
    assert gateway.call("one__safe")[1]
    return server, gateway


def store(gateway, tool, n):
    text, is_error = gateway.call(tool, {"n": n})
    assert not is_error and text.startswith("NOT DONE YET"), text


def items(gateway):
    return sorted(line.split("|") for line in gateway.sql("SELECT tool, status FROM queue_items").splitlines())


def test_stored_calls_of_a_tool_that_is_taken_out_wait_for_it(storing):
    server, gateway = storing
    store(gateway, "one__work", "stored")
    ordered(gateway, "POST", "/admin/tools/one__work/disable")
    server.start()
    house.eventually(lambda: gateway.component("upstream:one")["status"] == "healthy", 10)
    assert gateway.call("one__safe", {"n": "x"}) == ("safe x", False)
    assert items(gateway) == [["one__work", "queued"]] and server.arrivals(tool="work") == []
    ordered(gateway, "POST", "/admin/tools/one__work/enable")
    house.eventually(lambda: items(gateway) == [["one__work", "completed"]], 8, "the call that waited")
    assert len(server.arrivals(tool="work")) == 1


def test_stored_calls_keep_to_the_rate_of_their_tool(make):
    server = make.server(Moody())
    gateway = make.gateway({"one": upstream(server, tools={"work": {"offline": "queue", "rate": "4/s"}})})
    gateway.wait_for_tools("one__work")
    server.kill()
    assert gateway.call("one__safe")[1]
    let_in = lambda n: gateway.modern_response("tools/call", {"name": "one__work", "arguments": {"n": str(n)}}).status == 200
    for n in range(8):
        house.eventually(lambda: let_in(n), 5)
    server.start()
    house.eventually(lambda: items(gateway) == [["one__work", "completed"]] * 8, 15, "the stored calls")
    times = [call["at"] for call in server.arrivals()]
    assert len(times) == 8 and times[-1] - times[0] > 0.8, "four at once, and then four a second"


def test_draining_ends_what_runs_takes_nothing_new_and_is_undone(pair):
    session = pair.legacy()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = [pool.submit(caller.call, "one__work", {"n": "long", "seconds": 1.5}) for caller in (pair, session)]
        house.eventually(lambda: ordered(pair, "GET", "/admin/drain")["in_flight"] == 2, 5, "the calls to run")
        said = ordered(pair, "POST", "/admin/drain")
        assert said["draining"] is True and said["in_flight"] == 2 and said["words"]
        health = pair.get("/health")
        assert (health.status, health.json["status"]) == (503, "unhealthy")
        assert "drain" in pair.component("server")["detail"]
        assert pair.get("/health/live").status == 200 and pair.get("/health/ready").status == 503
        refused = pair.modern_response("tools/call", {"name": "two__work", "arguments": {}}, "id-1")
        assert refused.status == 503 and refused.header("Retry-After") == "5" and refused.json["id"] == "id-1"
        tell(refused.json["error"]["message"], "drain", "5 s")
        text, is_error = session.call("two__work", id=9)
        assert is_error
        tell(text, "drain", "5 s")
        assert ("drain", None) in overrides(pair)
        assert not any(call.done() for call in running)
        assert [call.result(10) for call in running] == [("work long", False)] * 2
    house.eventually(lambda: ordered(pair, "GET", "/admin/drain")["in_flight"] == 0, 5)
    said = ordered(pair, "DELETE", "/admin/drain")
    assert said["draining"] is False and pair.get("/health").status == 200
    for caller in (pair, session):
        assert caller.call("two__work", {"n": "again"}) == ("work again", False)
    ordered(pair, "POST", "/admin/drain")
    pair.restart()
    assert pair.get("/health").status == 200 and overrides(pair) == {}
    pair.wait_for_tools("two__work")
    assert pair.call("two__work", {"n": "new life"}) == ("work new life", False)


def test_the_literal_signal_gives_memory_back(make):
    server = make.server(house.scripted_server())
    gateway = make.gateway({"up": {"url": server.url}}, sections={"server": {"max_body": "8MiB"}})
    gateway.wait_for_tools("up__big")
    resident = lambda: int(pathlib.Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]) * 4096
    quiet = resident()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = pool.map(lambda n: gateway.call("up__big", {"size": 3_000_000, "text": "x" * 3_000_000})[1], range(24))
        assert list(answers) == [False] * 24
    lines = lambda: [line for line in gateway.stdout().splitlines() if "resident_before=" in line]
    before = len(lines())
    typed(gateway, COLLECT_GARBAGE)
    house.eventually(lambda: len(lines()) > before, 10, "the line")
    said = dict(part.split("=", 1) for part in lines()[before].split() if "=" in part)
    held, left = int(said["resident_before"]), int(said["resident_after"])
    assert left < held, "it really goes down"
    assert left - quiet < (held - quiet) / 2 or left - quiet < 16 << 20, (quiet, held, left)
    assert abs(resident() - left) < 16 << 20
    assert gateway.call("up__echo", {"text": "x"}) == ('{"text": "x"}', False)
