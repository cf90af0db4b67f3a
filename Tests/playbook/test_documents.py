# Licensed under the Apache License 2.0; see LICENSE.
"""Every block of shell in the documents is typed, where it says, or says why not."""

import re
import subprocess

import pytest

import base
import documents
import installed
from documents import DOCUMENTS, GOES_ON, NOT_IN_A_LAB, Checkout, blocks, commands, filled, first_match, shell_blocks
from lab import plain
from waiting import eventually

# A server called erp with the tools that the documents speak of: the example server under other names.
ERP = "/opt/erp/server.py"
ERP_UPSTREAM = f"""
[upstreams.erp]
command = "python3"
args = ["{ERP}"]
timeout = "1s"
tools."add_note" = {{ name = "create_ticket", offline = "queue" }}
tools."list_notes" = {{ name = "get_price", offline = "stale", cache = "10m" }}
"""
IMPORTED = '{"mcpServers": {"other": {"command": "npx", "args": ["-y", "a-server"], "env": {"A_TOKEN": "secret"}}}}'
NGINX = """
upstream gateway { server 127.0.0.1:8080; }
server { listen 127.0.0.1:8088; location / { proxy_pass http://gateway; } }
"""


# --- What a block says of itself ---

def test_each_block_of_shell_says_where_it_is_typed_or_why_not():
    wrong = [block.name for document in DOCUMENTS for block in blocks(document)
             if block.kind in documents.SHELL and not block.reason and block.place not in documents.PLACES]
    assert wrong == []


def test_no_reason_is_given_for_a_block_that_is_no_shell():
    assert [block.name for document in DOCUMENTS for block in blocks(document)
            if block.reason and block.kind not in documents.SHELL] == []


def test_a_command_stands_in_a_fence():
    """Elsewhere it would not be typed by these tests."""
    wrong = []
    for document in DOCUMENTS:
        fenced = {number for block in blocks(document)
                  for number in range(block.line, block.line + block.text.count("\n") + 2)}
        wrong += [f"{document.name}:{number}: {line}"
                  for number, line in enumerate(document.read_text(encoding="utf-8").split("\n"), 1)
                  if number not in fenced and re.match(r"\s+(make|mcp-gateway|systemctl|curl)\b", line)]
    assert wrong == []


# What must not be pasted together: an order and what takes it back, two answers to one question, a look and the end of
# what was looked at.
APART = [
    (r"\bqueue retry\b", r"\bqueue cancel\b"),
    (r"\bdrain$", r"\bdrain --undo\b"),
    (r"\boverrides undo \S", r"\boverrides undo$"),
    (r"/circuit-breaker/enable\b|\bbreaker enable\b", r"/rate-limit\b|\blimit set\b"),
    (r"\bMemoryMax=\d", r"\bMemoryMax=infinity\b"),
    (r"\btoken new\b", r"\btoken revoke\b"),
    (r"^apt-get remove\b", r"^apt-get purge\b"),
    (r"\.corrupt", r"\s-delete\b"),
]


@pytest.mark.parametrize("one, other", APART)
def test_a_block_is_one_decision(one, other):
    texts = {block.name: [re.sub(r"\s+#.*", "", command) for command in commands(block.text)]
             for document in DOCUMENTS for block in blocks(document) if block.kind in documents.SHELL}
    both = [name for name, lines in texts.items()
            if any(re.search(one, mine) and re.search(other, its) for mine in lines for its in lines if mine != its)]
    assert both == []
    # Each of the two is asked for somewhere, or this would look for nothing.
    assert all(any(re.search(wanted, line) for lines in texts.values() for line in lines) for wanted in (one, other))


def test_what_goes_on_until_a_key_is_the_last_of_its_block():
    """What is pasted behind it would be taken for keys, or be lost with Ctrl-C."""
    wrong = []
    for document in DOCUMENTS:
        for block in blocks(document):
            if block.kind in documents.SHELL:
                wrong += [f"{block.name}: {line}" for line in commands(block.text)[:-1]
                          if first_match((*GOES_ON, *documents.ENDLESS), line)]
    assert wrong == []


