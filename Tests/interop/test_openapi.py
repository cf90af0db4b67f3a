# Licensed under the Apache License 2.0; see LICENSE.
"""The admin routes against their own description: it is valid and complete, and what stands in it is what happens."""

import json
import os
import re
import stat
import subprocess

import pytest

import gateway as house
import wire
from shop import Shop

# Everything that an operator can ask for. A route that is new is new here too.
TABLE = {
    ("GET", "/admin/status"), ("GET", "/admin/upstreams"), ("POST", "/admin/reload"),
    ("GET", "/admin/circuit-breaker"), ("POST", "/admin/circuit-breaker/enable"), ("POST", "/admin/circuit-breaker/disable"),
    ("GET", "/admin/rate-limit"), ("POST", "/admin/rate-limit"), ("DELETE", "/admin/rate-limit"),
    ("GET", "/admin/tools"), ("POST", "/admin/tools/{name}/disable"), ("POST", "/admin/tools/{name}/enable"),
    ("POST", "/admin/drain"), ("GET", "/admin/drain"), ("DELETE", "/admin/drain"),
    ("GET", "/admin/overrides"), ("DELETE", "/admin/overrides"),
    ("GET", "/admin/queue"), ("POST", "/admin/queue/purge"), ("GET", "/admin/queue/{id}"), ("DELETE", "/admin/queue/{id}"),
    ("POST", "/admin/queue/{id}/retry"),
    ("POST", "/admin/cache/clear"), ("POST", "/admin/rebuild-indices"), ("POST", "/admin/backup"), ("POST", "/admin/verify"),
    ("POST", "/admin/sync/force"),
    ("GET", "/admin/tokens"), ("POST", "/admin/tokens"), ("DELETE", "/admin/tokens/{id}"),
    ("GET", "/admin/openapi.json"),
}
# What some of them need to be done.
BODIES = {
    "/admin/rate-limit": {"requests_per_second": 100_000}, "/admin/queue/purge": {"statuses": ["failed"]},
    "/admin/tokens": {"name": "somebody", "roles": ["call"]},
}
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")


@pytest.fixture
def shop(make):
    """With stored calls, so that there is something to look at."""
    shop = Shop(make)
    shop.gateway.tables["tools.text"] = {"module": house.MODULES / "text.wasm"}
    shop.gateway.reload()
    shop.gateway.wait_for_tools("text__echo")
    shop.leave()
    for number in range(8):
        shop.call("dispense", f"n{number}")
    assert len(shop.rows()) == 8
    return shop


@pytest.fixture
def gateway(shop):
    return shop.gateway


@pytest.fixture(scope="module")
def quiet_gateway(make_once):
    gateway = make_once.gateway({"up": {"url": f"http://127.0.0.1:{house.free_port()}/mcp"}}, ["text"])
    gateway.wait_for_tools("text__echo")
    return gateway


@pytest.fixture
def plain(quiet_gateway):
    """For tests that should change nothing; what they change all the same is undone."""
    yield quiet_gateway
    quiet_gateway.order("DELETE", "/admin/overrides", socket=True)


def document(gateway):
    status, said = gateway.order("GET", "/admin/openapi.json")
    assert status == 200
    return said


def tool(name):
    return os.path.join(os.path.dirname(house.PYTHON["openapi"]), name)


