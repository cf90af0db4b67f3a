# Licensed under the Apache License 2.0; see LICENSE.
"""Reads log lines as monitoring/fluentd does: with its expressions, in the Ruby that Fluentd is written in."""

import json
import re

import monitoring_files as files

# A line, and the message and the facts that are in it.
NASTY = [
    ('2026-11-23 18:20:01.123Z info  daemon: serving', "serving", {}),
    ('2026-11-23 18:20:01.123Z warning gateway: a b: c="d e" f=g', "a b:", {"c": "d e", "f": "g"}),
    (r'2026-11-23 18:20:01.123Z error storage: it is "so" k="a \"b\" c=\"d\" \\" l=m', 'it is "so"',
     {"k": r'a "b" c="d" ' + "\\", "l": "m"}),
    (r'2026-11-23 18:20:01.123Z error storage: two k="one\nlevel=info \u001b[0m"', "two",
     {"k": r"one\nlevel=info \u001b[0m"}),
    ('2026-11-23 18:20:01.123Z debug wasm: empty k="" l=ü', "empty", {"k": "", "l": "ü"}),
    ('2026-11-23 18:20:01.123Z notice wasm: cut k="abc de… [cut] request_id=ab', 'cut k="abc de… [cut]',
     {"request_id": "ab"}),
]

PARSE = r"""
expressions, fields = JSON.parse(ARGV[0]).map { |text| Regexp.new(text[1..-2]) }, ARGV[1]
puts JSON.generate(STDIN.read.force_encoding("UTF-8").lines(chomp: true).map { |line|
  found = expressions.lazy.map { |one| one.match(line) }.find(&:itself)
  found && (record = found.named_captures; record.merge("fields" => eval(fields)))
})
"""


def parsed(lines, kind):
    """The records that Fluentd makes of the lines: by the very expression of the file, and the Ruby of its filter."""
    conf = files.FLUENTD.read_text()
    expressions = re.findall(r"^\s*expression (/.*/)$", conf, re.M)
    expressions = [one for one in expressions if ("<kind>" in one) == (kind == "security")]
    fields = re.search(r"^\s*fields \$\{(.*)\}$", conf, re.M)[1]
    assert len(expressions) == 1
    return files.ruby(PARSE, json.dumps(expressions), fields, text="\n".join(lines))
