# Licensed under the Apache License 2.0; see LICENSE.
"""An upstream of the soak test that misbehaves over stdio. Usage: soak_stdio.py SEED CALM COUNTS

Legacy (2025-06-18). It dies at random, writes lines that are no messages, answers twice, never, or under numbers that nobody
uses, does not end with its input, and leaves a process of its own behind.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import soak_unruly as unruly
from soak_unruly import message, note, progress, question, result

# Each life another fate.
mood = unruly.Mood(f"{sys.argv[1]} {os.getpid()} {time.time()}", sys.argv[2], sys.argv[3])
writing = threading.Lock()
answers, numbers, levels = {}, iter(range(1, 1 << 60)), []
flicker = 0


def write(*lines):
    with writing:
        for line in lines:
            sys.stdout.buffer.write(line if isinstance(line, bytes) else line.encode() + b"\n")
        sys.stdout.buffer.flush()


def serve(request):
    global flicker
    method, id = request["method"], request["id"]
    if method == "tools/call":
        return call(id, request["params"])
    found = unruly.answer(request, flicker)
    if found is None:
        return write(message(id=id, error={"code": -32601, "message": "no such method"}))
    write(message(id=id, result=found))


def call(id, params):
    tag, token = params.get("arguments", {}).get("tag", "untagged"), params.get("_meta", {}).get("progressToken")
    if mood.chance(0.5):
        kind = mood.pick(list(MISCHIEF))
        mood.note(kind)
        return MISCHIEF[kind](id, tag, token)
    if params["name"] == "steps" and token is not None:
        for number in range(1, 4):
            write(progress(token, number, tag))
            time.sleep(0.02)
    if params["name"] != "ask":
        return write(result(id, f"{tag}: 3 steps" if params["name"] == "steps" else tag))
    number, waiting = f"q{next(numbers)}", queue.Queue()
    answers[number] = waiting
    write(question(number, tag))
    try:
        given = waiting.get(timeout=20)
    except queue.Empty:
        return write(result(id, f"{tag}: nobody answered"))
    words = given["error"]["message"] if "error" in given else given["result"].get("content", {}).get("value")
    write(result(id, f"{tag}: {words}"))


def die(id, tag, token):
    os._exit(3)


def die_in_a_line(id, tag, token):
    with writing:
        sys.stdout.buffer.write(result(id, tag).encode()[:30])
        sys.stdout.buffer.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def junk(id, tag, token):
    write(f"DEBUG: a call of {tag}", b"\xff\xfe\x00 " + tag.encode() + b"\n", b"\n\r\n", "{}", "[]", "null", result(id, tag))


def nonsense(id, tag, token):
    write(unruly.nonsense(mood.pick(list(unruly.NONSENSE)), id, tag))


def in_pieces(id, tag, token):
    text = result(id, tag).encode() + b"\r\n"
    with writing:
        for at in range(0, len(text), 7):
            sys.stdout.buffer.write(text[at:at + 7])
            sys.stdout.buffer.flush()
            time.sleep(0.005)


def twice(id, tag, token):
    write(result(id, tag), result(id, f"{tag} again"), progress(token or 0, 99, tag))


def never(id, tag, token):
    pass


def stranger(id, tag, token):
    write(result(id + 10**12, tag), result(f"x{id}", tag), result(id, tag))


def chatter(id, tag, token):
    """On a process that all share nobody knows whom this concerns, so it concerns nobody."""
    lines = [note("notifications/message", level="error", logger=tag, data=tag), note("notifications/strange", tag=tag),
             progress("no such token", 1, tag)]
    lines += [progress(token, number, tag) for number in (5, 3, 6)] if token is not None else []
    lines += [message(id=f"chatter-{id}-{method}", method=method) for method in ("ping", "roots/list", "strange/method")]
    write(*lines, result(id, tag))


def storm(id, tag, token):
    global flicker
    flicker = next(unruly.flickers) + os.getpid()
    write(*[note("notifications/tools/list_changed")] * 200, result(id, tag))


def complain(id, tag, token):
    sys.stderr.write(f"{tag} " * 20_000)
    sys.stderr.flush()
    write(result(id, tag))


def overlong(id, tag, token):
    write(b"x" * (5 << 20) + b"\n", result(id, tag))


def close_output(id, tag, token):
    with writing:
        os.close(1)


MISCHIEF = {kind.__name__: kind for kind in (
    die, die_in_a_line, junk, nonsense, in_pieces, twice, never, stranger, chatter, storm, complain, overlong, close_output)}


def main():
    if mood.chance(0.1):
        mood.note("would not start")
        sys.exit("I will not")
    if mood.chance(0.3):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    helper = subprocess.Popen(["sleep", "86400"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "method" not in request:
            waiting = answers.pop(request.get("id"), None)
            if waiting:
                waiting.put(request)
        elif "id" in request:
            threading.Thread(target=serve, args=[request], daemon=True).start()
    if mood.chance(0.3):
        mood.note("did not end with its input")
        time.sleep(3600)
    if not mood.chance(0.5):
        helper.kill()


if __name__ == "__main__":
    threading.stack_size(1 << 18)
    main()
