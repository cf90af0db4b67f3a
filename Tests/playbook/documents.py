# Licensed under the Apache License 2.0; see LICENSE.
"""The fenced blocks of the documents: where each is typed, with which values, and what may come of it.

A block of shell says by a comment on the line before its fence where it is typed:

    <!-- run: installed -->   at a machine with the package; what stands in docs/ and says nothing
    <!-- run: fresh -->       at a machine without it, all such blocks of a document one after the other
    <!-- run: checkout -->    in a checkout, with the built program; what stands elsewhere and says nothing
    <!-- not run: why -->     nowhere

At the end of a line `# exits 1` says that it does not succeed.
"""

import dataclasses
import functools
import os
import pathlib
import re
import subprocess

import base

DOCUMENTS = sorted(
    path for pattern in (
        "README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "docs/runbooks/*.md", "monitoring/README.md",
        "deploy/README.md", "deploy/*/README.md", "packaging/README.md", "examples/**/README.md")
    for path in base.ROOT.glob(pattern))
SHELL = ("sh", "bash")
PLACES = ("installed", "fresh", "checkout")

# Words that stand for something, and what is typed for them. A function gets the machine.
VALUES = {
    r"\bTOKEN\b": lambda machine: machine.secret,
    r"\bREQUEST\b": lambda machine: machine.request,
    r"\b(4711|ID)\b": lambda machine: str(machine.item),
    r"\bNAME\b": "erp",
    r"mcp-gateway_(VERSION|OLDER)_ARCHITECTURE\.deb": lambda machine: machine.package,
    # Nobody is there to answer a question, or to wait for five minutes.
    r"^apt-get ": "apt-get -y ",
    r"^(mcp-gateway doctor drill .*--for) 5m": r"\1 2s",
}
# Lines that go on until a key is pressed, and the key.
GOES_ON = {
    r"^journalctl .* -f$": "\x03",
    r"^top -p ": "q",
    r"^watch ": "\x03",
    r"^htop ": "q",
}
# Lines that do so too, and are typed elsewhere or nowhere.
ENDLESS = (r"^docker-compose up (?!.*-d\b)", r"^valgrind ", r"^perf record -g \./", r"^tail -f ", r"/dev/stdin\b")
# Lines whose status 1 says that something was found, or nothing; both are good answers on any day.
TELLS = (r"\bgrep\b", r"^mcp-gateway doctor\b", r"^mcp-gateway upstreams check\b", r"^dpkg --verify ")
# What a lab has not, and where the line is tried instead.
NOT_IN_A_LAB = {
    r"^(promtool|amtool) ": "Prometheus is not in the lab; Tests/interop/test_monitoring_stack.py has both of them",
    r"^curl .*localhost:9090/": "as above",
    r"^openssl s_client -connect localhost:8080": "no TLS in this lab; docs/DEPLOYMENT.md is tried with it",
}


@dataclasses.dataclass(frozen=True)
class Block:
    document: pathlib.Path
    line: int
    kind: str
    text: str
    note: str

    @property
    def name(self):
        return f"{self.document.relative_to(base.ROOT)}:{self.line}"

    @property
    def reason(self):
        """Why it is not run; nothing where it is."""
        found = re.fullmatch(r"<!-- not run: (.+) -->", self.note)
        return found and found[1]

    @property
    def place(self):
        found = re.fullmatch(r"<!-- run: (.+) -->", self.note)
        if found:
            return found[1]
        return "installed" if self.document.is_relative_to(base.ROOT / "docs") else "checkout"

    @property
    def file(self):
        """The name of a file that the block is the content of, where its first line is a comment with that name."""
        found = re.match(r"// (\w+\.\w+)\n", self.text)
        return found and found[1]


@functools.cache
def blocks(document):
    """All fenced blocks of a document."""
    found, lines, number = [], document.read_text(encoding="utf-8").split("\n"), 0
    while number < len(lines):
        opened = re.match(r"(\s*)(```+)(\w*)\s*$", lines[number])
        if opened:
            start = number
            number += 1
            while number < len(lines) and lines[number].strip() != opened[2]:
                number += 1
            text = "".join(line.removeprefix(opened[1]) + "\n" for line in lines[start + 1:number])
            note = next((line.strip() for line in reversed(lines[:start]) if line.strip()), "")
            # A comment belongs to the block that follows at once.
            note = note if lines[start - 1].strip() == note else ""
            found.append(Block(document, start + 1, opened[3], text, note))
        number += 1
    return found


def shell_blocks(place, documents=DOCUMENTS):
    return [block for document in documents for block in blocks(document)
            if block.kind in SHELL and not block.reason and block.place == place]


def commands(text):
    """The commands of a block, each with all its lines; comments that stand alone are left out."""
    found, lines = [], []
    for line in text.splitlines():
        if not lines and (not line.strip() or line.startswith("#")):
            continue
        lines.append(line)
        # A command is whole when bash says so, and no document in it waits for its end.
        checked = subprocess.run(["bash", "-n"], input="\n".join(lines) + "\n", capture_output=True, text=True)
        if not line.endswith("\\") and checked.returncode == 0 and "here-document" not in checked.stderr:
            found.append("\n".join(lines))
            lines = []
    assert not lines, f"this is not a whole command: {lines}"
    return found


def filled(command, machine=None):
    for word, value in VALUES.items():
        if re.search(word, command):
            command = re.sub(word, value(machine) if callable(value) else value, command)
    return command


def first_match(table, command):
    return next((key for key in table if re.search(key, command)), None)


def expected(command):
    """The statuses that are good."""
    said = re.search(r"#[^'\"]*\bexits (\d+)$", command)
    if said:
        return {int(said[1])}
    return {0, 1} if first_match(TELLS, command) else {0}


def script(texts):
    """What types commands one after the other in one shell, and writes `number status` of each to descriptor 3."""
    steps = ["set -o pipefail"]
    for number, text in enumerate(texts):
        steps.append(f"{text}\nprintf '%d %d\\n' {number} $? >&3")
    return "\n".join(steps)


def judge(texts, statuses, output):
    """Fails, with all that was printed, when a status is none of the expected."""
    wrong = [f"{text}\n  ended with {statuses.get(number, 'nothing')}" for number, text in enumerate(texts)
             if statuses.get(number) not in expected(text)]
    assert not wrong, "\n".join(wrong) + f"\n\n{output}"
    # In a pipe only the last failure shows.
    assert "command not found" not in str(output), str(output)


def type_at(machine, texts):
    """Types commands at a machine."""
    machine.run("rm -f /root/statuses").ok()
    done = machine.run(f"exec 3>/root/statuses\n{script(texts)}", seconds=180)
    told = [line.split() for line in machine.read("/root/statuses").splitlines()]
    judge(texts, {int(number): int(status) for number, status in told}, done)


class Checkout:
    """A copy of the checkout with the built program, and a network of its own, in which port 8080 is free."""

    def __init__(self, home, program):
        self.home, self.root = home, home / "checkout"
        names = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "config", "examples", "monitoring",
             "Package.swift"], cwd=base.ROOT, capture_output=True, text=True, check=True).stdout.split()
        for name in [*names, *(f"examples/tools/build/{path.name}"
                               for path in (base.ROOT / "examples/tools/build").iterdir())]:
            if (base.ROOT / name).is_file():
                self.put(base.ROOT / name, name)
        for kind in ("debug", "release"):
            self.put(program, f".build/{kind}/mcp-gateway")
        library = base.ROOT / "vendor/lib/libwasmtime.so"
        if library.exists():
            self.put(library, "vendor/lib/libwasmtime.so")
        self.network = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c",
             "ip link set lo up && echo up && exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.network.stdout.readline() == "up\n"
        self.gateway = None

    def put(self, source, name):
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.symlink(source, target) if source.suffix == ".so" else self.copy(source, target)

    @staticmethod
    def copy(source, target):
        # The program finds its checkout by its own place, so a link to the other one will not do.
        subprocess.run(["cp", "--reflink=auto", "--dereference", "--preserve=mode", source, target], check=True)

    def inside(self, *command):
        return ["nsenter", f"--net=/proc/{self.network.pid}/ns/net", *command]

    @property
    def environment(self):
        return {**os.environ, "HOME": str(self.home), "NO_COLOR": "1", "http_proxy": "", "no_proxy": "*"}

    def start(self):
        self.gateway = subprocess.Popen(
            self.inside("setpriv", "--pdeathsig", "TERM", str(self.root / ".build/release/mcp-gateway"), "serve"),
            stdin=subprocess.DEVNULL, stdout=open(self.home / "gateway.txt", "wb"), stderr=subprocess.STDOUT,
            env=self.environment, cwd=self.home)

    def is_serving(self):
        assert self.gateway.poll() is None, (self.home / "gateway.txt").read_text(errors="replace")
        asked = subprocess.run(self.inside("curl", "-sf", "http://127.0.0.1:8080/health/ready"), capture_output=True)
        return asked.returncode == 0

    def type(self, texts):
        (self.home / "curlrc").write_text("fail\n")
        with open(self.home / "statuses", "w+b") as statuses:
            done = subprocess.run(
                self.inside("bash", "-c", f"exec 3>{self.home}/statuses\n{script(texts)}"), cwd=self.root,
                env={**self.environment, "CURL_HOME": str(self.home)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=300)
            told = [line.split() for line in statuses.read().decode().splitlines()]
        judge(texts, {int(number): int(status) for number, status in told}, done.stdout.decode(errors="replace"))

    def close(self):
        for process in (self.gateway, self.network):
            if process:
                process.terminate()
                process.wait(30)
