# Licensed under the Apache License 2.0; see LICENSE.
"""Memory and processor: valgrind, perf, limits. Operators have a checkout, with what is shipped in its build folder."""

import json
import re
import shutil
import subprocess

import pytest

import base
import installed
from lab import plain
from waiting import eventually

CHECKOUT = "/root/mcp-gateway"
SUPPRESSIONS = "Tests/playbook/valgrind.supp"
SERVER_PORT = 9100
# One of a module, one of a child process.
CALLS = [("units__convert", {"value": 100, "from": "km", "to": "mi"}), ("notes__add_note", {"text": "buy milk"})]


@pytest.fixture(scope="module")
def checkout(operator):
    """A checkout's folders with the packaged program in them, and the package with its symbols."""
    machine = operator.machine
    # What valgrind reads of itself in the folder where it is started belongs to a checkout, too.
    for name in ("Package.swift", "config", "examples/upstreams", "examples/tools/build", ".valgrindrc", SUPPRESSIONS):
        if (base.ROOT / name).exists():
            machine.put(base.ROOT / name, f"{CHECKOUT}/{name}")
    machine.run(
        f"cd {CHECKOUT} && ln -sfn .build target && mkdir -p .build/release vendor/lib && "
        "cp /usr/bin/mcp-gateway .build/release/ && ln -sf /usr/lib/mcp-gateway/libwasmtime.so vendor/lib/").ok()
    name = installed.DEB.name.replace("mcp-gateway_", "mcp-gateway-dbgsym_")
    symbols = installed.DEB.parent / "symbols" / name
    assert symbols.exists(), f"make deb makes a package with the debug symbols, too, but there is no {symbols}"
    machine.install(symbols).ok()
    return CHECKOUT


@pytest.fixture
def alone(operator):
    """No service beside what the operator starts by hand."""
    machine = operator.machine
    machine.run("systemctl stop mcp-gateway").ok()
    yield
    machine.run("systemctl start mcp-gateway").ok()
    machine.wait_for("wasm", "upstream:notes")


def is_serving(text):
    return "Stop it:" in text


def call_when_there(machine, tool, arguments):
    """The answer of a gateway that is slow to start what it calls, once the tool is there."""
    def answered():
        status, answer = machine.call(tool, arguments, "", seconds=60)
        is_good = status == 200 and "result" in answer and not answer["result"].get("isError")
        return json.dumps(answer) if is_good else None

    return eventually(answered, 90, f"an answer of {tool}")


# --- Memory ---

@pytest.fixture
def server(operator, checkout):
    """A server over HTTP in the checkout's configuration. What the gateway starts itself is away under valgrind, since
    a program there cannot execute itself once more: `/proc/self/exe` is valgrind."""
    machine, file = operator.machine, f"{checkout}/config/default.toml"
    for name in ("moody.py", "legacy_base.py"):
        machine.put(base.ROOT / "Tests/interop/servers" / name, f"/opt/moody/{name}")
    machine.run(f"systemd-run --unit=moody python3 /opt/moody/moody.py {SERVER_PORT}").ok()
    shipped = machine.read(file)
    machine.write(file, f'{shipped}\n[upstreams.moody]\nurl = "http://127.0.0.1:{SERVER_PORT}/mcp"\n')
    yield
    machine.write(file, shipped)
    machine.run("systemctl stop moody").ok()


def test_valgrind_finds_no_leak(operator, checkout, alone, server):
    told = []

    def has_worked(text):
        if is_serving(text):
            told.append(call_when_there(operator.machine, "moody__work", {"n": "seven"}))
            # These two fail, which must not lose anything either.
            told.extend(operator.machine.call(*one, "", seconds=60) for one in CALLS)
        return bool(told)

    seen = operator.watch("valgrind --tool=memcheck --leak-check=full ./target/release/mcp-gateway", has_worked,
                          seconds=240, directory=checkout)
    assert "work seven" in told[0] and [status for status, _ in told[1:]] == [200, 200], told
    lost = re.search(r"definitely lost: ([\d,]+) bytes", seen.stdout)
    assert lost and lost[1] == "0", plain(seen.stdout)[-3000:]


def test_memory_is_watched(operator):
    shown = operator.watch("watch -n 1 'ps aux | grep mcp-gateway | grep -v grep'",
                           lambda text: "/usr/bin/mcp-gateway serve" in plain(text))
    # Memory and processor, by the same columns as ever: user, pid, %CPU, %MEM.
    assert re.search(r"mcp-gat\+\s+\d+\s+[\d.]+\s+[\d.]+", plain(shown.stdout)), shown