def test_the_description_is_valid(plain, tmp_path):
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document(plain)))
    ran = subprocess.run([tool("openapi-spec-validator"), str(file)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_description_is_the_same_at_every_door(plain):
    response = plain.get("/admin/openapi.json", {"Host": "localhost"})
    assert response.header("Content-Type").startswith("application/json") and response.json["openapi"].startswith("3.1")
    assert response.json["info"]["version"] == plain.health()["version"]
    assert plain.order("GET", "/admin/openapi.json", socket=True)[1] == response.json


def operations(gateway):
    return {(verb.upper(), path) for path, verbs in document(gateway)["paths"].items() for verb in verbs}


def test_every_route_is_described_and_nothing_else(plain):
    described = operations(plain)
    assert described == TABLE - {("GET", "/admin/openapi.json")} or described == TABLE, described ^ TABLE


@pytest.mark.parametrize("through", ["port", "socket"])
def test_every_route_answers_to_its_verbs_and_no_others(gateway, through):
    stored = iter(gateway.sql("SELECT id FROM queue_items ORDER BY id").split())
    paths = {path for _, path in TABLE}
    for path in sorted(paths):
        verbs = {verb for verb, each in TABLE if each == path}
        for verb in METHODS:
            place = path.replace("{name}", "text__echo")
            if "{id}" in path:
                place = path.replace("{id}", "somebody" if "tokens" in path else next(stored, "1"))
                if "tokens" in path and verb == "DELETE":
                    gateway.order("POST", "/admin/tokens", {"name": "somebody", "roles": ["call"]}, socket=True)
            body = BODIES.get(path, {}) if verb == "POST" else None
            with wire.Connection(str(gateway.control) if through == "socket" else gateway.port, 60) as connection:
                data = b"" if body is None else json.dumps(body).encode()
                connection.send(wire.request(verb, place, {}, data, "localhost"))
                response = connection.response(verb)
            if verb in verbs:
                assert response.status == 200, (verb, place, response)
                assert verb == "GET" and path.endswith(".json") or response.json["words"], (verb, place, response)
            else:
                assert response.status == 405 and response.json["error"]["code"] == "method_not_allowed", (verb, place, response)
                allowed = {word.strip() for word in response.header("Allow").split(",")}
                assert allowed - {"HEAD"} == verbs, (place, allowed)
    gateway.order("DELETE", "/admin/overrides", socket=True)


@pytest.mark.parametrize("path", [
    "/admin", "/admin/", "/admin/queues", "/admin/queue/", "/admin/queue/1/2", "/admin/queue/1/retry/", "/admin/tools//disable",
    "/admin/tools/x", "/admin/openapi", "/admin/token", "/admin/../health", "/Admin/queue", "/admin/queue%2F1"])
def test_what_is_not_described_is_not_there(plain, path):
    for verb in ("GET", "POST", "DELETE"):
        response = plain.exchange(wire.request(verb, path, {}, host="localhost"), verb)
        assert response.status == 404 and response.json["error"]["code"] == "not_found", (verb, response)


def test_schemathesis_finds_no_difference(gateway, tmp_path):
    """Every check it knows, on what is right and on what is wrong, for less than a minute."""
    place = tmp_path / "copies"
    place.mkdir()
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "openapi_hooks", "OPENAPI_PLACE": str(place),
                   "PYTHONPATH": os.path.dirname(os.path.abspath(__file__)), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [tool("schemathesis"), "run", f"http://localhost:{gateway.port}/admin/openapi.json", "--checks", "all", "--max-examples", "300",
         "--max-time", "40", "--continue-on-failure", "--no-color", "--generation-database", "none", "--output-sanitize", "false",
         "--request-timeout", "20"], capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment)
    if ran.returncode != 0:
        # What it says before is the list of what it has tried.
        found = re.search(r"^=+ (FAILURES|ERRORS) =+$.*", ran.stdout, re.MULTILINE | re.DOTALL)
        pytest.fail((found[0] if found else ran.stdout) + ran.stderr, pytrace=False)
    assert gateway.process.poll() is None
    assert gateway.order("DELETE", "/admin/overrides")[0] == 200
    assert gateway.call("text__echo", {"text": "x"}) == ("x", False)
    assert gateway.sql("PRAGMA integrity_check;") == "ok"
    assert gateway.order("POST", "/admin/verify", {})[1]["sound"]
    lines = (gateway.home / "log/app.log").read_text()
    assert "internal" not in lines and "panic" not in lines


# What a description cannot say.

def test_a_backup_lands_on_nothing_that_is_in_use_or_no_file(make, tmp_path):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    lib = gateway.home / "lib"
    (tmp_path / "notes").write_text("of somebody")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "notes")
    devices = []
    if os.geteuid() == 0:
        # As /dev/null is one, which many programs of a machine rely on.
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        devices = [tmp_path / "null"]
    inside = [lib / name for name in (
        "queue.db", "queue.db-wal", "queue.db-shm", "queue.db-journal", "queue.db.epoch", "gateway.lock", "keys/tokens", "keys/session.key")]
    for path in [*inside, tmp_path / "notes", tmp_path / "folder", tmp_path / "fifo", tmp_path / "link", *devices,
                 gateway.configuration, gateway.home / "log/app.log"]:
        kind = path.lstat().st_mode if path.exists() else None
        status, said = gateway.order("POST", "/admin/backup", {"to": str(path)})
        assert status == 409 and said["error"]["message"], (path, said)
        assert (path.lstat().st_mode if path.exists() else None) == kind, path
    assert (tmp_path / "notes").read_text() == "of somebody"
    assert gateway.order("POST", "/admin/verify", {})[1]["sound"]
    assert gateway.order("POST", "/admin/backup", {"to": str(tmp_path / "copy.db")})[0] == 200
    assert gateway.order("POST", "/admin/backup", {"to": str(tmp_path / "copy.db")})[0] == 200, "its own it may replace"
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) & 0o007 == 0


