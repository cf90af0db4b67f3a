# Licensed under the Apache License 2.0; see LICENSE.
"""Turns the Markdown of this project's documents into the language of man pages.

What is understood: headings, paragraphs, lists, tables, fenced blocks, `code`, **bold**, links. Anything else is taken
as text.
"""
import re

_NAMED = {"\\": "\\e", "-": "\\-", "'": "\\(aq", '"': "\\(dq", "^": "\\(ha", "~": "\\(ti", "`": "\\(ga"}
_SPAN = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|(?<!\w)_([^_]+)_(?!\w)|\[([^\]]+)\]\([^)]+\)")
# What ends a paragraph without an empty line.
_BEGINS = re.compile(r"#|```|\||([-*]|\d+\.)\s")


def literal(text):
    """Text that is typed or read by machines: no character of it may be prettified."""
    return "".join(_NAMED.get(c, c if ord(c) < 128 else f"\\[u{ord(c):04X}]") for c in text)


def prose(text):
    """A sentence: plain, but with its backslashes, hyphens before options and letters of elsewhere made safe."""
    text = text.replace("\\", "\\e").replace("^", "\\(ha").replace("~", "\\(ti")
    text = re.sub(r"(?<![\w-])--?(?=\w)", lambda found: "\\-" * len(found[0]), text)
    return "".join(c if ord(c) < 128 else f"\\[u{ord(c):04X}]" for c in text)


def inline(text):
    """One paragraph's worth of text, with bold for code and for what is bold."""
    out, place = [], 0
    for found in _SPAN.finditer(text):
        out.append(prose(text[place:found.start()]))
        code, bold, slanted, link = found.groups()
        if code is not None:
            out.append(f"\\fB{literal(code)}\\fR")
        elif bold is not None:
            out.append(f"\\fB{inline(bold)}\\fR" if "`" not in bold else inline(bold))
        elif slanted is not None:
            out.append(f"\\fI{literal(slanted)}\\fR")
        else:
            out.append(inline(link))
        place = found.end()
    out.append(prose(text[place:]))
    return "".join(out)


def line(text):
    """A line of output: one that begins like a request is no request."""
    return "\\&" + text if text[:1] in (".", "'") else text


def argument(text):
    """Of a macro, in quotes."""
    return '"' + text.replace('"', "\\(dq") + '"'


def block(rows):
    """Lines that stay as they are."""
    return ["", ".RS 4", ".EX"] + [line(literal(row)) if row else "" for row in rows] + [".EE", ".RE"]


def tagged(term, rows):
    """A term, already in roff, and what it means."""
    return [".TP", line(term)] + (rows or ["\\&"])


def _cells(row):
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def key_table(header, rows):
    """A table of configuration keys, as docs/CONFIGURATION.md has them; any other one is term and meaning."""
    out = []
    for row in rows:
        if header == ["Key", "Takes", "When left out", "Why"]:
            key, takes, default, why = row
            # Defaults in words already say what they are.
            meaning = [line(inline(why)), ".br", "Left out: " + inline(default)]
            out += tagged(f"{inline(key)} ({inline(takes)})", meaning)
        else:
            out += tagged(inline(row[0]), [line(inline("; ".join(cell for cell in row[1:] if cell)))])
    return out


def markdown(text, level=2):
    """The body of a page. Headings of `level` become sections, those below it subsections."""
    out, lines, place = [], re.sub(r"<!--.*?-->", "", text, flags=re.S).split("\n"), 0
    while place < len(lines):
        row = lines[place]
        heading = re.match(r"(#+)\s+(.*)", row)
        if heading:
            words = heading[2].strip()
            if len(heading[1]) == level:
                out.append(f".SH {argument(prose(words.replace('`', '')).upper())}")
            elif len(heading[1]) > level:
                out.append(f".SS {argument(prose(words.replace('`', '')))}")
            place += 1
        elif row.startswith("```"):
            end = next((n for n in range(place + 1, len(lines)) if lines[n].startswith("```")), len(lines))
            out += block(lines[place + 1:end])
            place = end + 1
        elif row.startswith("|"):
            end = next((n for n in range(place, len(lines)) if not lines[n].startswith("|")), len(lines))
            table = [_cells(one) for one in lines[place:end] if not re.fullmatch(r"[|\s:-]+", one)]
            out += key_table(table[0], table[1:])
            place = end
        elif re.match(r"([-*]|\d+\.)\s", row):
            mark, words = re.match(r"([-*]|\d+\.)\s+(.*)", row).groups()
            place += 1
            while place < len(lines) and re.match(r"\s+\S", lines[place]):
                words += " " + lines[place].strip()
                place += 1
            bullet = "\\(bu 2" if mark in "-*" else f"{mark} 4"
            out += [f".IP {bullet}", line(inline(words))]
        elif row.strip():
            words = []
            while place < len(lines) and lines[place].strip() and not _BEGINS.match(lines[place]):
                words.append(lines[place].strip())
                place += 1
            out += ([] if out and out[-1].startswith((".SH", ".SS")) else [".PP"]) + [line(inline(" ".join(words)))]
        else:
            place += 1
    return out
