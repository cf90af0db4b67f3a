# Licensed under the Apache License 2.0; see LICENSE.
"""Tokens as operators have them: how they are made, kept and taken back, what a damaged file of them does."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import stat

import pytest

import gateway as house
from tokens import TOKEN_MODE, echo, spoilt

@pytest.fixture
def gateway(make):
    return make.guarded()


# The file of tokens.

def files_with(place, text):
    return [str(file) for file in place.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


def test_a_secret_is_in_its_answer_and_nowhere_else(gateway):
    erp = gateway.caller("erp", "call", "observe", "admin")
    secret, tail = erp.token, erp.token.split("_", 2)[2]
    tokens = gateway.home / "lib/keys/tokens"
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    assert not [entry for entry in (gateway.home / "lib/keys").iterdir() if stat.S_IMODE(entry.stat().st_mode) & 0o077]
    digest = hashlib.sha256(secret.encode()).hexdigest()
    assert [line.split()[5] for line in tokens.read_text().splitlines() if " erp " in line] == [digest]
    echo(erp)
    erp.call("text__echo", {"text": "x" * 300_000})
    erp.legacy().call("text__echo", {"text": "x"})
    echo(gateway.showing(spoilt(secret)))
    for path in ("/health", "/metrics", "/admin/status", "/admin/tokens", "/admin/openapi.json", "/admin/nothing", "/nothing"):
        said = erp.get(path).body.decode()
        assert tail not in said and digest not in said, path
    gateway.order("POST", "/admin/backup", {}, socket=True)
    gateway.tables["log"]["level"] = "trace"
    gateway.reload(socket=True)
    echo(erp)
    house.eventually(lambda: gateway.sql("SELECT count(*) FROM request_log WHERE caller = 'erp'") >= "4", 10, "the rows")
    gateway.order("DELETE", "/admin/tokens/erp", socket=True)
    gateway.terminate()
    assert files_with(gateway.home, tail) == []
    assert files_with(gateway.home, digest) == []


def test_a_secret_in_a_place_where_nobody_expects_one_is_not_written_down(gateway):
    """Somebody who wants to be rid of a secret, and pastes it instead of its name."""
    secret = gateway.new_token("erp")
    tail = secret.split("_", 2)[2]
    for through in (False, True):
        gateway.order("DELETE", f"/admin/tokens/{secret}", socket=through)
        gateway.order("GET", f"/admin/tokens/{secret}", socket=through)
        gateway.order("GET", f"/admin/nothing?token={secret}", socket=through)
        gateway.order("POST", "/admin/tokens", {"name": secret, "roles": ["call"]}, socket=through)
        gateway.order("POST", "/admin/tokens", {"name": "x", "roles": [secret]}, socket=through)
        gateway.order("POST", "/admin/cache/clear", {secret: 1}, socket=through)
    assert files_with(gateway.home, tail) == []


def test_tokens_outlive_restarts_and_kills(gateway):
    names = [f"caller-{number}" for number in range(16)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(lambda name: gateway.new_token(name), names))
    gateway.order("DELETE", "/admin/tokens/caller-3", socket=True)
    gateway.kill()
    gateway.start()
    statuses = [gateway.showing(secret).modern_response("tools/list").status for secret in secrets]
    assert statuses == [401 if number == 3 else 200 for number in range(16)]
    assert gateway.terminate() == 0
    gateway.start()
    assert gateway.showing(secrets[0]).modern_response("tools/list").status == 200
    assert gateway.showing(secrets[3]).modern_response("tools/list").status == 401


def test_a_kill_while_tokens_are_made_loses_none_that_was_shown(make):
    gateway = make.gateway(sections=TOKEN_MODE)
    for round in range(3):
        shown = []

        def make_tokens(worker):
            for number in range(1000):
                try:
                    shown.append(gateway.new_token(f"r{round}.w{worker}.n{number}"))
                except (OSError, ValueError, IndexError):
                    return

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            tasks = [pool.submit(make_tokens, worker) for worker in range(3)]
            house.eventually(lambda: len(shown) >= 20 * (round + 1), 20, "some tokens")
            gateway.kill()
            for task in tasks:
                task.result(30)
        gateway.start()
        assert {gateway.showing(secret).modern_response("tools/list").status for secret in shown[-30:]} == {200}


def test_two_of_one_name_are_never_made(gateway):
    ask = lambda _: gateway.order("POST", "/admin/tokens", {"name": "same", "roles": ["call"]}, socket=True)[0]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(8))) == [200] + [409] * 7


DAMAGE = {
    "rubbish": lambda line: "this is no token",
    "a field less": lambda line: " ".join(line.split()[:-1]),
    "a role that is none": lambda line: line.replace(" call ", " root "),
    "half a digest": lambda line: line[:-32],
    "a time that is none": lambda line: line.replace(" - ", " never "),
    "the same id twice": lambda line: line + "\n" + line,
    "binary": lambda line: "\0\1\2\3",
}


@pytest.mark.parametrize("case", DAMAGE)
def test_with_a_damaged_file_it_does_not_start(make, case):
    gateway = make.gateway(sections=TOKEN_MODE)
    secret = gateway.new_token("erp")
    assert gateway.terminate() == 0
    tokens = gateway.home / "lib/keys/tokens"
    whole = tokens.read_text()
    lines = whole.splitlines()
    damaged = "\n".join([*lines[:-1], DAMAGE[case](lines[-1])]) + "\n"
    tokens.write_text(damaged)
    number = len(lines) + ("\n" in DAMAGE[case](lines[-1]))
    gateway.start(wait=False)
    assert gateway.process.wait(20) in (1, 78)
    words = gateway.stdout()
    assert str(tokens) in words and f"line {number}" in words, words
    assert tokens.read_text() == damaged, "nothing is mended behind anybody's back"
    assert hashlib.sha256(secret.encode()).hexdigest() not in words
    tokens.write_text(whole)
    gateway.start()
    assert gateway.showing(secret).modern_response("tools/list").status == 200


def test_a_file_that_others_may_write_or_that_is_elsewhere_is_not_taken(make):
    gateway = make.gateway(sections=TOKEN_MODE)
    gateway.new_token("erp")
    assert gateway.terminate() == 0
    tokens = gateway.home / "lib/keys/tokens"
    tokens.chmod(0o666)
    gateway.start(wait=False)
    assert gateway.process.wait(20) in (1, 78) and "chmod 600" in gateway.stdout()
    tokens.chmod(0o600)
    tokens.rename(gateway.home / "tokens")
    tokens.symlink_to(gateway.home / "tokens")
    gateway.start(wait=False)
    assert gateway.process.wait(20) in (1, 78) and "symbolic link" in gateway.stdout()


def test_a_file_that_is_damaged_later_locks_nobody_out_and_lets_nobody_in(gateway):
    erp = gateway.caller("erp")
    tokens = gateway.home / "lib/keys/tokens"
    whole = tokens.read_text()
    tokens.write_text(whole + "rubbish\n")
    log = gateway.home / "log/app.log"
    number = whole.count("\n") + 1
    house.eventually(lambda: f"line {number}" in log.read_text(), 10, "a word about it")
    assert echo(erp).status == 200 and echo(gateway).status == 401
    status, said = gateway.order("POST", "/admin/tokens", {"name": "more", "roles": ["call"]}, socket=True)
    assert status == 500 and f"line {number}" in said["error"]["message"], said
    tokens.write_text(whole)
    assert echo(gateway.caller("more")).status == 200
    # By hand, too: without the line, without the access.
    tokens.write_text("".join(line + "\n" for line in tokens.read_text().splitlines() if " erp " not in line))
    house.eventually(lambda: echo(erp).status == 401, 10, "the end of a token that was taken out of the file")


# The routes and the verbs.

BAD_TOKENS = [
    {}, {"name": "x"}, {"roles": ["call"]}, {"name": "", "roles": ["call"]}, {"name": "x", "roles": []}, {"name": "x", "roles": "call"},
    {"name": "x", "roles": ["root"]}, {"name": "x", "roles": [1]}, {"name": 1, "roles": ["call"]}, {"name": None, "roles": ["call"]},
    {"name": "a b", "roles": ["call"]}, {"name": "a\nb", "roles": ["call"]}, {"name": "grüße", "roles": ["call"]},
    {"name": "x" * 65, "roles": ["call"]}, {"name": "0123abcd", "roles": ["call"]}, {"name": "mcpgw_x", "roles": ["call"]},
    {"name": "anonymous", "roles": ["call"]}, {"name": "a/b", "roles": ["call"]}, {"name": "x", "roles": ["call"], "for": "5"},
    {"name": "x", "roles": ["call"], "for": "0s"}, {"name": "x", "roles": ["call"], "for": 5}, {"name": "x", "roles": ["call"], "for": "-1d"},
    {"name": "x", "roles": ["call"], "for": "99999999d"}, {"name": "x", "roles": ["call"], "secret": "mine"}, [], "x", 5,
]


@pytest.mark.parametrize("body", BAD_TOKENS, ids=lambda body: json.dumps(body)[:40])
def test_bad_orders_for_tokens_are_refused_in_words(gateway, body):
    before = (gateway.home / "lib/keys/tokens").read_bytes()
    status, said = gateway.order("POST", "/admin/tokens", body, socket=True)
    assert status == 400 and said["error"]["message"] and said["error"]["code"] == "bad_request", said
    assert (gateway.home / "lib/keys/tokens").read_bytes() == before


def test_names_that_are_good(gateway):
    for name in ("a", "x" * 64, "anna.b@site-1.example", "A_b", "-", ".", "0123abcde", "ABCDEF01"):
        assert echo(gateway.caller(name)).status == 200, name
        assert gateway.order("DELETE", f"/admin/tokens/{name}", socket=True)[0] == 200, name
    for odd in ("nobody", "%20", "a%2Fb", "..", "%00", "x" * 300):
        assert gateway.order("DELETE", f"/admin/tokens/{odd}", socket=True)[0] == 404, odd


def verb(gateway, *words, code=0):
    ran = gateway.verb("token", *words, code=code)
    return ran.stdout if code == 0 else ran.stdout + ran.stderr


def test_the_verbs_with_and_without_a_running_gateway(gateway):
    secret = verb(gateway, "new", "anna", "--role", "call", "--role", "observe", "--for", "30d").splitlines()[-1].strip()
    assert house.SECRET.fullmatch(secret) and echo(gateway.showing(secret)).status == 200
    listed = verb(gateway, "list")
    assert "anna" in listed and "observe" in listed and secret.split("_", 2)[2] not in listed
    verb(gateway, "new", "anna", "--role", "call", code=1)
    verb(gateway, "new", "bert", "--role", "root", code=64)
    verb(gateway, "new", "bert", code=64)
    verb(gateway, "revoke", "anna")
    assert echo(gateway.showing(secret)).status == 401
    assert verb(gateway, "revoke", "anna", code=1)
    gateway.terminate()
    secret = json.loads(verb(gateway, "new", "bert", "--role", "call", "--json"))["secret"]
    tokens = gateway.home / "lib/keys/tokens"
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600 and tokens.stat().st_uid == os.stat(gateway.home / "lib").st_uid
    assert {one["name"] for one in json.loads(verb(gateway, "list", "--json"))["tokens"]} == {"starter", "bert"}
    verb(gateway, "revoke", "starter")
    gateway.start()
    gateway.showing(secret).wait_for_tools("text__echo")
    assert secret.split("_", 2)[2] not in pathlib.Path(tokens).read_text()


def test_a_gateway_that_asks_for_tokens_and_has_none_says_what_to_do(make):
    gateway = make.gateway(tools=["text"], sections=TOKEN_MODE)
    component = gateway.component("tokens")
    assert component["status"] == "degraded" and "mcp-gateway token new" in component["detail"]
    assert "mcp-gateway token new" in gateway.stdout()
    gateway.caller("first").wait_for_tools("text__echo")
    names = [one["name"] for one in gateway.get("/health").json["components"]]
    assert "tokens" not in names, "all is well"