def test_what_a_lab_has_not_is_asked_for_somewhere():
    typed = [command for block in shell_blocks("installed") for command in commands(block.text)]
    assert [line for line in NOT_IN_A_LAB if not any(re.search(line, command) for command in typed)] == []


# --- At a machine with the package ---

class Reader:
    """A machine that is as the documents take it to be before each of their blocks."""

    def __init__(self, machine):
        self.machine, self.package = machine, installed.DEB.name
        self.secret, self.item = machine.secret, None
        machine.run("systemctl stop mcp-gateway").ok()
        # Numbers of stored calls begin where the documents have theirs.
        machine.sql("INSERT INTO sqlite_sequence VALUES ('queue_items', 4710)")
        machine.put(base.ROOT / "examples/upstreams/notes/server.py", ERP, 0o644)
        machine.configure(installed.MODULES + ERP_UPSTREAM)
        machine.write("/etc/nginx/conf.d/gateway.conf", NGINX)
        machine.write("/root/claude_desktop_config.json", IMPORTED)
        # A refusal by HTTP is no success, also where the document has no --fail.
        machine.write("/root/.curlrc", "fail\n")
        machine.run(
            "cd /etc/mcp-gateway && git init -q && git add config && "
            "git -c user.name=ops -c user.email=ops@localhost commit -q -m 'As installed'").ok()
        machine.run(
            "mkdir -p /etc/mcp-gateway/tls && cd /etc/mcp-gateway/tls && openssl req -x509 -newkey rsa:2048 -nodes "
            "-days 30 -subj /CN=gateway.example -keyout key.pem -out certificate.pem").ok()
        machine.run("systemctl start mcp-gateway").ok()
        machine.wait_for("wasm", "upstream:erp")
        machine.text("units__convert", {"value": 1, "from": "km", "to": "mi"}, self.secret)
        self.request = eventually(
            lambda: machine.sql("SELECT request_id FROM request_log LIMIT 1"), 10, "the row of a call")

    def __getattr__(self, name):
        return getattr(self.machine, name)

    def settle(self):
        """Back to a machine that serves, with nothing ordered and its server there."""
        self.run("systemctl reset-failed; systemctl start mcp-gateway").ok()
        self.run(f"if [ -e {ERP}.away ]; then mv {ERP}.away {ERP}; fi").ok()
        self.run("git checkout -q HEAD .", directory="/etc/mcp-gateway").ok()
        self.run("mcp-gateway overrides undo && mcp-gateway reload").ok()
        self.run("curl -s -X POST http://localhost:8080/admin/sync/force").ok()
        self.wait_for("wasm", "upstream:erp")
        for number in self.sql("SELECT id FROM queue_items WHERE status = 'unknown'").split():
            self.run(f"mcp-gateway queue cancel {number}").ok()

    def prepare(self, text):
        """What a block speaks of."""
        known = self.run("mcp-gateway token list").ok().stdout
        for order, name in re.findall(r"token (new|revoke) ([a-z-]+)", text):
            is_known = f" {name} " in known
            if order == "revoke" and not is_known:
                self.run(f"mcp-gateway token new {name} --role call").ok()
            if order == "new" and is_known:
                self.run(f"mcp-gateway token revoke {name}").ok()
        if re.search(r"\b(4711|ID)\b", text):
            self.item = self.undecided()

    def undecided(self):
        """A stored call that nobody knows whether it was carried out, while its server is away."""
        self.run(f"mv {ERP} {ERP}.away && pkill -KILL -u mcp-gateway -f {ERP}").ok()
        self.wait_for("upstream:erp", status="unhealthy")
        told = self.text("erp__create_ticket", {"text": "a ticket"}, self.secret)
        handle = re.search(r"call-[0-9a-f]+", told)[0]
        self.run("systemctl stop mcp-gateway").ok()
        self.sql(f"UPDATE queue_items SET status = 'unknown' WHERE handle = '{handle}'")
        self.run("systemctl start mcp-gateway").ok()
        return int(self.sql(f"SELECT id FROM queue_items WHERE handle = '{handle}'"))

    def type(self, text):
        """Types a block: lines that end by themselves in one shell, others at a terminal of their own."""
        waiting = []
        for command in [filled(command, self) for command in commands(text)]:
            key = first_match(GOES_ON, command)
            if first_match(NOT_IN_A_LAB, command):
                continue
            if key is None:
                waiting.append(command)
                continue
            documents.type_at(self.machine, waiting)
            waiting = []
            self.terminal(command, lambda shown: "mcp-gat" in plain(shown), GOES_ON[key])
        documents.type_at(self.machine, waiting)


