# Licensed under the Apache License 2.0; see LICENSE.
"""The listening socket in the descriptor store of a service manager: restarts and crashes that no client notices."""

import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest

import gateway as house
import wire

import scripted

# Becomes the gateway, with the descriptors of its first argument as 3 and so on, and its own process id where the
# manager's protocol wants it.
BECOME = """
import os, sys
handed = [int(number) for number in sys.argv[1].split(",") if number]
for place, number in enumerate(handed, 3):
    assert number > 20, "it would be overwritten"
    os.dup2(number, place, inheritable=True)
for number in handed:
    os.close(number)
if os.environ.get("LISTEN_PID") == "mine":
    os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""

# An upstream that says what it was given, and then nothing more until it is told to end.
CHILD = """
import os, sys
links = []
for number in os.listdir("/proc/self/fd"):
    try:
        links.append(os.readlink("/proc/self/fd/" + number))
    except FileNotFoundError:
        pass  # that of the listing itself
with open(sys.argv[1] + ".part", "w") as file:
    file.write("\\n".join([*os.environ, *links]))
os.rename(sys.argv[1] + ".part", sys.argv[1])
sys.stdin.read()
"""


class Manager:
    """What systemd does for a unit with `NotifyAccess=main` and `FileDescriptorStoreMax=4`."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.path = str(gateway.home / "notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(0.1)
        # Name and descriptor, in the order in which they came.
        self.store, self.messages = [], []
        self.is_over = False
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def close(self):
        self.is_over = True
        self.reader.join(5)
        self.socket.close()
        for _, descriptor in self.store:
            os.close(descriptor)

    def read(self):
        while not self.is_over:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.socket, 4096, 8)
            except TimeoutError:
                continue
            lines = data.decode().split("\n")
            facts = dict(line.split("=", 1) for line in lines)
            if facts.get("FDSTORE") == "1":
                for descriptor in descriptors:
                    self.add(facts.get("FDNAME", "stored"), descriptor)
            if facts.get("FDSTOREREMOVE") == "1":
                gone = [one for one in self.store if one[0] == facts["FDNAME"]]
                self.store = [one for one in self.store if one not in gone]
                for _, descriptor in gone:
                    os.close(descriptor)
            self.messages.append(facts)

    def add(self, name, descriptor):
        """Keeps a descriptor out of the way of what `BECOME` moves; one that is kept already is kept once."""
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100)
        os.close(descriptor)
        if any(os.fstat(kept).st_ino == os.fstat(high).st_ino for _, kept in self.store):
            os.close(high)
        else:
            self.store.append((name, high))

    def start(self, *, pid="mine", wait=True):
        """Starts the gateway with all that is in the store."""
        gateway, store = self.gateway, list(self.store)
        before = len(self.messages)
        gateway.write_configuration()
        for name in ("lib", "log"):
            (gateway.home / name).mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(gateway.home), "NOTIFY_SOCKET": self.path}
        if store:
            names = ":".join(name for name, _ in store)
            environment |= {"LISTEN_PID": str(pid), "LISTEN_FDS": str(len(store)), "LISTEN_FDNAMES": names}
        numbers = [descriptor for _, descriptor in store]
        gateway.log_file = open(gateway.home / "stdout.txt", "ab")
        gateway.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BECOME, ",".join(map(str, numbers)), *gateway.command("serve")],
            stdin=subprocess.DEVNULL, stdout=gateway.log_file, stderr=subprocess.STDOUT, env=environment,
            cwd=gateway.home, pass_fds=numbers)
        if wait:
            house.eventually(lambda: self.is_ready_since(before), 30, "READY=1")
        return gateway

    def is_ready_since(self, before):
        process = self.gateway.process
        assert process.poll() is None, f"the gateway ended with {process.returncode}:\n{self.gateway.stdout()}"
        return any(facts.get("READY") == "1" for facts in self.messages[before:])

    def listener(self):
        """The descriptor that is kept under that name."""
        kept = [descriptor for name, descriptor in self.store if name == "listener"]
        assert len(kept) == 1, self.store
        return kept[0]


def manage(make, *arguments):
    """The manager of a gateway that is not started yet."""
    gateway = make.gateway(*arguments, start=False)
    manager = Manager(gateway)
    # Ends before the gateway does, whose folder its socket is in.
    make.later(manager.close)
    return manager


