# Licensed under the Apache License 2.0; see LICENSE.
"""Whether any line of the playbook was forgotten. Asked at the end, and only of a whole run."""

import pytest

import playbook


def test_every_line_was_typed_or_has_a_reason(operator, request):
    if request.config.getoption("keyword") or len(request.config.args) > 1:
        pytest.skip("only some tests were asked for")
    not_typed = [line for line in playbook.LINES if line not in operator.typed]
    assert not_typed == [line for line in playbook.LINES if line in playbook.NOT_HERE]


def test_what_cannot_be_typed_here_has_its_reason():
    assert all(line in playbook.LINES and reason for line, reason in playbook.NOT_HERE.items())
