# Licensed under the Apache License 2.0; see LICENSE.
"""What the clients of a soak test do, over and over, each in an order of its own; the same for all kinds of clients.

Every action knows what must come back. Only a bound that is told in words is accepted instead: SAYS_NO.
"""

import contextlib
import json
import random
import re
import threading
import time

import wire
from soak_clients import VENDOR, Enough, Gone, Left
from soak_over_http import LegacyHTTP, ModernHTTP, OverHTTP
from soak_over_lines import OverLines
from soak_watch import Fault, Watched

HTTP, STDIO = ["m1", "m2", "m3", "l1", "l2"], ["ms1", "ms2", "ls1"]
GOOD, UNRULY = HTTP + STDIO, ["bad", "mad"]
WATCHED = "test://watched-resource"
SAYS_NO = re.compile(r"holds \d+ conversations|already runs \d+ calls|Try again in")
CANNOT = re.compile(r"did not offer|cannot be asked|not offer|refused|-32601|requiredCapabilities|cannot")


def pick(client):
    """Legacy stdio needs a process for each client that can be asked, so it is taken less often."""
    return client.random.choice(HTTP * 3 + STDIO[:2] * 2 + STDIO[2:])


def words_of(run):
    """What a failure says; None for a success."""
    if "error" in run.answer:
        error = run.answer["error"]
        words = f"{error.get('message', '')} {json.dumps(error['data']) if 'data' in error else ''}".strip()
    elif run.answer["result"].get("isError"):
        words = wire.text_of(run.answer)
    else:
        return None
    if len(words) < 12 or " " not in words:
        raise Fault("no-words", f"{run.method}: {json.dumps(run.answer)[:300]}")
    return words


def accept(client, up, run, able=True):
    """True when the request came to its end; a failure has to be one that is told in words and may be."""
    words = words_of(run)
    if words is None:
        return True
    client.ledger.refused("unruly" if up in UNRULY else "good", words)
    if up not in UNRULY and not SAYS_NO.search(words) and (able or not CANNOT.search(words)):
        raise Fault("good-server-failed", f"{run.method} at {up}: {words[:400]}")
    return False


def call(client, up, tool, arguments=None, able=True, **more):
    """The text of a tool's answer; None when it was refused in words."""
    run = client.request("tools/call", {"name": f"{up}__{tool}", "arguments": arguments or {}}, **more)
    return (wire.text_of(run.answer), run) if accept(client, up, run, able) else (None, run)


def expect(what, got, wanted):
    if got is not None and got != wanted:
        raise Fault("wrong-answer", f"{what}: wanted {wanted[:200]!r}, got {got[:400]!r}")


def plain(client, up):
    what = client.random.randrange(5)
    if what == 0:
        text, _ = call(client, up, "whoami_meta")
        if text is not None and json.loads(text).get(VENDOR) != client.tag:
            raise Fault("wrong-answer", f"whoami_meta: {text[:400]}")
    elif what == 1:
        a, b = client.random.randrange(10**6), client.random.randrange(10**6)
        text, _ = call(client, up, "structured_sum", {"a": a, "b": b})
        expect("structured_sum", text, json.dumps({"sum": a + b}))
    elif what == 2:
        name = f"{client.mark()} " * client.random.choice([1, 1, 100, 2_000])
        text, _ = call(client, up, "greet", {"name": name})
        expect("greet", text, f"Hello, {name}!")
    elif what == 3:
        mark = client.mark()
        text, _ = call(client, "text", "echo", {"text": mark})
        expect("text__echo", text, mark)
    else:
        text, _ = call(client, up, "test_multiple_content_types")
        expect("content", text, "Multiple content types test:")


