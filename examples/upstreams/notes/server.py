#!/usr/bin/env python3
# Licensed under the Apache License 2.0; see LICENSE.
"""A small MCP server over stdio that keeps notes in memory. It needs nothing but Python 3.8.

It speaks the revisions of the protocol that begin with `initialize`, 2024-11-05 to 2025-11-25, one JSON-RPC message
a line. Whatever comes in, it answers or stays silent as the protocol demands, and goes on with the next line.
"""
import datetime
import json
import math
import sys

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LINE_BYTES_MAX = 4 * 1024 * 1024
NOTES_MAX = 1000
NOTE_CHARACTERS_MAX = 10_000

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603

NOTE_SCHEMA = {
    "type": "object",
    "properties": {
        "number": {"type": "integer", "description": "Counts up from 1."},
        "text": {"type": "string"},
        "written_at": {"type": "string", "description": "UTC, ISO 8601."},
    },
    "required": ["number", "text", "written_at"],
}

TOOLS = [
    {
        "name": "add_note",
        "title": "Add a note",
        "description": "Keeps a note until this server ends, and returns it with its number. Use it for things that "
        "should be found again later in the same piece of work.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "text": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": NOTE_CHARACTERS_MAX,
                    "description": "The note, in plain text.",
                }
            },
            "required": ["text"],
            "additionalProperties": False,
        },
        "outputSchema": NOTE_SCHEMA,
        "annotations": {
            "readOnlyHint": False,
            "destructiveHint": False,
            "idempotentHint": False,
            "openWorldHint": False,
        },
    },
    {
        "name": "list_notes",
        "title": "List the notes",
        "description": "Returns the notes that were added, oldest first; with contains, only those with that text "
        "in them.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "contains": {"type": "string", "description": "Only notes with this text in them, in any case."},
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": NOTES_MAX,
                    "default": 50,
                    "description": "At most this many, the newest of those that fit.",
                },
            },
            "additionalProperties": False,
        },
        "outputSchema": {
            "type": "object",
            "properties": {"notes": {"type": "array", "items": NOTE_SCHEMA}, "total": {"type": "integer"}},
            "required": ["notes", "total"],
        },
        "annotations": {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
    },
]


