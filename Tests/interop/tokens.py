# Licensed under the Apache License 2.0; see LICENSE.
"""What the tests about tokens have in common."""

TOKEN_MODE = {"auth": {"mode": "token"}}


def spoilt(secret):
    """Another one, whatever the last letter is."""
    return secret[:-1] + ("B" if secret[-1] == "A" else "A")


def echo(gateway):
    return gateway.modern_response("tools/call", {"name": "text__echo", "arguments": {"text": "x"}})
