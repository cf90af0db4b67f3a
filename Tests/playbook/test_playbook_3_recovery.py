# Licensed under the Apache License 2.0; see LICENSE.
"""Recovery of database, configuration and data."""

import json

import pytest

from installed import CONFIGURATION, DATABASE
from waiting import eventually

STOP, START = "systemctl stop mcp-gateway", "systemctl start mcp-gateway"
RESTORE = "cp /var/lib/mcp/backups/queue-$(date +%Y%m%d).db /var/lib/mcp/queue.db"
CHECK = 'sqlite3 /var/lib/mcp/queue.db "PRAGMA integrity_check;"'


@pytest.fixture
def stored(operator):
    """A server that is away, a call stored before the day's backup, and one after it."""
    machine = operator.machine
    machine.notes_away()
    before = machine.store("before the backup")
    machine.run("mcp-gateway backup").ok()
    after = machine.store("after the backup")
    yield before, after
    decide(machine)
    machine.notes_back()


def decide(machine):
    """What a person does about calls that may have been carried out: these were not, and are not wanted any more."""
    for number in machine.sql("SELECT id FROM queue_items WHERE status = 'unknown'").split():
        machine.run(f"mcp-gateway queue cancel {number}").ok()


def handles(machine, file=DATABASE):
    return machine.run(f"sqlite3 {file} 'SELECT handle FROM queue_items'").ok().stdout.split()


# --- Database ---

def test_the_running_database_is_copied(operator, stored):
    # Without writes for a second the main file alone is complete.
    def is_complete():
        operator.type("cp /var/lib/mcp/queue.db /var/lib/mcp/queue.db.backup").ok()
        return set(stored) <= set(handles(operator.machine, f"{DATABASE}.backup"))

    eventually(is_complete, 10, "a copy with both calls")
    assert operator.machine.run(f'sqlite3 {DATABASE}.backup "PRAGMA integrity_check;"').ok().stdout == "ok\n"


def test_the_backup_is_restored(operator, stored):
    before, after = stored
    operator.type(STOP).ok()
    operator.type(RESTORE).ok()
    operator.type(START).ok()
    assert operator.type(CHECK).ok().stdout == "ok\n"
    found = handles(operator.machine)
    assert before in found and after not in found
    # It may have been delivered since the backup, and is not known to do no harm twice: a person decides.
    assert operator.machine.sql(f"SELECT status FROM queue_items WHERE handle = '{before}'") == "unknown"
    assert operator.machine.run(f"stat -c '%U %a' {DATABASE}").ok().stdout == "mcp-gateway 660\n"


def test_what_waits_for_a_person_is_shown_until_it_is_decided(operator, stored):
    operator.type(STOP).ok()
    operator.type(RESTORE).ok()
    operator.type(START).ok()
    assert "restored from a backup" in operator.unhealthy()["queue"]["detail"]
    assert "unknown" in operator.machine.run("mcp-gateway queue list").ok().stdout
    decide(operator.machine)
    eventually(lambda: "queue" not in operator.unhealthy(), 10, "a healthy queue")


def test_the_backup_is_restored_after_a_crash(operator, stored):
    """What the write-ahead log of the former file holds is not replayed over the restored one."""
    before, after = stored
    machine = operator.machine
    last = machine.store("just before the crash")
    machine.run("systemctl kill --kill-who=all --signal=KILL mcp-gateway").ok()
    operator.type(STOP).ok()
    operator.type(RESTORE).ok()
    operator.type(START).ok()
    assert operator.type(CHECK).ok().stdout == "ok\n"
    found = handles(machine)
    assert before in found and after not in found and last not in found


def test_the_storage_is_healthy_again_after_the_whole_recovery(operator, stored):
    """The log of the former file is set aside and told of; once it has been deleted, health tells of nothing more."""
    machine = operator.machine
    machine.run("systemctl kill --kill-who=all --signal=KILL mcp-gateway").ok()
    operator.type(STOP).ok()
    operator.type(RESTORE).ok()
    operator.type(START).ok()
    # What holds calls is kept under another name, which the playbook's line leaves alone; a person deletes it.
    machine.run("find /var/lib/mcp -name 'queue.db-wal.from-*' -delete").ok()
    operator.type('find /var/lib/mcp -name "*.corrupt" -delete').ok()
    operator.type("curl -X POST http://localhost:8080/admin/rebuild-indices").ok()
    operator.type("curl -X POST http://localhost:8080/admin/sync/force").ok()
    machine.wait_for("storage")
    assert "storage" not in operator.unhealthy()