class RequestError(Exception):
    """Becomes the `error` of a reply."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Refusal(Exception):
    """Becomes a tool result with `isError`: a model reads it and tries again."""


class NotesServer:
    def __init__(self):
        self.notes = []
        self.revision = REVISIONS[-1]
        self.methods = {
            "initialize": self.initialize,
            "ping": lambda params: {},
            "tools/list": self.list_tools,
            "tools/call": self.call_tool,
        }
        self.tools = {"add_note": self.add_note, "list_notes": self.list_notes}

    # --- The protocol ---

    def answer(self, message):
        """The reply to one message, or None when there must be none."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return failure(None, INVALID_REQUEST, "a JSON-RPC 2.0 object was expected")
        if "method" not in message and ("result" in message or "error" in message):
            return None  # a reply; this server asks nothing, so it waits for none
        identifier = message.get("id")
        if "id" in message and not is_identifier(identifier):
            return failure(None, INVALID_REQUEST, "id must be a string or a number")
        if not isinstance(message.get("method"), str):
            return failure(identifier, INVALID_REQUEST, "method must be a string")
        if "id" not in message:
            return None  # a notification; none of them changes anything here
        try:
            method = self.methods.get(message["method"])
            if method is None:
                raise RequestError(METHOD_NOT_FOUND, "this server does not have the method " + message["method"][:100])
            params = message.get("params", {})
            if not isinstance(params, dict):
                raise RequestError(INVALID_PARAMS, "params must be an object")
            return {"jsonrpc": "2.0", "id": identifier, "result": method(params)}
        except RequestError as error:
            return failure(identifier, error.code, str(error))

    def initialize(self, params):
        wanted = params.get("protocolVersion")
        self.revision = wanted if wanted in REVISIONS else REVISIONS[-1]
        return {
            "protocolVersion": self.revision,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "notes", "title": "Notes", "version": "1.0.0"},
            "instructions": "Keeps short notes while it runs; they are gone when it ends.",
        }

    def list_tools(self, params):
        if params.get("cursor") is not None:
            raise RequestError(INVALID_PARAMS, "there is only one page of tools, so no cursor is valid")
        if self.has_structured_content():
            return {"tools": TOOLS}
        return {"tools": [{key: tool[key] for key in ("name", "description", "inputSchema")} for tool in TOOLS]}

    def call_tool(self, params):
        name = params.get("name")
        tool = self.tools.get(name) if isinstance(name, str) else None
        if tool is None:
            raise RequestError(INVALID_PARAMS, "unknown tool; this server has " + " and ".join(self.tools))
        arguments = params.get("arguments")
        arguments = {} if arguments is None else arguments
        if not isinstance(arguments, dict):
            raise RequestError(INVALID_PARAMS, "arguments must be an object")
        try:
            result = tool(**self.known_arguments(name, arguments))
        except Refusal as refusal:
            return {"content": [{"type": "text", "text": str(refusal)}], "isError": True}
        reply = {"content": [{"type": "text", "text": json.dumps(result, ensure_ascii=False)}], "isError": False}
        if self.has_structured_content():
            reply["structuredContent"] = result
        return reply

    def has_structured_content(self):
        return self.revision >= "2025-06-18"

    @staticmethod
    def known_arguments(name, arguments):
        schema = next(tool["inputSchema"] for tool in TOOLS if tool["name"] == name)
        known = ", ".join(schema["properties"])
        for key in arguments:
            if key not in schema["properties"]:
                raise Refusal(f"{name} does not take {key[:50]!r}; it takes: {known}.")
        for key in schema.get("required", []):
            if key not in arguments:
                raise Refusal(f"{name} needs {key}.")
        return arguments

    # --- The tools ---

    def add_note(self, text):
        if not isinstance(text, str) or not text.strip():
            raise Refusal("text must be a string with something in it.")
        if len(text) > NOTE_CHARACTERS_MAX:
            raise Refusal(f"text has {len(text)} characters; {NOTE_CHARACTERS_MAX} is the most. Make two notes of it.")
        if any(0xD800 <= ord(character) < 0xE000 for character in text):
            raise Refusal("text has half a surrogate pair in it, which is no character.")
        if len(self.notes) >= NOTES_MAX:
            raise Refusal(f"there are {NOTES_MAX} notes already, and that is the most.")
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        note = {"number": len(self.notes) + 1, "text": text, "written_at": now}
        self.notes.append(note)
        return note

    def list_notes(self, contains="", limit=50):
        if not isinstance(contains, str):
            raise Refusal("contains must be a string.")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= NOTES_MAX:
            raise Refusal(f"limit must be a whole number from 1 to {NOTES_MAX}.")
        found = [note for note in self.notes if contains.casefold() in note["text"].casefold()]
        return {"notes": found[-limit:], "total": len(found)}


def is_identifier(value):
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def failure(identifier, code, message):
    return {"jsonrpc": "2.0", "id": identifier, "error": {"code": code, "message": message}}


def refuse_constant(name):
    raise ValueError(name + " is not JSON")


def answer_line(server, line):
    """The reply to one line, or None. A batch, which one revision had, gets a list."""
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return failure(None, PARSE_ERROR, "the line is not JSON in UTF-8, or is nested too deep")
    try:
        if isinstance(message, list) and message and server.revision == "2025-03-26":
            replies = [reply for reply in map(server.answer, message) if reply is not None]
            return replies or None
        return server.answer(message)
    except Exception as error:  # a mistake of this server must not end it
        print(f"notes: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        identifier = message.get("id") if isinstance(message, dict) else None
        return failure(identifier, INTERNAL_ERROR, "this server made a mistake; its stderr has more")


def serve(incoming, outgoing):
    server = NotesServer()
    while True:
        line = incoming.readline(LINE_BYTES_MAX + 1)
        if not line:
            return
        if len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = incoming.readline(LINE_BYTES_MAX)
            reply = failure(None, INVALID_REQUEST, f"the line is longer than {LINE_BYTES_MAX} bytes")
        elif not line.strip():
            continue
        else:
            reply = answer_line(server, line)
        if reply is not None:
            # ASCII only: half a surrogate pair in an id goes back as it came.
            outgoing.write(json.dumps(reply).encode("ascii") + b"\n")
            outgoing.flush()


if __name__ == "__main__":
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except (KeyboardInterrupt, BrokenPipeError):
        # The other side has left; without this Python complains once more when it closes stdout.
        sys.stderr.close()
