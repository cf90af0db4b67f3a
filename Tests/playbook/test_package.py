# Licensed under the Apache License 2.0; see LICENSE.
"""The package on a bare machine: what it puts where, who may do what, and how it goes away again."""

import contextlib
import json
import re
import subprocess

import pytest

import base
import installed
from installed import CONFIGURATION, DATABASE

LOG = "/var/log/mcp-gateway/app.log"
# What `systemd-analyze security` may say at most; up to 2 it calls OK.
EXPOSURE_MAX = 2.0
HOME_UPSTREAM = """
[upstreams.home]
command = "python3"
args = ["/opt/home/server.py"]
"""


# --- What is where ---

def test_the_service_is_enabled_and_serves(machine):
    assert machine.run("systemctl is-enabled mcp-gateway").ok().stdout == "enabled\n"
    assert machine.run("systemctl is-active mcp-gateway").ok().stdout == "active\n"
    assert machine.fact("Type") == "notify" and machine.fact("User") == "mcp-gateway"
    assert machine.state == "running"


@pytest.mark.parametrize("path, owner, group, mode", [
    ("/etc/mcp-gateway/config/production.toml", "root", "mcp-gateway", "640"),
    ("/var/lib/mcp", "mcp-gateway", "mcp-gateway", "2770"),
    ("/var/lib/mcp/queue.db", "mcp-gateway", "mcp-gateway", "660"),
    ("/var/lib/mcp/queue", "mcp-gateway", "mcp-gateway", "2770"),
    ("/var/lib/mcp/backups", "mcp-gateway", "mcp-gateway", "2770"),
    ("/var/lib/mcp/tools", "mcp-gateway", "mcp-gateway", "2770"),
    ("/var/lib/mcp/keys/session.key", "mcp-gateway", "mcp-gateway", "600"),
    ("/var/log/mcp-gateway/app.log", "mcp-gateway", "mcp-gateway", "640"),
    ("/var/log/mcp-gateway/security.log", "mcp-gateway", "mcp-gateway", "640"),
    ("/run/mcp-gateway/control.sock", "mcp-gateway", "mcp-gateway", "660"),
    ("/usr/bin/mcp-gateway", "root", "root", "755"),
    ("/usr/bin/validate-config", "root", "root", "755"),
])
def test_files_have_their_owners_and_modes(machine, path, owner, group, mode):
    # A link has no mode of its own; what it leads to has.
    assert machine.run(f"stat -L -c '%U %G %a' {path}").ok().stdout == f"{owner} {group} {mode}\n"


def test_keys_and_tokens_are_for_the_gateway_alone(machine):
    found = machine.run("find /var/lib/mcp/keys -type f -printf '%m %p\\n'").ok().stdout.splitlines()
    assert found and all(line.startswith("600 ") for line in found), found
    # Of the secret only a hash is kept anywhere.
    secret = machine.secret.rsplit("_", 1)[-1]
    assert machine.run(f"grep -r --text -l {secret} /var/lib/mcp /var/log /etc /run/mcp-gateway").status == 1


def test_the_days_backup_is_there(machine):
    machine.run("test -f /var/lib/mcp/backups/queue-$(date +%Y%m%d).db").ok()


def test_the_playbooks_path_leads_to_the_configuration(machine):
    assert machine.run("readlink -f /etc/mcp-gateway/production.toml").ok().stdout == f"{CONFIGURATION}\n"


def test_the_journal_has_the_gateways_lines(machine):
    journal = machine.run("journalctl -u mcp-gateway --no-pager -o cat").ok().stdout
    lines = machine.read(LOG).splitlines()
    assert lines and all(line in journal for line in lines)


def test_a_quiet_journal_does_not_cry_for_help(machine):
    journal = machine.run("journalctl -u mcp-gateway --no-pager -o cat").ok().stdout.splitlines()
    assert [line for line in journal if re.search("error|fail|panic", line, re.IGNORECASE)] == []


def test_the_unit_is_hardened(machine):
    told = machine.run("systemd-analyze security --no-pager mcp-gateway").ok().stdout
    level = float(re.search(r"Overall exposure level for mcp-gateway.service: ([\d.]+)", told)[1])
    assert level <= EXPOSURE_MAX, told


@pytest.mark.parametrize("page", ["1 mcp-gateway", "1 validate-config", "5 mcp-gateway.toml"])
def test_there_is_a_manual(machine, page):
    shown = machine.run(f"man --warnings {page} | cat", seconds=60).ok()
    assert "NAME" in shown.stdout and shown.stderr == ""