def test_a_database_that_root_puts_where_none_was_is_taken_over(operator):
    machine = operator.machine
    machine.run("mcp-gateway backup").ok()
    operator.type(STOP).ok()
    machine.run(f"rm {DATABASE}").ok()
    operator.type(RESTORE).ok()
    assert machine.run(f"stat -c %U {DATABASE}").ok().stdout == "root\n"
    operator.type(START).ok()
    assert operator.type(CHECK).ok().stdout == "ok\n"
    machine.wait_for("storage", "upstream:notes")


# --- Configuration ---

@pytest.fixture(scope="module")
def history(operator):
    """/etc/mcp-gateway under git, as README.Debian says, with what is in force committed."""
    operator.machine.run(
        "cd /etc/mcp-gateway && git init -q && git add config && "
        "git -c user.name=ops -c user.email=ops@localhost commit -q -m 'As installed'").ok()


def spoil(machine, find, put):
    text = machine.read(CONFIGURATION)
    assert find in text
    machine.write(CONFIGURATION, text.replace(find, put))


def recover(operator):
    operator.type("git checkout HEAD -- config/production.toml", directory="/etc/mcp-gateway").ok()
    # In the place of: cargo run --bin validate-config -- config/production.toml
    operator.machine.run("validate-config config/production.toml", directory="/etc/mcp-gateway").ok()
    operator.type("systemctl reload mcp-gateway").ok()


def test_a_bad_file_is_refused_and_the_old_one_stays(operator, history):
    machine = operator.machine
    spoil(machine, 'level = "info"', 'levle = "info"')
    checked = machine.run("validate-config config/production.toml", directory="/etc/mcp-gateway")
    assert checked.status == 78 and 'levle: unknown key; did you mean "level"?' in checked.stderr
    pid = machine.pid()
    assert operator.type("systemctl reload mcp-gateway").status != 0
    assert machine.fact("ActiveState") == "active" and machine.pid() == pid
    assert machine.text("units__convert", {"value": 1, "from": "km", "to": "mi"}, machine.secret).startswith("1 km")
    recover(operator)
    assert "configuration" not in operator.unhealthy()


def test_health_tells_of_a_refused_file_until_one_is_good(operator, history):
    machine = operator.machine
    spoil(machine, 'level = "info"', 'levle = "info"')
    try:
        assert operator.type("systemctl reload mcp-gateway").status != 0
        assert operator.unhealthy()["configuration"]["status"] == "degraded"
    finally:
        recover(operator)
    assert "configuration" not in operator.unhealthy()


def test_a_good_file_is_put_in_force(operator, history):
    machine = operator.machine

    def tools():
        return machine.run("mcp-gateway tools list").ok().stdout

    spoil(machine, "[tools.text]", "[tools.words]")
    operator.type("systemctl reload mcp-gateway").ok()
    assert "words__echo" in tools() and "text__echo" not in tools()
    recover(operator)
    assert "text__echo" in tools() and "words__echo" not in tools()


# --- Data ---

def test_what_was_set_aside_is_deleted_and_nothing_else(operator):
    machine = operator.machine
    machine.run("cd /var/lib/mcp && touch queue.db.corrupt backups/queue-20200101.db.corrupt queue/keep").ok()
    kept = "find /var/lib/mcp -type f -not -name '*.corrupt' -not -name 'queue.db-*' | sort"
    before = machine.run(kept).ok().stdout
    operator.type('find /var/lib/mcp -name "*.corrupt" -delete').ok()
    assert machine.run("find /var/lib/mcp -name '*.corrupt'").ok().stdout == ""
    assert machine.run(kept).ok().stdout == before
    machine.run("rm /var/lib/mcp/queue/keep").ok()


def test_indices_are_rebuilt(operator):
    answer = json.loads(operator.type("curl -X POST http://localhost:8080/admin/rebuild-indices").ok().stdout)
    assert "ind" in answer["words"], answer


def test_upstreams_are_tried_at_once_and_what_waits_is_sent(operator):
    machine = operator.machine
    machine.notes_away()
    handle = machine.store("for later")
    machine.run("mv /opt/notes/server.py.away /opt/notes/server.py").ok()
    answer = json.loads(operator.type("curl -X POST http://localhost:8080/admin/sync/force").ok().stdout)
    assert answer["upstreams"]["notes"]["status"] == "healthy" and answer["waiting"] == 0, answer
    assert machine.sql(f"SELECT status FROM queue_items WHERE handle = '{handle}'") == "completed"
    assert "for later" in machine.text("notes__list_notes", {}, machine.secret)
