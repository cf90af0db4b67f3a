# Licensed under the Apache License 2.0; see LICENSE.
"""What the documents name exists: verbs, flags, keys, metrics, routes, tables, events; and what they show parses."""

import functools
import json
import os
import re
import shlex
import subprocess
import tomllib

import pytest

import base
import playbook
from documents import DOCUMENTS, SHELL, blocks, commands

PROGRAM = next((path for path in (base.ROOT / ".build/debug/mcp-gateway", base.ROOT / ".build/release/mcp-gateway")
                if path.exists()), None)
# A gateway on this machine is the interop tests' matter; they have what starts one.
os.environ.setdefault("MCP_GATEWAY_BINARY", str(PROGRAM))
from gateway import Gateway  # noqa: E402  that has to be said first

# Tables of the configuration, by which a key in backticks is told from a file or a label.
TABLES = ("server", "admin", "storage", "cache", "log", "telemetry", "limits", "auth", "wasm", "alerts")


def short(document):
    return str(document.relative_to(base.ROOT))


def code_in_text(document):
    """What stands in backticks outside of blocks."""
    text = re.sub(r"^\s*```.*?^\s*```$", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", text)]


def everything(document):
    """Code in the text, and blocks of what operators type; clients' programs have names of their own."""
    return code_in_text(document) + [
        block.text for block in blocks(document) if block.kind in (*SHELL, "sql", "promql", "toml")]


def findings(look):
    """What a look finds wrong, with the document's name."""
    return [f"{short(document)}: {wrong}" for document in DOCUMENTS for wrong in look(document)]


# --- What is shown ---

def fences(kind):
    return [block for document in DOCUMENTS for block in blocks(document) if block.kind == kind]


@pytest.mark.parametrize("block", fences("json"), ids=lambda block: block.name)
def test_json_parses(block):
    json.loads(block.text)


@pytest.mark.parametrize("block", fences("toml"), ids=lambda block: block.name)
def test_configuration_is_right(block, tmp_path):
    told = tomllib.loads(block.text)
    # A fragment says what it is about; the shipped file, to which it is added, asks for tokens.
    text = block.text if "auth" in told else "[auth]\nmode = \"token\"\n" + block.text
    file = tmp_path / "fragment.toml"
    file.write_text(text)
    checked = subprocess.run([PROGRAM, "validate-config", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


# --- Verbs and flags ---

@functools.cache
def verbs():
    """Every command of the program with its flags, by its words."""
    dump = subprocess.run([PROGRAM, "--experimental-dump-help"], capture_output=True, text=True, check=True).stdout
    found = {}

    def walk(command, words):
        flags = {("--" if name["kind"] == "long" else "-") + name["name"]
                 for argument in command.get("arguments", []) for name in argument.get("names", [])}
        found[words] = (flags, {one["commandName"] for one in command.get("subcommands", [])},
                        command.get("defaultSubcommand"))
        for one in command.get("subcommands", []):
            walk(one, (*words, one["commandName"]))

    walk(json.loads(dump)["command"], ())
    return found


def wrong_with(words):
    """What is wrong with the words of a call of the program; nothing where all is well."""
    path = ()
    while words and words[0] in verbs()[path][1]:
        path, words = (*path, words[0]), words[1:]
    flags, below, default = verbs()[path]
    if words and below and not words[0].startswith("-"):
        return f"there is no verb {' '.join((*path, words[0]))}"
    allowed = flags | (verbs()[(*path, default)][0] if default and (*path, default) in verbs() else set())
    stranger = next((word for word in words if re.match(r"--[a-z]", word) and word.split("=")[0] not in allowed), None)
    return f"{' '.join(path)} has no {stranger}" if stranger else None


def calls(document):
    """Calls of the program in a document, each as its words; not where another program is told its name."""
    for text in code_in_text(document):
        if text.startswith("mcp-gateway "):
            yield text
    for block in blocks(document):
        if block.kind in SHELL:
            for command in commands(block.text):
                # Without documents that are handed over, and only up to where another program begins. In a container
                # the name comes twice, or behind two hyphens.
                for found in re.findall(r"(?:^|[;&|(] *|\bmcp-gateway |-- )mcp-gateway ([a-z-][^|;&<>)\n]*)",
                                        command.split("<<")[0], re.M):
                    yield "mcp-gateway " + found.removeprefix("mcp-gateway ")


def words_of(call):
    call = re.sub(r"\s#.*", "", call).replace("…", "")
    try:
        return tuple(shlex.split(call)[1:])
    except ValueError:
        return tuple(call.split()[1:])


def test_verbs_and_flags_exist():
    def look(document):
        for call in calls(document):
            wrong = wrong_with(words_of(call))
            if wrong:
                yield f"`{call}`: {wrong}"

    assert findings(look) == []


def test_each_verb_is_told_of():
    told = {words_of(call)[:1] for document in DOCUMENTS for call in calls(document)}
    assert [verb for verb in verbs()[()][1] - {"help"} if (verb,) not in told] == []


def test_verbs_of_make_exist():
    rules = set(re.findall(r"^([a-z-]+):", (base.ROOT / "Makefile").read_text(), re.M))

    def look(document):
        for text in everything(document):
            for verb in re.findall(r"^make ([a-z-]+)", text, re.M):
                if verb not in rules:
                    yield f"make has no {verb}"

    assert findings(look) == []


# --- Keys, metrics, routes, tables, events ---

@functools.cache
def keys():
    """The keys of the reference, each with its table before it."""
    found, table = set(), ""
    for line in (base.ROOT / "docs/CONFIGURATION.md").read_text(encoding="utf-8").splitlines():
        heading = re.match(r"### `\[(.+)\]`", line)
        key = re.match(r"\| `([\w.]+)`", line)
        if heading:
            table = heading[1]
            found.add(table)
        elif line.startswith("### "):
            table = ""
        elif key:
            found.add(f"{table}.{key[1]}" if table else key[1])
    return found


def test_keys_exist():
    known = keys()

    def look(document):
        for code in code_in_text(document):
            found = re.match(rf"((?:{'|'.join(TABLES)})\.[a-z_]+(?:\.[a-z_]+)*)(?: = .*)?$", code)
            if found and not found[1].endswith((".toml", ".key", ".db", ".log", ".service")) and found[1] not in known:
                yield f"`{code}` is no key"
            heading = re.match(r"\[([a-z_.]+)\](?: ([a-z_]+))?", code)
            if heading and heading[1].split(".")[0] in TABLES:
                if (f"{heading[1]}.{heading[2]}" if heading[2] else heading[1]) not in known:
                    yield f"`{code}` is no table or key"

    assert findings(look) == []


def test_metrics_exist():
    told = set(re.findall(r"^\| `(\w+)`", (base.ROOT / "docs/METRICS.md").read_text(encoding="utf-8"), re.M))
    recorded = set(re.findall(r"record: (\S+)", (base.ROOT / "monitoring/prometheus/rules.yml").read_text()))
    known = told | recorded | {name + end for name in told for end in ("_bucket", "_count", "_sum")}

    def look(document):
        for text in everything(document):
            # Not the pieces of names that a pattern is made of.
            for name in re.findall(r"(?<![\w:/$-])((?:mcp|http|process)_[a-z_]+[a-z])(?![\w*]|_?\*|_\()", text):
                if name not in known:
                    yield f"{name} is no metric"

    assert findings(look) == []


@pytest.fixture(scope="module")
def routes():
    """What a gateway's own description of its routes has, with * for what is named in them."""
    gateway = Gateway()
    try:
        told = gateway.start().get("/admin/openapi.json").json
    finally:
        gateway.close()
    return {re.sub(r"\{\w+\}", "*", path) for path in told["paths"]} | {"/admin/openapi.json"}


def test_routes_exist(routes):
    def look(document):
        for text in everything(document):
            for path in re.findall(r"(?<![\w/])(?:localhost(?::\d+)?|127\.0\.0\.1:\d+)?(/admin/[\w/.*{}-]+)", text):
                parts = path.rstrip("/.").split("/")
                fits = any(len(parts) == len(route.split("/")) and all(
                    mine == its or its == "*" for mine, its in zip(parts, route.split("/"))) for route in routes)
                if not fits:
                    yield f"{path} is no route"

    assert findings(look) == []


def test_tables_exist():
    schema = (base.ROOT / "Sources/DurableStore/Schema.swift").read_text()
    tables = set(re.findall(r"CREATE TABLE (\w+)", schema))
    names = {key.rsplit(".", 1)[-1] for key in keys()}
    columns = set(re.findall(r"^ +(\w+) (?:TEXT|INTEGER|BLOB|REAL)\b", schema, re.M)) | set(
        re.findall(r"ADD COLUMN (\w+)", schema))

    def look(document):
        for code in code_in_text(document):
            named = re.fullmatch(r"(\w+_(?:items|log))(?:\.(\w+))?", code)
            # Keys of the configuration and metrics may end so too.
            if not named or named[1] in names or named[1].startswith("mcp_"):
                continue
            if named[1] not in tables or (named[2] and named[2] not in columns):
                yield f"`{code}` is no table or column"

    assert findings(look) == []


def test_each_security_event_is_explained():
    names = (base.ROOT / "Sources/Telemetry/Names.swift").read_text()
    events = set(re.findall(r'static let \w+ = "(\w+)"', names.split("enum SecurityEvent")[1]))
    told = (base.ROOT / "docs/SECURITY.md").read_text().split("### Reading security.log")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", told, re.M)) == events


def test_each_alert_is_in_the_playbook():
    alerts = {name for file in ("rules", "escalation")
              for name in re.findall(r"alert: (\w+)", (base.ROOT / f"monitoring/prometheus/{file}.yml").read_text())}
    told = (base.ROOT / "docs/INCIDENT_RESPONSE.md").read_text().split("\n## Alerts\n")[1].split("\n## ")[0]
    assert set(re.findall(r"\(runbooks/(\w+)\.md\)", told)) == alerts


def test_who_is_on_call_can_stop_the_escalation():
    """By the line that monitoring/README.md gives, which is tried with a real Alertmanager."""
    lines = [[command for block in blocks(base.ROOT / name) if block.kind in SHELL for command in commands(block.text)
              if "alertname=Escalation" in command] for name in ("docs/INCIDENT_RESPONSE.md", "monitoring/README.md")]
    assert lines[0] == lines[1] and len(lines[0]) == 1, lines


def test_the_given_playbook_is_kept():
    """Each of its lines that can be kept is in ours, word by word."""
    ours = (base.ROOT / "docs/INCIDENT_RESPONSE.md").read_text()
    assert [line for line in playbook.LINES if line not in ours] == []