# --- Who may do what ---

@pytest.fixture(scope="module")
def people(machine):
    """Anna is on call, in the groups since the service started; Dora is in the gateway's alone; Bob has an account."""
    machine.run(
        "useradd --create-home --groups mcp-gateway,systemd-journal anna && "
        "useradd --create-home --groups mcp-gateway dora && useradd --create-home bob").ok()
    machine.run("systemctl restart mcp-gateway").ok()
    machine.wait_for("wasm", "upstream:notes")


@pytest.mark.parametrize("command", [
    "mcp-gateway status", "mcp-gateway queue list", "mcp-gateway backup", "mcp-gateway verify", "mcp-gateway reload",
    "mcp-gateway token list", "mcp-gateway tools list", "sqlite3 /var/lib/mcp/queue.db .tables",
    f"tail {LOG}", "cat /etc/mcp-gateway/production.toml", "ls /var/lib/mcp/queue",
    "curl -sf -X POST http://localhost:8080/admin/cache/clear",
    "curl -sf --unix-socket /run/mcp-gateway/control.sock http://localhost/admin/status",
    "cp /var/lib/mcp/queue.db /var/lib/mcp/queue.db.backup && rm -f /var/lib/mcp/queue.db.backup",
    "journalctl -u mcp-gateway --no-pager -o cat | grep -q serving"])
def test_who_is_in_the_group_needs_no_root(machine, people, command):
    machine.run(command, user="anna").ok()
    # Who is not is refused each of these.
    assert machine.run(command, user="bob").status != 0


@pytest.mark.parametrize("command", [
    "systemctl restart mcp-gateway", "systemctl reload mcp-gateway", "systemctl stop mcp-gateway",
    "systemctl set-property mcp-gateway MemoryMax=2G",
    "systemd-run --slice=mcp --property=MemoryMax=1G mcp-gateway", "kill -USR1 $(pgrep mcp-gateway)",
    "nginx -s reload", "test -w /etc/mcp-gateway/config/production.toml", "test -w /etc/mcp-gateway/config",
    "perf record -o /dev/null -p $(pgrep mcp-gateway) -- true"])
def test_the_group_is_not_enough_for_everything(machine, people, command):
    """What docs/INCIDENT_RESPONSE.md says of root alone."""
    pid = machine.pid()
    assert machine.run(command, user="anna").status != 0
    assert machine.pid() == pid


def test_the_journal_and_names_of_processes_need_more_than_the_group(machine, people):
    said = machine.run("journalctl -u mcp-gateway --no-pager -o cat", user="dora")
    assert "serving" not in said.stdout, said
    told = machine.run("ss -tlnp | grep :8080", user="anna").ok().stdout
    assert "127.0.0.1:8080" in told and "mcp-gateway" not in told


def test_who_reads_the_database_leaves_it_to_the_gateway(machine, people):
    assert machine.sql("PRAGMA integrity_check;", user="anna") == "ok"
    machine.run("systemctl stop mcp-gateway").ok()
    try:
        assert machine.sql("SELECT COUNT(*) FROM queue_items;", user="anna").isdigit()
    finally:
        machine.run("systemctl start mcp-gateway").ok()
    machine.wait_for("storage", "upstream:notes")


def test_who_joins_the_group_uses_the_verbs_at_once_and_the_routes_from_the_next_reload_on(machine, people):
    order = "curl -sf -X POST http://localhost:8080/admin/cache/clear"
    pid = machine.pid()
    machine.run("useradd --create-home carol && adduser --quiet carol mcp-gateway").ok()
    machine.run("mcp-gateway status && mcp-gateway queue list", user="carol").ok()
    assert machine.run(order, user="carol").status != 0
    machine.run("systemctl reload mcp-gateway").ok()
    machine.run(order, user="carol").ok()
    # And who leaves it is out from the next one on.
    machine.run("deluser --quiet carol mcp-gateway && systemctl reload mcp-gateway").ok()
    assert machine.run(order, user="carol").status != 0
    assert machine.pid() == pid


@pytest.mark.parametrize("who, place", [
    ("root", "/tmp"), ("root", "/var/tmp"), ("root", "/root"), ("root", "/home/anna"), ("anna", "/tmp"), ("anna", "/home/anna"),
    ("anna", "/var/lib/mcp/backups")])