def test_to_look_at_a_file_waits_for_nobody(make, tmp_path):
    gateway = make.gateway()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text").write_text("no database")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(64 << 30)
    for path in (tmp_path / "fifo", tmp_path / "text", tmp_path / "huge", tmp_path, tmp_path / "nothing", "/dev/zero", "/proc/self/mem"):
        status, said = gateway.order("POST", "/admin/verify", {"file": str(path)}, timeout=10)
        assert status == 200 and not said["sound"] and said["problems"], (path, said)
    assert gateway.order("POST", "/admin/verify", {}, timeout=10)[1]["sound"]


@pytest.mark.parametrize("path", ["/admin/drain", "/admin/circuit-breaker/disable", "/admin/rate-limit", "/admin/tools/text__echo/disable"])
@pytest.mark.parametrize("end", ["0s", "0d"])
def test_an_order_for_no_time_at_all_is_a_mistake(plain, path, end):
    status, said = plain.order("POST", path, {**BODIES.get(path, {}), "for": end})
    assert status == 400 and "for" in said["error"]["message"], said
    assert plain.order("GET", "/admin/overrides")[1]["overrides"] == []


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "nonsense", None])
def test_a_body_is_json_whatever_it_calls_itself(plain, kind):
    headers = {"Content-Type": kind} if kind else {}
    response = plain.exchange(wire.request("POST", "/admin/rate-limit", headers, b'{"requests_per_second":5000}', "localhost"))
    assert response.status == 200 and response.json["requests_per_second"] == 5000, response


@pytest.mark.parametrize("body", [
    b"{", b"[]", b"null", b"5", b'"x"', b"{}{}", b'{"a":1}', b"\xff\xfe", b"{" * 10_000, b"[" * 10_000 + b"]" * 10_000,
    b'{"requests_per_second":1,"requests_per_second":2}', b'{"requests_per_second":1e400}', b'{"requests_per_second":NaN}',
    b'{"requests_per_second":-1}', b'{"requests_per_second":"5"}', b'{"requests_per_second":5,"burst":1.5}',
    b'{"requests_per_second":5,"burst":99999999999999999999}'])
def test_a_bad_body_changes_nothing(plain, body):
    response = plain.exchange(wire.request("POST", "/admin/rate-limit", {}, body, "localhost"))
    assert response.status == 400 and response.json["error"]["message"], response
    assert plain.order("GET", "/admin/overrides")[1]["overrides"] == []


def test_a_body_that_is_too_long_is_refused_as_such(plain):
    body = json.dumps({"requests_per_second": 5, "for": "x" * 100_000}).encode()
    response = plain.exchange(wire.request("POST", "/admin/rate-limit", {}, body, "localhost"))
    assert response.status == 413 and response.json["error"]["code"], response
    assert plain.order("GET", "/admin/overrides")[1]["overrides"] == []
