# Licensed under the Apache License 2.0; see LICENSE.
"""The shipped service over crashes, restarts, rotations, upgrades and reboots."""

import subprocess

import pytest

import installed
from installed import CONFIGURATION, DATABASE
from waiting import eventually

LOG = "/var/log/mcp-gateway/app.log"
UNITS = ("units__convert", {"value": 1, "from": "km", "to": "mi"})


def new_pid(machine, before, seconds):
    def found():
        told = machine.run("pgrep mcp-gateway").stdout.split()
        return int(told[0]) if told and int(told[0]) != before else None

    return eventually(found, seconds, "a new process")


# --- Ends ---

def test_a_crash_restarts_it_and_loses_no_stored_call(machine):
    machine.notes_away()
    handles = [machine.store(f"note {number}") for number in range(5)]
    before = machine.pid()
    machine.run(f"kill -KILL {before}").ok()
    new_pid(machine, before, 15)
    machine.wait_for("storage")
    assert machine.fact("NRestarts") == "1"
    assert machine.sql("PRAGMA integrity_check;") == "ok"
    assert machine.sql("SELECT handle FROM queue_items ORDER BY id").split() == handles
    machine.notes_back()
    statuses = "SELECT DISTINCT status FROM queue_items"
    eventually(lambda: machine.sql(statuses) == "completed", 20, "the calls carried out")
    told = machine.text("notes__list_notes", {}, machine.secret)
    assert [told.count(f"note {number}") for number in range(5)] == [1] * 5, told


def test_a_stop_is_clean(machine):
    machine.text(*UNITS, machine.secret)
    machine.run("systemctl stop mcp-gateway").ok()
    try:
        assert machine.fact("Result") == "success" and machine.fact("ExecMainStatus") == "0"
        left = machine.run("ls /var/lib/mcp").ok().stdout.split()
        assert "queue.db" in left and "queue.db-wal" not in left and "queue.db-shm" not in left
        assert machine.run("pgrep -u mcp-gateway").status == 1, "no child is left"
        assert machine.run("ls -A /run/mcp-gateway 2>/dev/null").stdout == ""
        assert "daemon: stopped" in machine.read(LOG).splitlines()[-1]
    finally:
        machine.run("systemctl start mcp-gateway").ok()
    machine.wait_for("upstream:notes")


def test_a_gateway_that_hangs_is_restarted(machine):
    machine.run(
        "mkdir -p /run/systemd/system/mcp-gateway.service.d && printf '[Service]\\nWatchdogSec=2s\\n' "
        "> /run/systemd/system/mcp-gateway.service.d/quick.conf && systemctl daemon-reload && "
        "systemctl restart mcp-gateway").ok()
    try:
        before = machine.pid()
        machine.run(f"kill -STOP {before}").ok()
        new_pid(machine, before, 30)
        machine.wait_for("storage", "upstream:notes")
        assert machine.text(*UNITS, machine.secret).startswith("1 km")
        assert "Watchdog timeout" in machine.run("journalctl -u mcp-gateway --no-pager -o cat").ok().stdout
    finally:
        machine.run(
            "rm -r /run/systemd/system/mcp-gateway.service.d && systemctl daemon-reload && "
            "systemctl kill --kill-who=all --signal=KILL mcp-gateway; systemctl restart mcp-gateway").ok()
    machine.wait_for("upstream:notes")


def test_a_wrong_configuration_does_not_loop(machine):
    text = machine.read(CONFIGURATION)
    machine.write(CONFIGURATION, text + "\n[nonsense]\n")
    try:
        assert machine.run("systemctl restart mcp-gateway").status != 0
        assert machine.fact("ActiveState") == "failed" and machine.fact("ExecMainStatus") == "78"
    finally:
        machine.write(CONFIGURATION, text)
        machine.run("systemctl reset-failed mcp-gateway && systemctl start mcp-gateway").ok()
    machine.wait_for("upstream:notes")


# --- Logs ---

