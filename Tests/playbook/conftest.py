# Licensed under the Apache License 2.0; see LICENSE.
import contextlib
import os

import pytest

import base
import installed
import lab
import playbook


def pytest_configure(config):
    if installed.DEB is None or not installed.DEB.exists():
        pytest.exit(f"there is no package at {installed.DEB}; Tests/playbook/run says which one it takes", 2)


class Park:
    """Makes machines and ends them all, whatever happens in between."""

    def __init__(self):
        self.machines = []

    def new(self):
        try:
            machine = installed.Machine()
            self.machines.append(machine)
            return machine.boot()
        except base.Unavailable as reason:
            if os.environ.get("CI") == "true":
                pytest.fail(f"CI has to hold a lab, and cannot: {reason}", pytrace=False)
            pytest.skip(f"no lab on this machine: {reason}")

    def new_installed(self):
        machine = self.new()
        machine.install().ok()
        return machine

    def close(self):
        while self.machines:
            self.machines.pop().close()


@pytest.fixture
def park():
    machines = Park()
    yield machines
    machines.close()


@contextlib.contextmanager
def served():
    """A machine with the package as it is shipped, an upstream, a module and a client."""
    machines = Park()
    try:
        one = machines.new_installed()
        one.put_tools()
        one.secret = one.token("tests")
        one.run("systemctl reload mcp-gateway").ok()
        one.wait_for("wasm", "upstream:notes")
        yield one
    finally:
        machines.close()


@pytest.fixture(scope="module")
def machine():
    """One for the tests of a file."""
    with served() as one:
        yield one


@pytest.fixture(scope="session")
def operator():
    """Who types the playbook, all of it, at one machine."""
    with served() as one:
        yield playbook.Operator(one)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of its machine's journal."""
    report = yield
    if report.when == "call" and report.failed:
        for value in item.funcargs.values():
            machine = getattr(value, "machine", None) if isinstance(value, playbook.Operator) else value
            for one in machine.machines if isinstance(machine, Park) else [machine]:
                if isinstance(one, lab.Lab) and one.init:
                    journal = one.run("journalctl --no-pager --unit=mcp-gateway --lines=25").stdout
                    report.sections.append(("journal", journal))
    return report
