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

# As the parser and the filter of the file do it: the expression, the time, then the filter's members.
PARSE = r"""
expression, format, members, removed = JSON.parse(ARGV[0])
expression = Regexp.new(expression[1..-2])
puts JSON.generate(STDIN.read.force_encoding("UTF-8").lines(chomp: true).map { |line|
  if found = expression.match(line)
    record = found.names.to_h { |name| [name, found[name]] }.compact
    record["at"] = Time.strptime(record["time"], format).to_f
    record = record.merge(members.transform_values { |ruby| eval(ruby) })
    record.except(*removed)
  end
})
"""


def parsed(lines, kind):
    """The records that Fluentd makes of the lines, their times as `at`: by the very expression of the file, and the
    Ruby of its filter. None for a line that fits no pattern."""
    conf = files.FLUENTD.read_text()
    source, = [one for one in conf.split("<source>")[1:] if f"tag mcp-gateway.{kind}\n" in one]
    expression, = re.findall(r"^\s*expression (/.*/)$", source, re.M)
    format, = re.findall(r"^\s*time_format (.*)$", source, re.M)
    members = dict(re.findall(r"^\s*(\w+) \$\{(.*)\}$", conf.split("<record>")[1].split("</record>")[0], re.M))
    removed = re.search(r"^\s*remove_keys (.*)$", conf, re.M)[1].split(",")
    assert set(members) == {"message", "fields"}
    return files.ruby(PARSE, json.dumps([expression, format, members, removed]), text="\n".join(lines))