@pytest.fixture(scope="module")
def reader(machine):
    return Reader(machine)


@pytest.mark.parametrize("block", shell_blocks("installed"), ids=lambda block: block.name)
def test_it_works_at_an_installed_machine(reader, block):
    reader.settle()
    reader.prepare(block.text)
    reader.type(block.text)


@pytest.mark.parametrize(
    "block", [block for document in DOCUMENTS for block in blocks(document) if block.kind == "sql"],
    ids=lambda block: block.name)
def test_the_database_answers(reader, block):
    reader.run("sqlite3 -bail /var/lib/mcp/queue.db", input=block.text).ok()


def test_paths_of_an_installed_machine_exist(reader):
    """Those in backticks. What a document has made before is there because its blocks were typed at another machine."""
    made = ("/etc/mcp-gateway/tls", "/etc/mcp-gateway/erp-token")
    roots = r"/(?:etc|var/lib|var/log|run|usr/share/doc)/(?:mcp-gateway|mcp)\b[\w./-]*|/lib/systemd/system/[\w.-]+"
    missing = []
    for document in DOCUMENTS:
        if not document.is_relative_to(base.ROOT / "docs"):
            continue
        for path in re.findall(rf"`({roots})`", document.read_text()):
            if not path.startswith(made) and "YYYY" not in path and reader.run(f"test -e {path}").status:
                missing.append(f"{document.name}: {path}")
    assert missing == []


# --- At a machine without it, and in a checkout ---

def by_document(place):
    return sorted({block.document for block in shell_blocks(place)})


@pytest.mark.parametrize("document", by_document("fresh"), ids=lambda path: str(path.relative_to(base.ROOT)))
def test_it_works_at_a_fresh_machine(park, document):
    machine = park.new()
    machine.package, machine.secret = installed.DEB.name, "a-token"
    machine.put(installed.DEB, f"/root/{installed.DEB.name}")
    machine.write("/root/.curlrc", "fail\n")
    machine.run("useradd --create-home anna").ok()
    for block in shell_blocks("fresh", [document]):
        documents.type_at(machine, [filled(command, machine) for command in commands(block.text)])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    program = base.ROOT / ".build/debug/mcp-gateway"
    if not program.exists():
        program = base.ROOT / ".build/release/mcp-gateway"
    assert program.exists(), "nothing is built; make build does that"
    one = Checkout(tmp_path_factory.mktemp("checkout"), program)
    try:
        one.start()
        eventually(one.is_serving, 60, "a gateway in the checkout")
        yield one
    finally:
        one.close()


@pytest.mark.parametrize("document", by_document("checkout"), ids=lambda path: str(path.relative_to(base.ROOT)))
def test_it_works_in_a_checkout(checkout, document):
    texts = []
    for block in blocks(document):
        if block.file:
            texts.append(f"cat >{block.file} <<'THE_END'\n{block.text}THE_END")
        elif block.kind in documents.SHELL and not block.reason and block.place == "checkout":
            texts += commands(block.text)
    checkout.type(texts)


def test_the_answer_that_is_shown_is_the_answer(checkout):
    """README.md shows what its first call answers."""
    first, shown = [block.text for block in blocks(base.ROOT / "README.md") if re.search("Mcp-Name|62.13", block.text)]
    told = subprocess.run(checkout.inside("bash", "-c", first), capture_output=True, text=True, check=True).stdout
    assert "".join(told.split()) == "".join(shown.split())
