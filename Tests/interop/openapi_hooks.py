# Licensed under the Apache License 2.0; see LICENSE.
"""What schemathesis does before each of its requests, see test_openapi.py: copies land in one folder, and some of what is asked for
is there."""

import os

import schemathesis

PLACE = os.environ["OPENAPI_PLACE"]
THERE = {"id": ["1", "2", "3", "4", "5", "6", "7", "8"], "name": ["text__echo", "up__price", "up__dispense"]}


def confined(path):
    return f"{PLACE}/{''.join(letter for letter in path if letter.isascii() and letter.isalnum())[:40]}x"


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("to"), str) and body["to"].startswith("/"):
        case.body = {**body, "to": confined(body["to"])}
    if case.meta and case.meta.generation.mode.value == "positive" and not case.path.startswith("/admin/tokens"):
        for name, value in (case.path_parameters or {}).items():
            if name in THERE and len(str(value)) % 2:
                case.path_parameters[name] = THERE[name][len(str(value)) // 2 % len(THERE[name])]