@pytest.fixture
def managed(make):
    return manage(make, None, ["text"])


def listening(host, port):
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((host, port))
    one.listen(16)
    return one


def has_open(gateway, descriptor):
    """Whether the gateway holds the same socket."""
    wanted = f"socket:[{os.fstat(descriptor).st_ino}]"
    links = []
    for link in pathlib.Path(f"/proc/{gateway.process.pid}/fd").iterdir():
        try:
            links.append(os.readlink(link))
        except FileNotFoundError:
            continue  # closed since
    return wanted in links


def is_listening(one):
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


ECHO = wire.modern_request("tools/call", {"name": "text__echo", "arguments": {"text": "still here"}})


def assert_echoed(response):
    assert response.status == 200, response
    assert wire.text_of(response.json) == "still here", response


def test_the_socket_is_handed_to_the_manager_before_it_hears_that_all_is_ready(managed):
    gateway = managed.start()
    stored = next(at for at, facts in enumerate(managed.messages) if facts.get("FDSTORE") == "1")
    ready = next(at for at, facts in enumerate(managed.messages) if facts.get("READY") == "1")
    assert stored < ready and managed.messages[stored]["FDNAME"] == "listener"
    with socket.socket(fileno=os.dup(managed.listener())) as kept:
        assert is_listening(kept) and kept.getsockname() == ("127.0.0.1", gateway.port)


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_who_comes_while_it_is_down_is_answered_by_the_next(managed, end):
    gateway = managed.start()
    descriptor = managed.listener()
    if end == "stop":
        assert gateway.terminate() == 0
    else:
        gateway.kill()
    with wire.Connection(gateway.port, 40) as early:
        early.send(ECHO)
        managed.start()
        assert has_open(gateway, descriptor), "it listens on another socket than the one that was kept"
        assert_echoed(early.response())
    assert_echoed(gateway.exchange(ECHO))
    assert managed.listener() == descriptor, "the same socket is kept once"


def test_after_the_manager_has_let_go_nobody_listens(managed):
    gateway = managed.start()
    assert gateway.terminate() == 0
    # The reader thread has nothing to read from a gateway that has ended.
    name, descriptor = managed.store.pop()
    os.close(descriptor)
    assert name == "listener" and not house.answers_tcp(gateway.port)


@pytest.mark.parametrize("case", ["another port", "another host"])
def test_a_socket_of_another_address_is_given_up(managed, case):
    gateway = managed.gateway
    stale = listening("127.0.0.1", house.free_port()) if case == "another port" else listening("0.0.0.0", gateway.port)
    with stale:
        managed.add("listener", os.dup(stale.fileno()))
        managed.start()
        assert_echoed(gateway.exchange(ECHO))
        assert not has_open(gateway, stale.fileno())
        assert not is_listening(stale), "the address that is no longer wanted is free at once"
        removed = next(at for at, facts in enumerate(managed.messages) if facts.get("FDSTOREREMOVE") == "1")
        stored = next(at for at, facts in enumerate(managed.messages) if facts.get("FDSTORE") == "1")
        assert removed < stored and managed.messages[removed]["FDNAME"] == "listener"
        with socket.socket(fileno=os.dup(managed.listener())) as kept:
            assert kept.getsockname() == ("127.0.0.1", gateway.port)


def test_descriptors_of_another_process_are_left_alone(managed):
    with listening("127.0.0.1", managed.gateway.port) as foreign:
        managed.add("listener", os.dup(foreign.fileno()))
        gateway = managed.start(pid=os.getpid(), wait=False)
        # It binds for itself, and the port is taken: by the socket that it may not use.
        assert gateway.process.wait(20) == 1
        assert str(gateway.port) in gateway.stdout() and "use" in gateway.stdout(), gateway.stdout()
        assert is_listening(foreign)
        assert not any("FDSTOREREMOVE" in facts for facts in managed.messages)


