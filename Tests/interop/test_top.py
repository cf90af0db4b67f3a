# Licensed under the Apache License 2.0; see LICENSE.
"""Verbs on a terminal: `top` draws and gives it back however it ends, colours are for who can see them."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import gateway as house


@pytest.fixture(scope="module")
def gateway(make_once):
    """One upstream that is not there, between two that are."""
    one = make_once.gateway({
        "up": {"url": make_once.scripted()}, "gone": {"url": f"http://127.0.0.1:{house.free_port()}/mcp"},
        "other": {"url": make_once.scripted()}})
    one.wait_for_tools("up__echo", "other__echo")
    return one


class Terminal:
    """A verb on a terminal of its own: what stands on it, what was written, and how its settings are."""

    def __init__(self, gateway, *words, rows=24, columns=80, env=None):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.settings = termios.tcgetattr(self.slave)
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8", **(env or {})}
        self.process = subprocess.Popen(
            gateway.command(*words), stdin=self.slave, stdout=self.slave, stderr=self.slave,
            env=environment, start_new_session=True)
        self.written, self.lines, self.row, self.column, self.rest = "", {}, 1, 1, ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.master)
        os.close(self.slave)

    def read(self, seconds=0.05):
        while select.select([self.master], [], [], seconds)[0]:
            text = os.read(self.master, 65536).decode(errors="replace")
            self.written += text
            self.show(text)

    def show(self, text):
        for code, plain in re.findall(r"\x1b\[([?0-9;]*[A-Za-z])|(\r|\n|[^\x1b])", self.rest + text):
            if plain == "\n":
                self.row += 1
            elif plain == "\r":
                self.column = 1
            elif plain:
                line = self.lines.get(self.row, "").ljust(self.column - 1)
                self.lines[self.row] = line[:self.column - 1] + plain + line[self.column:]
                self.column += 1
            elif code.endswith("H"):
                self.row, self.column = (int(part) for part in (code[:-1] or "1;1").split(";"))
            elif code == "2J":
                self.lines = {}
            elif code == "K":
                self.lines[self.row] = self.lines.get(self.row, "")[:self.column - 1]
            elif code == "J":
                self.lines = {row: line for row, line in self.lines.items() if row < self.row}

    @property
    def screen(self):
        self.read()
        return "\n".join(self.lines.get(row, "") for row in range(1, max(self.lines, default=0) + 1))

    def shows(self, pattern, seconds=10):
        return house.eventually(lambda: re.search(pattern, self.screen, re.M), seconds, f"{pattern!r} on the screen")

    def end(self, code=0):
        house.eventually(lambda: self.read() or self.process.poll() is not None, 10, "the end of the verb")
        self.read()
        assert self.process.returncode == code, (self.process.returncode, self.screen)
        assert termios.tcgetattr(self.slave) == self.settings, "the terminal is not as it was"


def test_top_draws_and_gives_the_terminal_back(gateway):
    with Terminal(gateway, "top", "--interval", "0.5s") as top:
        top.shows(r"^up +healthy")
        assert top.written.startswith("\x1b[?1049h") and house.name_of(top.process.pid) == "mcpgw-top"
        assert termios.tcgetattr(top.slave)[3] & (termios.ICANON | termios.ECHO) == 0
        first = re.search(r"\d\d:\d\d:\d\d UTC", top.screen).group()
        top.written = ""
        top.shows(rf"^mcp-gateway (?!.*{first}).* UTC, every 500ms, q ends$")
        assert "\x1b[2J" not in top.written and "DETAIL" not in top.written, "only what has changed is written"
        assert not any(char in top.screen for char in "\x07\x1b")
        os.write(top.master, b"xq")
        top.end()
        assert top.written.endswith("\x1b[?1049l")


@pytest.mark.parametrize("how", ["Ctrl-C", "TERM", "INT"])
def test_top_gives_the_terminal_back_however_it_ends(gateway, how):
    with Terminal(gateway, "top", "--interval", "60") as top:
        top.shows(r"^up +healthy")
        for number in (signal.SIGHUP, signal.SIGUSR1):
            top.process.send_signal(number)
        os.write(top.master, b" ")
        if how == "Ctrl-C":
            os.write(top.master, b"\x03")
        else:
            top.process.send_signal(getattr(signal, f"SIG{how}"))
        top.end()
        assert top.written.endswith("\x1b[?1049l")


def test_top_fits_the_terminal_as_it_is(gateway):
    with Terminal(gateway, "top", "--interval", "0.5", rows=8, columns=40) as top:
        top.shows(r"lines more$")
        assert len(top.lines) == 8 and all(len(line) <= 40 for line in top.lines.values())
        top.resize(50, 120)
        top.shows(r"^gone +unhealthy")
        assert "lines more" not in top.screen
        os.write(top.master, b"q")
        top.end()


def test_top_goes_on_when_the_gateway_goes(make):
    one = make.gateway()
    with Terminal(one, "top", "--interval", "0.5") as top:
        top.shows(r"^mcp-gateway \S+: healthy|degraded")
        one.kill()
        top.shows(r"^no gateway is running.*\n.* ago:")
        one.start()
        top.shows(r"\A(?!no gateway)(?s:.)*mcp-gateway \S+: ")
        os.write(top.master, b"q")
        top.end()


def test_top_without_a_terminal_prints_one_screen_after_the_other(gateway):
    text = gateway.verb("top", "--count", "2", "--interval", "0.5").stdout
    assert "\x1b" not in text and text.count("mcp-gateway ") == 2 and "\n\nmcp-gateway " in text
    lines = gateway.verb("top", "--count", "2", "--interval", "0.5", "--json").stdout.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["degraded"] * 2
    ran = subprocess.Popen(
        gateway.command("top", "--interval", "60"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert ran.stdout.readline().startswith("mcp-gateway ")
        ran.stdout.close()
        assert ran.wait(10) == 0, "nobody reads it any more"
    finally:
        ran.kill()
        ran.wait()


def test_top_says_when_the_last_answer_is_missing(make):
    one = make.gateway()
    with Terminal(one, "top", "--count", "2", "--interval", "1", env={"TERM": "dumb"}) as top:
        top.shows(r"^mcp-gateway \S+: ")
        one.kill()
        top.end(code=1)
        assert "no gateway is running" in top.screen


def test_colours_are_for_terminals_where_they_are_wanted(gateway):
    for environment, has in (({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, False), ({"TERM": "dumb"}, False)):
        with Terminal(gateway, "status", env=environment) as status:
            status.end()
            assert ("\x1b[" in status.written) == has, environment


def test_verbs_keep_the_name_of_the_gateway_free(gateway):
    """`pgrep mcp-gateway` is to find the serving process alone."""
    with Terminal(gateway, "top", "--interval", "60") as top:
        top.shows(r"^up +healthy")
        assert house.name_of(gateway.process.pid) == "mcp-gateway" and "mcp-gateway" not in house.name_of(top.process.pid)
        began = time.monotonic()
        os.write(top.master, b"q")
        top.end()
        assert time.monotonic() - began < 10
