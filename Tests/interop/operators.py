# Licensed under the Apache License 2.0; see LICENSE.
"""What operators type who have curl."""

import json
import subprocess

NOBODY = 65534


def curl(*arguments, user=None):
    """The status and the body of what curl got, as some user."""
    ran = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", *arguments], capture_output=True, text=True, timeout=60, user=user)
    assert ran.returncode == 0, ran
    body, _, status = ran.stdout.rpartition("\n")
    return int(status), json.loads(body) if body else None


def ordered(gateway, method, path, body=None, status=200):
    """An order in the playbook's manner: `curl -d`, which calls everything a form."""
    more = [] if body is None else ["-d", json.dumps(body)]
    got, said = curl("-X", method, f"http://localhost:{gateway.port}{path}", *more)
    assert got == status, (got, said)
    return said