def test_a_backup_is_where_its_user_looks_for_it(machine, people, who, place):
    """The unit has a /tmp of its own and sees no homes; the verb puts the file there all the same."""
    file = f"{place}/of-{who}.db"
    said = machine.run(f"mcp-gateway backup --to {file}", user=who).ok().stdout
    assert f"made and verified: {file}, " in said
    assert machine.sql("PRAGMA integrity_check;", file=file, user=who) == "ok"
    machine.run(f"mcp-gateway verify {file} && rm {file}", user=who).ok()
    assert machine.run("find /var/lib/mcp/backups -name '*.fetch*'").ok().stdout == ""


@pytest.mark.parametrize("place, words", [("/tmp", "a /tmp of its own"), ("/home/anna", "/home is hidden"), ("/root", "/root is hidden")])
def test_the_bare_order_says_which_places_the_service_does_not_see(machine, people, place, words):
    order = f"""curl -s -X POST http://localhost:8080/admin/backup -d '{{"to":"{place}/x.db"}}'"""
    told = machine.run(order).ok().stdout
    assert words in told and "mcp-gateway backup --to" in told and "storage.directory" not in told, told


def test_a_stranger_is_told_how_to_become_none(machine, people):
    for command, status in (
            ("mcp-gateway status", 1), ("mcp-gateway restore /tmp/x.db", 1), ("mcp-gateway stdio </dev/null", 1),
            ("mcp-gateway serve", 78)):
        ran = machine.run(command, user="bob")
        assert ran.status == status and "adduser bob mcp-gateway" in ran.stderr, ran
        assert "mode" not in ran.stderr and "storage.directory" not in ran.stderr, ran


@contextlib.contextmanager
def credentials(machine, configuration, **texts):
    """The service restarted with files that nobody else may read, by the recipe of DEPLOYMENT."""
    for name, text in texts.items():
        machine.run(f"cat >/etc/mcp-gateway/{name} && chmod 600 /etc/mcp-gateway/{name}", input=text).ok()
    lines = "".join(f"LoadCredential={name}:/etc/mcp-gateway/{name}\\n" for name in texts)
    machine.run(
        "mkdir -p /run/systemd/system/mcp-gateway.service.d && "
        f"printf '[Service]\\n{lines}' >/run/systemd/system/mcp-gateway.service.d/secrets.conf && systemctl daemon-reload").ok()
    machine.configure(installed.MODULES + installed.NOTES_UPSTREAM + configuration)
    try:
        machine.run("systemctl restart mcp-gateway").ok()
        yield
    finally:
        machine.configure(installed.MODULES + installed.NOTES_UPSTREAM)
        machine.run(
            f"cd /etc/mcp-gateway && rm -r /run/systemd/system/mcp-gateway.service.d {' '.join(texts)} && "
            "systemctl daemon-reload && systemctl restart mcp-gateway").ok()
        machine.wait_for("wasm", "upstream:notes")


def test_the_group_has_stdio_also_where_a_secret_is_the_services_alone(machine, people):
    """Of /run/credentials only the service reads anything; who asks a gateway that runs needs none of it."""
    with credentials(machine, 'env = { WORD = "${file:/run/credentials/mcp-gateway.service/word}" }\n', word="word\n"):
        machine.wait_for("upstream:notes")
        asked = '{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
        ran = machine.run("mcp-gateway stdio", user="anna", input=asked).ok()
        assert '"id":1' in ran.stdout and ran.stderr == "", ran


def test_a_key_that_only_the_service_reads_is_no_alarm_for_the_group(machine, people, tmp_path):
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "5",
         "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=30)
    machine.run("cat >/etc/mcp-gateway/tls.pem", input=certificate.read_text()).ok()
    table = """
[server.tls]
certificate = "/etc/mcp-gateway/tls.pem"
key = "/run/credentials/mcp-gateway.service/tls.key"
"""
    try:
        with credentials(machine, table, **{"tls.key": key.read_text()}):
            said = json.loads(machine.run("mcp-gateway doctor --all --json", user="anna").stdout)["findings"]
    finally:
        machine.run("rm /etc/mcp-gateway/tls.pem").ok()
    of = lambda area: [(one["rank"], one["words"]) for one in said if one["area"] == area]
    assert [rank for rank, _ in of("port")] == ["well"], said
    (rank, words), = of("certificate")
    assert rank == "attention" and "good for 5 days" in words, words
    assert "tls_refused" not in machine.run("tail -3 /var/log/mcp-gateway/security.log").stdout


