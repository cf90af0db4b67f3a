# Licensed under the Apache License 2.0; see LICENSE.
"""Reads the Prometheus text format strictly: what this refuses, a scraper may refuse too."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SAMPLE = re.compile(rf"^({NAME})(?:\{{(.*)\}})? (\S+)$")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def labels_of(text):
    labels, position = {}, 0
    while position < len(text):
        match = LABEL.match(text, position)
        assert match, f"bad labels: {text}"
        assert match[1] not in labels, f"label twice: {text}"
        labels[match[1]] = match[2]
        position = match.end()
    return labels


def parse(text):
    """All samples as {name: [(labels, value)]} and the type of each family; refuses what is not valid."""
    assert text.endswith("\n")
    types, samples, closed, current, seen = {}, {}, set(), None, set()
    for line in text.splitlines():
        assert line == line.strip() and line, f"white space: {line!r}"
        comment = re.match(rf"^# (HELP|TYPE) ({NAME})(?: (.*))?$", line)
        if comment:
            kind, name, rest = comment.groups()
            assert name not in closed, f"{name} in two places"
            if name != current:
                closed.add(current)
                current = name
            if kind == "TYPE":
                assert name not in types and rest in SUFFIXES, line
                types[name] = rest
            continue
        assert not line.startswith("#"), line
        match = SAMPLE.match(line)
        assert match, f"not a sample: {line!r}"
        name, labels, value = match[1], labels_of(match[2] or ""), float(match[3])
        family = current
        assert family in types, f"{name} has no TYPE before it"
        assert name in {family + suffix for suffix in SUFFIXES[types[family]]}, f"{name} stands under {family}"
        key = (name, tuple(sorted(labels.items())))
        assert key not in seen, f"series twice: {line}"
        seen.add(key)
        samples.setdefault(name, []).append((labels, value))
        if types[family] == "counter":
            assert value >= 0
    for family, kind in types.items():
        if kind == "histogram":
            check_histogram(family, samples)
    return samples, types


def check_histogram(family, samples):
    series = {}
    for labels, value in samples.get(family + "_bucket", []):
        rest = tuple(sorted(item for item in labels.items() if item[0] != "le"))
        series.setdefault(rest, []).append((float(labels["le"]), value))
    counts = {tuple(sorted(labels.items())): value for labels, value in samples.get(family + "_count", [])}
    sums = {tuple(sorted(labels.items())) for labels, _ in samples.get(family + "_sum", [])}
    assert set(series) == set(counts) == sums, f"{family}: buckets, sums and counts differ"
    for rest, buckets in series.items():
        assert buckets == sorted(buckets), f"{family}: buckets out of order or falling"
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
        assert buckets[-1][0] == float("inf") and buckets[-1][1] == counts[rest]