def test_a_second_gateway_does_no_harm(operator):
    machine = operator.machine
    pid = machine.pid()
    files = "find /var/lib/mcp /var/log/mcp-gateway /run/mcp-gateway -user root -newer /run/before"
    machine.run("touch /run/before").ok()
    told = operator.type("systemd-run --slice=mcp --property=MemoryMax=1G mcp-gateway").ok()
    unit = re.search(r"run-\w+\.service", told.stdout + told.stderr)[0]
    eventually(lambda: machine.fact("ActiveState", unit) == "failed", 20, "the end of the second gateway")
    assert machine.fact("ExecMainStatus", unit) == "1"
    assert machine.fact("MemoryMax", unit) == str(1 << 30) and machine.fact("Slice", unit) == "mcp.slice"
    words = machine.run(f"journalctl --no-pager -u {unit}").ok().stdout
    assert f"/var/lib/mcp is in use by process {pid}, listening on port 8080" in words
    assert machine.run(files).ok().stdout == ""
    assert machine.pid() == pid
    assert machine.text("units__convert", {"value": 1, "from": "km", "to": "mi"}, machine.secret).startswith("1 km")
    machine.run(f"systemctl reset-failed {unit}").ok()


@pytest.fixture
def limited(operator, alone):
    """The same line while the service is stopped: then this is the gateway, with a limit."""
    machine = operator.machine
    machine.run("touch /root/before").ok()
    told = operator.type("systemd-run --slice=mcp --property=MemoryMax=1G mcp-gateway").ok()
    unit = re.search(r"run-\w+\.service", told.stdout + told.stderr)[0]
    try:
        eventually(lambda: machine.health() or machine.fact("ActiveState", unit) == "failed", 20, "health, or an end")
        yield unit
    finally:
        machine.run(f"systemctl stop {unit}; systemctl reset-failed").ok()


def test_a_gateway_with_a_limit_serves_in_the_place_of_the_service(operator, limited):
    machine = operator.machine
    assert machine.fact("ActiveState", limited) == "active", machine.run(f"journalctl --no-pager -u {limited}").stdout
    assert machine.text("units__convert", {"value": 1, "from": "km", "to": "mi"}, machine.secret).startswith("1 km")
    places = "/var/lib/mcp /var/log/mcp-gateway /run/mcp-gateway"
    assert machine.run(f"find {places} -user root -newer /root/before").ok().stdout == ""


@pytest.fixture
def sockets_place(operator, alone):
    operator.machine.run("install -d -o mcp-gateway -g mcp-gateway -m 0750 /run/mcp-gateway").ok()


def test_a_gateway_that_root_starts_is_not_roots_any_more(operator, sockets_place, limited):
    """No thread of it: one that kept root would give it to whoever takes over another."""
    machine = operator.machine
    users = machine.run(f"ps -L -o euser:32= -o ruser:32= -p {machine.pid()}").ok().stdout.split()
    assert set(users) == {"mcp-gateway"}, users


# --- Processor ---

def test_the_processor_is_profiled(operator, checkout, alone):
    def has_worked(text):
        return is_serving(text) and all(call_when_there(operator.machine, *one) for one in CALLS)

    seen = operator.watch("perf record -g ./target/release/mcp-gateway", has_worked, directory=checkout, seconds=120)
    assert "perf.data" in seen.stdout, seen
    report = operator.watch(
        "perf report", lambda text: "Shared Object" in plain(text), "q", directory=checkout, seconds=60)
    assert "mcp-gateway" in plain(report.stdout), report
    # On paper the same, to look for functions of ours by name.
    names = operator.machine.run("perf report --stdio --no-children -g none --sort symbol --dsos mcp-gateway",
                                 directory=checkout, seconds=60).ok().stdout
    assert ours(names), names


def ours(names):
    """Functions of the gateway's own modules in a report, readable where the Swift toolchain is there to help."""
    modules = sorted(path.name for path in (base.ROOT / "Sources").iterdir() if any(path.glob("**/*.swift")))
    if shutil.which("swift"):
        names = subprocess.run(["swift", "demangle"], input=names, capture_output=True, text=True, check=True).stdout
        return re.findall(rf"\b(?:{'|'.join(modules)})\.\w+", names)
    return re.findall("|".join(rf"\$s\w*?{len(name)}{name}" for name in modules), names)


def test_processes_of_its_user_are_watched(operator):
    shown = operator.watch("htop -u mcp-gateway", lambda text: "/usr/bin/mcp-gateway serve" in plain(text), "q")
    assert "systemd-journald" not in plain(shown.stdout)