def lists(client, up):
    method, member = client.random.choice([
        ("tools/list", "tools"), ("prompts/list", "prompts"), ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates")])
    run = client.request(method)
    if words_of(run) is not None:
        raise Fault("list-failed", f"{method}: {words_of(run)}")
    found = json.dumps(run.answer["result"][member])
    missing = [each for each in GOOD if not re.search(rf'"{each}(__|\+)', found)]
    if missing:
        raise Fault("list-incomplete", f"{method} has nothing of {missing}")


def route(client, up):
    """Arguments that travel in headers as well."""
    up, mark = client.random.choice(["m1", "m2", "m3", "ms1"]), client.mark()
    headers = {"Mcp-Param-Tenant": wire.header_text(mark), "Mcp-Param-Count": "7"} if isinstance(client, ModernHTTP) else None
    text, _ = call(client, up, "routed_echo", {"tenant": mark, "count": 7}, headers=headers)
    expect("routed_echo", text, json.dumps({"tenant": mark, "count": 7}))


def progress(client, up, on_note=None):
    steps, mark = client.random.randint(2, 5), client.mark()
    log = client.random.choice([None, "debug", "info", "error"])
    text, run = call(client, up, "slow_progress", {"steps": steps, "pause": 0.02, "tag": mark}, progress=True, log=log, on_note=on_note)
    expect("slow_progress", text, f"{mark}: {steps} steps")
    heard = [(each["progress"], each["total"], each.get("message")) for each in run.told("notifications/progress")]
    wanted = [(number, steps, f"{mark} {number}" if client.revision >= "2025-03-26" else None) for number in range(1, steps + 1)]
    if text is not None and on_note is None and heard != wanted:
        raise Fault("progress-lost", f"at {up}: wanted {wanted}, heard {heard}")
    for each in run.told("notifications/message"):
        if each.get("logger") != mark or each.get("data", {}).get("tag") != mark:
            raise Fault("foreign-log", f"{each}")


def ask(client, up, leaves=False):
    mark = client.mark()
    kind, tool, arguments, wanted = client.random.choice([
        ("elicitation", "ask_and_echo", {"tag": mark}, f"{mark}:{client.given(mark)}"),
        ("elicitation", "ask_and_echo", {"tag": mark}, f"{mark}:{client.given(mark)}"),
        ("sampling", "ask_model_and_echo", {"tag": mark}, f"{mark}:{mark}!"),
        ("roots", "test_input_required_result_list_roots", {}, f"Roots: file:///{client.tag}"),
        ("elicitation", "test_input_required_result_multi_round", {}, f"{client.tag}!, then {client.tag}!"),
        ("all", "test_input_required_result_multiple_inputs", {}, f"{client.tag}! {client.tag}!, you have 1 roots.")])
    able = kind in client.able or (kind == "all" and len(client.able) == 3)
    text, _ = call(client, up, tool, arguments, able=able, leaves=leaves)
    if not able and text is not None:
        raise Fault("asked-what-it-cannot", f"{tool} at {up} gave {text}")
    expect(tool, text, wanted)


def leave_between(client, up):
    """A stateless client that does not come back for long."""
    if len(client.parked) < 3:
        with contextlib.suppress(Left):
            ask(client, up, leaves=True)
    elif client.chance(0.5):
        client.settle()


def tamper(client, up):
    """What was sealed for one call is good for no other, and not when it was changed."""
    if "elicitation" not in client.able:
        return
    with contextlib.suppress(Left):
        params = {"name": f"{up}__ask_and_echo", "arguments": {"tag": client.mark()}}
        accept(client, up, client.request("tools/call", params, leaves=True))
        return
    method, params = client.parked[-1]
    state = params["requestState"]
    bent = state[:len(state) // 2] + ("A" if state[len(state) // 2] != "A" else "B") + state[len(state) // 2 + 1:]
    for other in ({**params, "requestState": bent}, {**params, "arguments": {"tag": client.mark()}}):
        run = client.request(method, other)
        if run.answer.get("error", {}).get("code") != -32602:
            raise Fault("state-taken", f"{json.dumps(run.answer)[:300]}")
    client.settle()


def offers(client, up):
    what, mark = client.random.randrange(5), client.mark()
    if what == 0:
        arguments = {"arg1": mark, "arg2": client.tag}
        run = client.request("prompts/get", {"name": f"{up}__test_prompt_with_arguments", "arguments": arguments})
        wanted = f"Prompt with arguments: arg1='{mark}', arg2='{client.tag}'"
        if accept(client, up, run):
            expect("prompt", run.answer["result"]["messages"][0]["content"]["text"], wanted)
    elif what == 1:
        run = client.request("prompts/get", {"name": f"{up}__test_input_required_result_prompt"})
        able = "elicitation" in client.able
        if accept(client, up, run, able):
            expect("asking prompt", run.answer["result"]["messages"][0]["content"]["text"], f"About: {client.tag}!")
    elif what == 2:
        run = client.request("resources/read", {"uri": f"{up}+test://template/{mark}/data"})
        if accept(client, up, run):
            contents = run.answer["result"]["contents"][0]
            if contents["uri"] != f"{up}+test://template/{mark}/data" or json.loads(contents["text"])["id"] != mark:
                raise Fault("wrong-answer", f"read {mark}: {contents}")
    elif what == 3:
        run = client.request("resources/read", {"uri": f"{up}+test://nothing/{mark}"})
        wanted = -32602 if client.modern else -32002
        code = run.answer.get("error", {}).get("code")
        if code != wanted and not SAYS_NO.search(words_of(run) or ""):
            raise Fault("wrong-answer", f"a resource that is not: {json.dumps(run.answer)[:300]}")
    elif client.revision >= "2025-03-26":
        ref = {"type": "ref/prompt", "name": f"{up}__test_prompt_with_arguments"}
        run = client.request("completion/complete", {"ref": ref, "argument": {"name": "arg1", "value": "par"}})
        if accept(client, up, run) and run.answer["result"]["completion"]["values"] != ["paris", "park", "party"]:
            raise Fault("wrong-answer", f"completion: {json.dumps(run.answer)[:300]}")


def change(client, up):
    """Everybody hears of it, so it is done seldom."""
    up = client.random.choice(HTTP)
    call(client, up, client.random.choice(["change_tools", "change_resources", "test_trigger_prompt_change"]))


def watch(client, up):
    """A change of a watched resource is told; on a machine that is very busy perhaps at the second time."""
    up = client.random.choice(HTTP)
    uri = f"{up}+{WATCHED}"

    def until_told(told):
        for _ in range(4):
            if call(client, up, "touch_watched")[0] is not None and told(time.monotonic() + 8):
                return client.ledger.count("changes heard")
        raise Fault("change-not-told", f"of {uri}, touched four times")

    if client.modern:
        with client.listening({"toolsListChanged": client.chance(0.5), "resourceSubscriptions": [uri]}) as message:
            first = message(60)
            if first is None or first["method"] != "notifications/subscriptions/acknowledged":
                raise Fault("not-acknowledged", f"{first}")

            def told(end):
                while (left := end - time.monotonic()) > 0:
                    found = message(left)
                    if found and found["params"].get("uri") == uri:
                        return True
                return False

            until_told(told)
    elif isinstance(client, OverLines) or client.ear:
        run = client.request("resources/subscribe", {"uri": uri})
        if not accept(client, up, run):
            return
        begin = len(client.told)

        def told(end):
            while time.monotonic() < end:
                if any(each.get("params", {}).get("uri") == uri for each in client.told[begin:]):
                    return True
                time.sleep(0.02)
            return False

        until_told(told)
        client.request("resources/unsubscribe", {"uri": uri})
    strangers = {each["params"]["uri"] for each in getattr(client, "told", []) if each["method"].endswith("/updated")}
    if any(not each.endswith(WATCHED) and client.tag not in each for each in strangers):
        raise Fault("foreign-update", f"{strangers}")


def cancel(client, up):
    """In the middle; the server must learn of it, where the next call reaches the same process."""
    mark = client.mark()

    def enough(_):
        time.sleep(client.random.choice([0, 0, 0.05, 0.3]))
        raise Enough

    arguments = {"seconds": 40, "tag": mark}
    try:
        text, _ = call(client, up, "cancellable", arguments, progress=True, on_note=enough)
        if text is not None:
            raise Fault("no-progress", f"cancellable at {up} said nothing for 40 s")
        return
    except Enough:
        client.ledger.count("calls cancelled")
    if up == "ls1":
        return
    end = time.monotonic() + 25
    while (text := call(client, up, "was_cancelled", {"tag": mark})[0]) != "cancelled" and text is not None:
        if time.monotonic() > end:
            raise Fault("not-cancelled", f"{up} says {text!r} of a call that was cancelled 25 s ago")
        time.sleep(0.2)


def lose(client, up):
    """The connection breaks in the middle of a call, whose rest is asked for on another."""
    def gone(_):
        raise Gone

    steps, mark = client.random.randint(2, 5), client.mark()
    run = client.request("tools/call", {"name": f"{up}__slow_progress", "arguments": {"steps": steps, "tag": mark}},
                         progress=True, on_note=gone)
    if run.answer is not None and accept(client, up, run):
        expect("the rest of a stream", wire.text_of(run.answer), f"{mark}: {steps} steps")


def rude(client, up):
    """What clients do that nobody wants: they go in the middle of everything, read slowly, and send two things at once."""
    what = client.random.randrange(5)
    client.ledger.count("rudenesses")
    params = {"name": f"{up}__slow_progress", "arguments": {"tag": client.mark(), "steps": 20}}
    if isinstance(client, ModernHTTP):
        data = wire.modern_request("tools/call", params)
    else:
        headers = getattr(client, "headers", wire.LEGACY_HEADERS)
        data = wire.request("POST", "/mcp", headers, wire.legacy_body("tools/call", params))
    with Watched(client, client.place.port) as connection:
        if what == 0:
            connection.send(data[:client.random.randrange(1, len(data))])
        elif what == 1:
            connection.send(data)
        elif what == 2:
            connection.send(data)
            connection.socket.recv(1)
        elif what == 3:
            connection.send(bytes(client.random.randrange(256) for _ in range(200)) + b"\r\n\r\n")
            connection.socket.settimeout(5)
            with contextlib.suppress(OSError, ConnectionError):
                connection.fill()
        elif isinstance(client, ModernHTTP):
            two_at_once(client, up, connection)


def two_at_once(client, up, connection):
    """Pipelined: the answers come in the order of the requests, each with its own id."""
    marks = [client.mark(), client.mark()]
    data = [wire.modern_request("tools/call", {"name": f"{up}__greet", "arguments": {"name": mark * 5_000}}, id=mark) for mark in marks]
    connection.send(b"".join(data))
    connection.socket.settimeout(120)
    for mark in marks:
        time.sleep(client.random.choice([0, 0.2]))
        answer = connection.response().json
        if answer.get("id") != mark or "result" in answer and mark not in wire.text_of(answer):
            raise Fault("wrong-id", f"pipelined {mark}: {json.dumps(answer)[:300]}")


def unruly(client, up):
    """At a server that misbehaves: an answer with one's own mark, or words."""
    up, mark = client.random.choice(UNRULY), client.mark()
    tool = client.random.choice(["say", "steps", "ask"])
    params = {"name": f"{up}__{tool}", "arguments": {"tag": mark}}
    run = client.request("tools/call", params, progress=client.chance(0.7), log=client.random.choice([None, "debug"]), strict=False)
    if accept(client, up, run):
        text = json.dumps(run.answer["result"])
        if mark not in text and run.answer["result"].get("content"):
            raise Fault("wrong-answer", f"{tool} at {up}: {text[:300]}")


def several(client, up):
    """Side by side in one client."""
    faults = []

    def one(action):
        try:
            action(client, pick(client))
        except (Fault, OSError) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=one, args=[action], daemon=True)
               for action in random.Random(client.mark()).choices([ask, progress, plain, offers], k=3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def begin_anew(client, up):
    """The session ends and another begins."""
    client.ledger.count("sessions ended")
    if isinstance(client, LegacyHTTP):
        old = dict(client.headers)
        client.deafen()
        if client.chance(0.3):
            client.place.forgotten.append(old)
        else:
            client.delete()
            stream, _ = client.exchange(wire.request("POST", "/mcp", old, wire.legacy_body("ping")))
            if stream.status != 404:
                raise Fault("session-lives", f"HTTP {stream.status} after DELETE")
    else:
        client.deafen()
    client.open()


def turn_ear(client, up):
    """The session's own stream is dropped and taken up again."""
    client.deafen()
    client.listen()


ALL = [(plain, 10), (lists, 4), (progress, 8), (ask, 12), (offers, 6), (change, 0.3), (watch, 2), (cancel, 3), (unruly, 8),
       (several, 3), (route, 2)]
OF_MODERN = [(leave_between, 2), (tamper, 1)]
OF_SESSIONS = [(begin_anew, 1.5)]
OVER_HTTP = [(rude, 3)]


def actions(client):
    found = ALL + (OF_MODERN if client.modern else OF_SESSIONS) + (OVER_HTTP if isinstance(client, OverHTTP) else [])
    if client.modern and isinstance(client, OverLines):
        found = found + OF_SESSIONS
    if isinstance(client, LegacyHTTP):
        found = found + [(lose, 3), (turn_ear, 1)]
    return found


def live(client, pace, is_over):
    """A client's life until the end."""
    choices, weights = zip(*actions(client))
    while not is_over():
        action = client.random.choices(choices, weights)[0]
        guard(client, action)
        time.sleep(client.random.expovariate(1 / pace) if pace else 0)
        if getattr(client, "is_open", True) is False and not is_over():
            client.ledger.count("streams opened again")
            guard(client, lambda client, _: client.open())


def guard(client, action):
    what = getattr(action, "__name__", "open").replace("<lambda>", "open")
    try:
        action(client, pick(client))
        client.ledger.count(what)
    except Fault as fault:
        client.ledger.fault(fault.args[0], f"{client.name} at {what}: {': '.join(map(str, fault.args[1:]))}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        where = problem.__traceback__
        while where.tb_next:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_name}:{where.tb_lineno}"
        client.ledger.fault("broken", f"{client.name} at {what}: {type(problem).__name__} {problem} ({place})")
