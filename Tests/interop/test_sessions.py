# Licensed under the Apache License 2.0; see LICENSE.
"""Legacy sessions: the handshake of each revision, and ids that outlive the gateway."""

import time

import pytest

import gateway as house
import sdk
import wire


@pytest.fixture(scope="module")
def gateway(make_once):
    gateway = make_once.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    return gateway


@pytest.mark.parametrize("version", wire.LEGACY)
def test_each_revision_is_spoken_as_asked(gateway, version):
    session = gateway.legacy(version)
    assert session.opened["protocolVersion"] == version
    assert session.opened["serverInfo"]["name"] and session.opened["serverInfo"]["version"]
    assert "tools" in session.opened["capabilities"]
    assert session.request("ping", id=2)["result"] == {}
    listed = session.request("tools/list", {}, id=3)["result"]
    assert "text__echo" in [tool["name"] for tool in listed["tools"]]
    assert "resultType" not in listed and "ttlMs" not in listed
    assert session.call("text__echo", {"text": "hi"}) == ("hi", False)
    assert session.delete().status in (200, 202, 204)


@pytest.mark.parametrize("version", ["1999-01-01", "2027-01-01", wire.MODERN, "", "☃"])
def test_an_unknown_revision_is_answered_with_the_newest_legacy_one(gateway, version):
    assert gateway.legacy(version).opened["protocolVersion"] == "2025-11-25"


def test_a_session_id_is_visible_ascii_and_never_the_same(gateway):
    ids = [gateway.legacy().id for _ in range(5)]
    assert len(set(ids)) == 5
    for id in ids:
        assert id and all(0x21 <= ord(letter) <= 0x7E for letter in id) and len(id) <= 512


def test_a_request_without_its_session_is_refused(gateway):
    for method in ("tools/list", "ping", "tools/call"):
        response = gateway.exchange(wire.request("POST", "/mcp", wire.LEGACY_HEADERS, wire.legacy_body(method, {}, 5)))
        assert response.status == 400 and "Mcp-Session-Id" in response.json["error"]["message"], response


def test_an_id_that_was_never_given_is_not_found(gateway):
    session = gateway.legacy()
    good = session.id
    flipped = good[:-1] + ("A" if good[-1] != "A" else "B")
    middle = len(good) // 2
    bent = good[:middle] + ("A" if good[middle] != "A" else "B") + good[middle + 1:]
    for id in ("x", "0" * 43, bent, flipped, good + "A", good[:-4], good.swapcase(), "A" * 5000, "../../etc/passwd"):
        session.id = id
        response = session.post(wire.legacy_body("tools/list", {}, 7))
        # A last letter may hold bits that no byte needs; what decodes to the same bytes is the same id.
        assert response.status in ((404, 400, 431) if id != flipped else (404, 200)), (id, response)
    session.id = good
    assert session.call("text__echo", {"text": "mine"}) == ("mine", False)


def test_a_revision_the_gateway_does_not_speak_is_refused_in_the_header(gateway):
    session = gateway.legacy()
    headers = {**session.headers, "MCP-Protocol-Version": "1999-01-01"}
    response = gateway.exchange(wire.request("POST", "/mcp", headers, wire.legacy_body("tools/list", {}, 8)))
    assert response.status == 400, response


def test_an_ended_session_stays_ended(gateway):
    session = gateway.legacy()
    assert session.delete().status in (200, 202, 204)
    assert session.post(wire.legacy_body("tools/list", {})).status == 404
    assert session.delete().status in (404, 200, 202, 204)
    assert session.post(wire.legacy_body("ping")).status == 404


def test_a_stranger_gets_a_stream_or_a_clear_no_for_a_get(gateway):
    session = gateway.legacy()
    with wire.Connection(gateway.port) as connection:
        connection.send(wire.request("GET", "/mcp", {**session.headers, "Accept": "text/event-stream"}))
        response = wire.Response(*connection.head(), b"")
    assert response.status in (200, 405)
    if response.status == 405:
        assert "POST" in response.header("Allow")


def test_sessions_outlive_a_kill(make):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    living, ended = gateway.legacy(), gateway.legacy("2025-03-26")
    assert ended.delete().status in (200, 202, 204)
    # A tombstone is on disk within a second. Its table is not public, so the age of the last write is asked instead.
    house.eventually(lambda: settled(gateway), 10, "a quiet storage")
    gateway.restart()
    gateway.wait_for_tools("text__echo")
    assert living.call("text__echo", {"text": "same session"}) == ("same session", False)
    assert ended.post(wire.legacy_body("tools/list", {})).status == 404


def settled(gateway):
    """True when the database and its WAL have not been written to for longer than a tombstone may take."""
    files = [gateway.database, gateway.database.with_name("queue.db-wal")]
    return time.time() - max(file.stat().st_mtime for file in files if file.exists()) > 1.2


def test_clients_of_each_generation_outlive_a_kill(make):
    gateway = make.gateway(tools=["text"])
    gateway.wait_for_tools("text__echo")
    url = f"http://127.0.0.1:{gateway.port}/mcp"
    with sdk.Client("mcp1", url) as one, sdk.Client("mcp2", url, "legacy") as two, sdk.Client("mcp2", url) as three:
        for client in (one, two, three):
            assert client.call("text__echo", {"text": "before"}) == ("before", False)
        gateway.restart()
        gateway.wait_for_tools("text__echo")
        for client in (one, two, three):
            assert client.call("text__echo", {"text": "after"}) == ("after", False)
            assert "text__echo" in client.list()


def batch(session, *messages):
    return session.post(b"[" + b",".join(messages) + b"]")


def test_batches_are_answered_where_the_revision_has_them(gateway):
    session = gateway.legacy("2025-03-26")
    echo = {"name": "text__echo", "arguments": {"text": "x"}}
    asked = [wire.legacy_body("ping", id=1), wire.legacy_body("tools/call", echo, "1"),
             wire.legacy_body("notifications/cancelled", {"requestId": 99}, None), wire.legacy_body("no/such", {}, 3)]
    response = batch(session, *asked)
    assert response.status == 200, response
    answers = {(type(one["id"]), one["id"]): one for one in response.json}
    assert set(answers) == {(int, 1), (str, "1"), (int, 3)}
    assert wire.text_of(answers[(str, "1")]) == "x" and answers[(int, 3)]["error"]["code"] == -32601
    quiet = batch(session, wire.legacy_body("notifications/cancelled", {"requestId": 99}, None))
    assert quiet.status == 202 and not quiet.body
    assert batch(session).status == 400
    inside = batch(session, wire.initialize_body())
    assert inside.status == 400 or "error" in inside.json[0]
    assert session.call("text__echo", {"text": "still"}) == ("still", False)


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25"])
def test_batches_are_refused_where_the_revision_has_none(gateway, version):
    response = batch(gateway.legacy(version), wire.legacy_body("ping", id=1))
    assert response.status == 400 and response.json["error"]["code"] == -32600
