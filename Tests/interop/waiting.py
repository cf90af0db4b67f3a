# Licensed under the Apache License 2.0; see LICENSE.
"""How tests wait, here and in Tests/playbook: never for a fixed time."""

import time


def eventually(condition, seconds=10, what="the condition"):
    """Asks until the answer is true, and returns it; fails after the deadline. The only way in which these tests wait."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)