def test_logs_are_rotated_and_written_on(machine):
    old = machine.read(LOG).splitlines()
    rotate = "logrotate --force /etc/logrotate.d/mcp-gateway"
    machine.run(rotate).ok()
    eventually(lambda: "log files opened anew" in machine.read(LOG), 10, "a line in the new file")
    assert old[-1] not in machine.read(LOG)
    rotated = machine.run("ls /var/log/mcp-gateway/app.log-*").ok().stdout.split()
    assert old[-1] in machine.read(rotated[-1])
    assert machine.run(f"stat -c '%U %G %a' {LOG} {rotated[-1]}").ok().stdout == "mcp-gateway mcp-gateway 640\n" * 2
    # Once more, for the next day's compression; names differ by the second.
    eventually(lambda: machine.run(rotate).status == 0, 10, "the next rotation")
    assert machine.run("ls /var/log/mcp-gateway/app.log-*.gz").ok().stdout.split()


# --- Upgrades ---

@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """The same package as a later version, whose shipped configuration has another first line."""
    place = tmp_path_factory.mktemp("later")
    subprocess.run(["dpkg-deb", "--raw-extract", installed.DEB, place / "tree"], check=True)
    control = place / "tree/DEBIAN/control"
    lines = [line + "+later" if line.startswith("Version:") else line for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    shipped = place / f"tree{CONFIGURATION}"
    shipped.write_text("# Another one.\n" + shipped.read_text())
    deb = place / "mcp-gateway_later.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "--build", place / "tree", deb],
                   check=True, capture_output=True)
    return deb


def test_an_upgrade_keeps_state_and_edits_and_refuses_no_connection(machine, later):
    handles, edited, before = machine.sql("SELECT handle FROM queue_items"), machine.read(CONFIGURATION), machine.pid()
    machine.put(later, "/root/later.deb")
    # Somebody calls all the while.
    ask = "curl -s -o /dev/null --max-time 20 -w '%{http_code} %{exitcode}\\n' http://localhost:8080/health/live"
    machine.write("/root/asking", f"while [ ! -e /root/done ]; do {ask}; done > /root/answers\n")
    machine.run("systemd-run --unit=asking bash /root/asking").ok()
    eventually(lambda: machine.run("test -s /root/answers").status == 0, 10, "the first answer")
    machine.run("dpkg --force-confold -i /root/later.deb", seconds=120).ok()
    machine.wait_for("upstream:notes")
    machine.run("touch /root/done").ok()
    eventually(lambda: machine.fact("ActiveState", "asking") != "active", 30, "the end of who asks")

    assert machine.pid() != before
    assert machine.run("dpkg-query -W -f '${Version}' mcp-gateway").ok().stdout.endswith("+later")
    answers = machine.read("/root/answers").splitlines()
    # Draining says 503; nobody is refused or cut off.
    assert len(answers) > 10 and set(answers) <= {"200 0", "503 0"}, sorted(set(answers))
    assert machine.sql("SELECT handle FROM queue_items") == handles
    assert machine.read(CONFIGURATION) == edited
    assert machine.text(*UNITS, machine.secret).startswith("1 km")


# --- The machine itself ---

def test_after_a_reboot_it_serves_by_itself(machine):
    machine.shut_down()
    machine.boot()
    assert machine.state == "running"
    machine.wait_for("storage", "upstream:notes")
    assert machine.text(*UNITS, machine.secret).startswith("1 km")
    past = machine.run("journalctl -u mcp-gateway --no-pager -o cat --boot=-1").ok().stdout
    assert "daemon: stopped" in past


def test_a_machine_that_loses_power_comes_back(machine):
    machine.notes_away()
    handle = machine.store("before the power cut")
    machine.end_now()
    machine.boot()
    machine.run(f"mv {installed.NOTES}.away {installed.NOTES}").ok()
    eventually(lambda: machine.sql(f"SELECT status FROM queue_items WHERE handle = '{handle}'") == "completed", 60,
               "the call carried out")
    assert machine.run(f'sqlite3 {DATABASE} "PRAGMA integrity_check;"').ok().stdout == "ok\n"