@pytest.mark.parametrize("case", ["bound only", "datagrams", "a pipe"])
def test_what_does_not_listen_is_not_used(managed, case):
    gateway = managed.gateway
    if case == "a pipe":
        reads, writes = os.pipe()
        os.close(writes)
        managed.add("listener", reads)
    else:
        kind = socket.SOCK_DGRAM if case == "datagrams" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", gateway.port))
            managed.add("listener", os.dup(other.fileno()))
    managed.start()
    assert_echoed(gateway.exchange(ECHO))
    with socket.socket(fileno=os.dup(managed.listener())) as kept:
        assert is_listening(kept) and kept.getsockname() == ("127.0.0.1", gateway.port)


def test_no_child_of_the_gateway_inherits_the_socket_or_the_variables(make, tmp_path):
    told = tmp_path / "told"
    command = {"command": sys.executable, "args": ["-I", "-S", "-c", CHILD, str(told)]}
    manager = manage(make, {"up": command})
    gateway = manager.gateway
    manager.add("listener", listening("127.0.0.1", gateway.port).detach())
    manager.start()
    assert has_open(gateway, manager.listener())
    house.eventually(told.exists, 20, "the start of the child")
    words = told.read_text()
    assert "PATH" in words
    assert "LISTEN_" not in words and "NOTIFY_SOCKET" not in words, words
    assert f"socket:[{os.fstat(manager.listener()).st_ino}]" not in words, words


def test_a_call_in_flight_is_finished_while_new_clients_wait_for_the_next(make):
    scripted.gate.clear()
    manager = manage(make, {"up": {"url": make.scripted()}}, ["text"], {"server": {"shutdown_grace": "30s"}})
    gateway = manager.start()
    gateway.wait_for_tools("up__gate", "text__echo")
    before = scripted.calls["gate"]
    with wire.Connection(gateway.port, 40) as slow:
        slow.send(wire.modern_request("tools/call", {"name": "up__gate", "arguments": {"text": "patience"}}))
        house.eventually(lambda: scripted.calls["gate"] > before, 10, "the arrival of the call")
        gateway.signal(signal.SIGTERM)
        house.eventually(lambda: not has_open(gateway, manager.listener()), 10, "the end of taking connections")
        with wire.Connection(gateway.port, 40) as new:
            new.send(ECHO)
            assert gateway.process.poll() is None, "it ended with a call in flight"
            scripted.gate.set()
            response = slow.response()
            assert response.status == 200 and wire.text_of(response.json) == '{"text": "patience"}', response
            assert gateway.process.wait(15) == 0
            gateway.log_file.close()
            manager.start()
            assert_echoed(new.response())


def test_ten_restarts_lose_no_request_of_clients_that_never_wait(managed):
    gateway = managed.start()
    stop = threading.Event()
    served, failures = [0] * 4, []

    def client(number):
        while not stop.is_set():
            try:
                with wire.Connection(gateway.port, 60) as connection:
                    connection.send(ECHO)
                    assert_echoed(connection.response())
                served[number] += 1
            except Exception as failure:  # judged by the test
                failures.append(failure)
                return

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(len(served))]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            before = list(served)
            house.eventually(
                lambda: failures or all(now > then + 5 for now, then in zip(served, before)), 60, "requests of each")
            assert not failures, failures
            assert gateway.terminate(30) == 0
            managed.start()
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not failures, failures
    assert not any(thread.is_alive() for thread in threads)


def test_fifty_sdk_clients_see_no_failed_call_over_ten_restarts(managed):
    gateway = managed.start()
    script = pathlib.Path(__file__).parent / "clients/fleet.py"
    fleet = subprocess.Popen(
        [house.PYTHON["mcp1"], str(script), f"http://127.0.0.1:{gateway.port}/mcp", "50"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    last = {"least": 0, "failed": []}

    def listen():
        for line in fleet.stdout:
            last.update(json.loads(line))

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        for _ in range(10):
            before = last["least"]
            house.eventually(lambda: last["failed"] or last["least"] > before + 1, 60, "calls of each client")
            assert not last["failed"], last
            assert gateway.terminate(30) == 0
            managed.start()
        before = last["least"]
        house.eventually(lambda: last["failed"] or last["least"] > before + 1, 60, "calls of each client")
    finally:
        fleet.stdin.close()
        house.eventually(lambda: fleet.poll() is not None, 60, "the end of the clients")
        reader.join(10)
    assert fleet.returncode == 0 and not last["failed"], last
    assert last["good"] > 50 * 20, last