def test_root_is_told_what_the_service_may_not_read(machine):
    """After `umask 077; git checkout` the file is root's alone: to root it looks right, to the service it is none."""
    machine.run(f"chmod 600 {CONFIGURATION} && chgrp root {CONFIGURATION}").ok()
    try:
        for command in ("mcp-gateway validate-config", "validate-config"):
            ran = machine.run(f"{command} /etc/mcp-gateway/production.toml")
            assert ran.status == 78 and "user mcp-gateway may not read it" in ran.stderr, ran
            assert f"chgrp mcp-gateway {CONFIGURATION}" in ran.stderr, ran
        ran = machine.run("mcp-gateway reload")
        assert ran.status == 1 and "chmod" in ran.stderr, ran
    finally:
        machine.run(f"chmod 640 {CONFIGURATION} && chgrp mcp-gateway {CONFIGURATION}").ok()
    machine.run("mcp-gateway reload && validate-config /etc/mcp-gateway/production.toml").ok()


# --- Calls under the shipped unit ---

def test_a_module_is_called(machine):
    told = machine.text("units__convert", {"value": 100, "from": "km", "to": "mi"}, machine.secret)
    assert told == "100 km = 62.13711922 mi"


def test_a_child_process_is_called(machine):
    assert "buy milk" in machine.text("notes__add_note", {"text": "buy milk"}, machine.secret)
    owners = machine.run("ps -o user:32= -C python3").ok().stdout.split()
    assert owners == ["mcp-gateway"]
    variables = machine.run("tr '\\0' '\\n' </proc/$(pgrep -x python3)/environ").ok().stdout.splitlines()
    assert "HOME=/var/lib/mcp/home" in variables, variables


def test_a_child_process_keeps_files_below_its_home(machine):
    machine.put(base.ROOT / "Tests/playbook/home_server.py", "/opt/home/server.py", 0o644)
    machine.configure(installed.MODULES + installed.NOTES_UPSTREAM + HOME_UPSTREAM)
    try:
        machine.run("systemctl reload mcp-gateway").ok()
        machine.wait_for("upstream:home")
        told = machine.run("stat -c '%U %s' /var/lib/mcp/home/.cache/home-server/kept").ok().stdout
        assert told == "mcp-gateway 5\n"
    finally:
        machine.configure(installed.MODULES + installed.NOTES_UPSTREAM)
        machine.run("systemctl reload mcp-gateway").ok()
    machine.wait_for("wasm", "upstream:notes")


def test_a_call_without_a_token_is_refused(machine):
    assert machine.call("units__convert", {}, "")[0] == 401


def test_one_process_has_the_name(machine):
    assert machine.run("pgrep mcp-gateway").ok().stdout.split() == [machine.fact("MainPID")]


# --- Going away ---

def test_removing_keeps_state_and_purging_does_not(park):
    machine = park.new_installed()
    machine.run("dpkg --remove mcp-gateway", seconds=60).ok()
    assert machine.run("pgrep mcp-gateway").status == 1
    assert machine.run("systemctl is-active mcp-gateway").stdout in ("inactive\n", "unknown\n")
    machine.run(f"test -f {CONFIGURATION} && test -f {DATABASE} && test -f {LOG}").ok()
    assert machine.run("ls /var/lib/mcp/queue.db-wal").status != 0

    # Installed again it takes up where it was.
    machine.install().ok()
    machine.run("systemctl is-active mcp-gateway").ok()
    machine.run("dpkg --remove mcp-gateway", seconds=60).ok()

    assert machine.run("test -e /run/mcp-gateway").status == 1

    # A disk of its own for the state is no reason to stop half way: it stays, empty.
    machine.run("mkdir /root/state && cp -a /var/lib/mcp/. /root/state && mount --bind /root/state /var/lib/mcp").ok()
    purged = machine.run("dpkg --purge mcp-gateway", seconds=60).ok()
    assert purged.stderr == "" and "deleted configuration, logs and state" in purged.stdout, purged
    assert "/var/lib/mcp stays" in purged.stdout and "stored calls" in purged.stdout, purged
    assert machine.run("ls -A /root/state && umount /var/lib/mcp && ls -A /root/state").ok().stdout == ""
    for place in ("/etc/mcp-gateway", "/var/log/mcp-gateway", "/usr/lib/mcp-gateway", "/run/mcp-gateway"):
        assert machine.run(f"test -e {place}").status == 1, place
    assert "mcp-gateway" not in machine.run("systemctl list-unit-files").ok().stdout
    # Debian's custom: a user's number must not become somebody else's.
    machine.run("getent passwd mcp-gateway").ok()


def test_nothing_but_debian_is_needed(machine):
    wanted = machine.run("ldd /usr/bin/mcp-gateway").ok().stdout
    assert "not found" not in wanted and "swift" not in wanted
    assert installed.DEB.stat().st_size < 60_000_000
