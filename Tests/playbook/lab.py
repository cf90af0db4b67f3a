# Licensed under the Apache License 2.0; see LICENSE.
"""A Debian machine of its own for a test: a cached root, an overlay on top of it, booted with its own systemd.

The machine is a container of systemd-nspawn with a network that has loopback only. Its mounts are made in a namespace
that ends with it, and it is told to end when the test run does, so nothing is left behind even where the run is killed.
"""

import contextlib
import dataclasses
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

import base
from waiting import eventually

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
    "TERM": "xterm", "SYSTEMD_PAGER": "cat", "PAGER": "cat"}


def plain(screen):
    """A terminal's text without its codes."""
    return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z@]|[()][A-Z0-9]|[=>78])", "", screen)


@dataclasses.dataclass
class Result:
    command: str
    status: int
    stdout: str
    stderr: str = ""

    def __str__(self):
        return f"$ {self.command}\n{self.stdout}{self.stderr}(exit status {self.status})"

    def ok(self):
        assert self.status == 0, str(self)
        return self


def children(parent):
    """Process ids and facts of the processes that this one has started."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            facts = dict(line.split(":\t", 1) for line in entry.read_text().splitlines() if ":\t" in line)
            if int(facts["PPid"]) == parent:
                found.append((int(entry.parent.name), facts))
    return found


def finish(process):
    """Ends a command in a machine: first what was entered into it, so that nsenter is there to take note of its end."""
    for pid, _ in children(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Lab:
    """One machine. It can be shut down and booted again with what is on its disk."""

    count = 0

    def __init__(self):
        Lab.count += 1
        self.lower = base.root()
        self.name = f"lab-{os.getpid()}-{Lab.count}"
        self.home = base.PLACE / self.name
        self.machine = self.init = None
        for folder in ("upper", "work", "root"):
            (self.home / folder).mkdir(parents=True)
        if not base.can_overlay():
            subprocess.run(["cp", "-a", "--reflink=auto", f"{self.lower}/.", self.home / "root"], check=True)

    def __enter__(self):
        return self.boot()

    def __exit__(self, *_):
        self.close()

    # --- The machine's life ---

    def boot(self):
        assert self.machine is None, "it runs already"
        spawn = [
            "systemd-nspawn", "--quiet", "--boot", f"--directory={self.home}/root", f"--machine={self.name}",
            "--hostname=lab", "--register=no", "--keep-unit", "--private-network", "--resolv-conf=off",
            "--timezone=off", "--link-journal=no", "--console=pipe"]
        # Two machines must not share a control group: each first process takes the group it finds for its own.
        steps = [f"echo $$ >{group}/cgroup.procs" for group in self.make_groups()]
        if base.can_overlay():
            layers = f"lowerdir={self.lower},upperdir={self.home}/upper,workdir={self.home}/work"
            steps.append(f"mount -t overlay overlay -o {layers} {self.home}/root")
        # nspawn powers the machine off at TERM, so it ends orderly when this run does, whatever ends that.
        command = ["setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private", "--",
                   "sh", "-ec", "\n".join([*steps, 'exec "$@"']), "sh", *spawn]
        with open(self.home / "console.txt", "ab") as console:
            self.machine = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self.init = eventually(self.find_init, 20, "the first process of the machine")
            self.state = eventually(self.is_up, 60, "the end of its boot")
        except AssertionError as failure:
            words = (self.home / "console.txt").read_text(errors="replace")[-1500:]
            self.end_now()
            raise base.Unavailable(f"a machine does not boot here: {failure}. Its console said:\n{words}") from None
        return self

    def make_groups(self):
        self.groups = [folder / self.name for folder in base.control_groups()]
        for group in self.groups:
            group.mkdir(exist_ok=True)
        return self.groups

    def ended(self):
        self.machine = self.init = None
        base.remove_groups(self.groups)
        with contextlib.suppress(OSError):
            os.rmdir(f"/run/systemd/nspawn/propagate/{self.name}")

    def find_init(self):
        assert self.machine.poll() is None, f"systemd-nspawn ended with {self.machine.returncode}"
        return next((pid for pid, facts in children(self.machine.pid) if facts["NSpid"].split()[1:] == ["1"]), None)

    def is_up(self):
        assert self.machine.poll() is None, f"systemd-nspawn ended with {self.machine.returncode}"
        state = self.run("systemctl is-system-running").stdout.strip()
        return state if state in ("running", "degraded") else None

    def shut_down(self, seconds=60):
        """Powers it off, as an operator would; its services are stopped in order."""
        self.machine.send_signal(signal.SIGTERM)
        try:
            self.machine.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end_now()
            raise AssertionError(f"the machine did not power off within {seconds} s") from None
        self.ended()

    def end_now(self):
        """Like pulling the plug: every process in it is gone at once."""
        if self.machine is None:
            return
        if self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
        try:
            self.machine.wait(10)
        except subprocess.TimeoutExpired:
            self.machine.kill()
            self.machine.wait()
        self.ended()

    def close(self):
        self.end_now()
        shutil.rmtree(self.home)

    # --- What is done in it ---

    def inside(self, command, user, directory, *terminal):
        """The words that run a command in the machine, with nothing of this process's environment."""
        who = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        home = ENVIRONMENT["HOME"] if user == "root" else f"/home/{user}"
        variables = [f"{key}={value}" for key, value in {**ENVIRONMENT, "HOME": home, "USER": user}.items()]
        # A session of its own inside: keys and signals to "the process group" reach nobody outside, not even nsenter.
        return ["nsenter", f"--target={self.init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                "--root", f"--wd=/proc/{self.init}/root", "env", "--ignore-environment", f"--chdir={directory}",
                *variables, *who, "setsid", "--wait", *terminal, "bash", "-c", command]

    def run(self, command, user="root", seconds=30, directory="/root", input=None):
        """Runs a command line with bash; one that takes longer than the limit is ended, and that is a failure."""
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr, tempfile.TemporaryFile() as stdin:
            stdin.write((input or "").encode())
            stdin.seek(0)
            process = subprocess.Popen(
                self.inside(command, user, directory), stdin=stdin, stdout=stdout, stderr=stderr,
                start_new_session=True)
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                finish(process)
                status = None
            texts = []
            for file in (stdout, stderr):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        result = Result(command, status, *texts)
        assert status is not None, f"did not end within {seconds} s: {result}"
        return result

    def terminal(self, command, until, keys="\x03", user="root", seconds=30, directory="/root"):
        """Types a command at a terminal, reads until `until(text)` is true, then presses the keys that end it."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            self.inside(f"stty cols 160 rows 50; {command}", user, directory, "--ctty"),
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        text, seen, end = "", None, time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                if select.select([master], [], [], 0.1)[0]:
                    try:
                        text += os.read(master, 65536).decode(errors="replace")
                    except OSError:  # the last process that had the terminal is gone
                        break
                now = time.monotonic()
                # Who only just begins may miss it; a person presses it again.
                if seen is None and until(text) or seen is not None and now > seen + 2:
                    seen = now
                    os.write(master, keys.encode())
            else:
                words = "it does not end" if seen is not None else "that was not seen"
                raise AssertionError(f"{words} within {seconds} s: $ {command}\n{plain(text)[-3000:]}")
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            finish(process)
            os.close(master)
        assert seen, f"it ended before that was seen: $ {command}\n{plain(text)[-3000:]}"
        return Result(command, process.wait(), text)

    def path(self, inside):
        """The same file as seen from here, while the machine runs."""
        return pathlib.Path(f"/proc/{self.init}/root/{inside.lstrip('/')}")

    def put(self, source, inside, mode=None):
        """Copies a file or folder into it, for root."""
        target = self.path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        if pathlib.Path(source).is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)
            target.chmod(mode or (pathlib.Path(source).stat().st_mode & 0o777))

    def write(self, inside, text):
        """Gives a file this content; one that is there keeps its owner and mode."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text)

    def read(self, inside):
        return self.path(inside).read_text(errors="replace")
