# Licensed under the Apache License 2.0; see LICENSE.
"""What the fixture servers of both SDK generations offer, as plain JSON: tools, resources, templates, prompts.

The names and texts are those that conformance tests of MCP servers look for. `about` comes first, in this order and in the
alphabet's, because such tests call the first tool of a list with no arguments.
"""

import base64
import struct
import zlib


def _png():
    """A red pixel."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")


def _wav():
    """Four silent samples."""
    format = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    data = struct.pack("<4sI", b"data", 4) + b"\x80" * 4
    return struct.pack("<4sI4s", b"RIFF", 4 + len(format) + len(data), b"WAVE") + format + data


PNG = base64.b64encode(_png()).decode()
WAV = base64.b64encode(_wav()).decode()

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
WHOLE = {"type": "integer"}


def _tool(name, description, properties=None, required=(), **more):
    schema = {"type": "object", "properties": properties or {}}
    if required:
        schema["required"] = list(required)
    return {"name": name, "description": description, "inputSchema": schema, **more}


PLACE = {"$anchor": "place", "type": "object", "properties": {"street": TEXT, "city": TEXT}, "required": ["city"]}
RICH_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"place": PLACE},
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "address": {"$ref": "#/$defs/place"},
        "kind": {"enum": ["person", "company"]},
        "contact": {"anyOf": [{"type": "string", "format": "email"}, {"type": "integer", "exclusiveMinimum": 0}]},
        "tags": {"type": "array", "prefixItems": [TEXT, {"type": "number", "multipleOf": 0.5}], "items": False},
    },
    "allOf": [{"required": ["name"]}, {"not": {"required": ["forbidden"]}}],
    "anyOf": [{"required": ["address"]}, {"required": ["contact"]}, True],
    "if": {"properties": {"kind": {"const": "company"}}, "required": ["kind"]},
    "then": {"required": ["address"]},
    "else": {"properties": {"tags": {"maxItems": 2}}},
    "additionalProperties": False,
    "dependentRequired": {"tags": ["name"]},
}

TOOLS = [
    _tool("about", "Tells who the server is, and what it knows of its client."),
    _tool("test_simple_text", "Answers with one text.", title="Simple text", annotations={"readOnlyHint": True}),
    _tool("test_image_content", "Answers with a picture."),
    _tool("test_audio_content", "Answers with a sound."),
    _tool("test_embedded_resource", "Answers with a resource inside."),
    _tool("test_multiple_content_types", "Answers with a text, a picture and a resource."),
    _tool("test_tool_with_logging", "Sends three log messages, then answers."),
    _tool("test_error_handling", "Always fails, and says so in its result."),
    _tool("test_tool_with_progress", "Reports progress three times, then answers."),
    _tool("test_sampling", "Asks the client's model.", {"prompt": TEXT}, ["prompt"]),
    _tool("test_elicitation", "Asks the user for a name and an address.", {"message": TEXT}, ["message"]),
    _tool("test_elicitation_sep1034_defaults", "Asks the user, with a default for each kind of field."),
    _tool("test_elicitation_sep1330_enums", "Asks the user, with each form of a choice."),
    _tool("test_reconnection", "Hangs up in the middle of the call where the transport can, and answers on the next connection."),
    _tool("test_missing_capability", "Needs a client whose model it may ask."),
    _tool("test_streaming_elicitation", "Reports progress, then asks the user."),
    _tool("test_logging_tool", "Logs once at each of three levels, then answers."),
    _tool("test_trigger_tool_change", "Adds or removes a tool."),
    _tool("test_trigger_prompt_change", "Adds or removes a prompt."),
    _tool("test_input_required_result_elicitation", "Needs a user's name."),
    _tool("test_input_required_result_sampling", "Needs the model's word about a capital."),
    _tool("test_input_required_result_list_roots", "Needs the client's roots."),
    _tool("test_input_required_result_request_state", "Needs a confirmation, and its own state back."),
    _tool("test_input_required_result_multiple_inputs", "Needs three things at once."),
    _tool("test_input_required_result_multi_round", "Needs two answers, the second after the first."),
    _tool("test_input_required_result_tampered_state", "Needs a confirmation, and its own state back untouched."),
    _tool("test_input_required_result_capabilities", "Needs whatever this client can give."),
    {"name": "json_schema_2020_12_tool", "description": "Takes arguments by a schema that uses much of its dialect.",
     "inputSchema": RICH_SCHEMA},
    _tool("whoami_meta", "Returns the _meta of the call, as it came."),
    _tool("ask_and_echo", "Asks the user for a value and returns it after the tag.", {"tag": TEXT}, ["tag"]),
    _tool("ask_model_and_echo", "Asks the client's model and returns its word after the tag.", {"tag": TEXT}, ["tag"]),
    _tool("ask_url", "Asks the user to open a page.", {"tag": TEXT}),
    _tool("slow_progress", "Reports progress and logs at each step; both carry the tag.",
          {"steps": WHOLE, "pause": NUMBER, "tag": TEXT}),
    _tool("cancellable", "Waits, and remembers under its tag how that ended.", {"seconds": NUMBER, "tag": TEXT}),
    _tool("was_cancelled", "Tells how a `cancellable` went: running, cancelled, finished or unknown.", {"tag": TEXT}),
    _tool("change_tools", "Makes the tool `extra_tool` present or absent.", {"present": {"type": "boolean"}}),
    _tool("change_resources", "Makes the resource test://extra present or absent.", {"present": {"type": "boolean"}}),
    _tool("touch_watched", "Changes test://watched-resource."),
    _tool("structured_sum", "Adds, and returns the sum as data and as text.", {"a": WHOLE, "b": WHOLE}, ["a", "b"],
          outputSchema={"type": "object", "properties": {"sum": WHOLE}, "required": ["sum"]}),
    _tool("linked_resource", "Answers with a link to a resource."),
    # As plain tools these run while the caller waits; where the caller knows tasks, some of them become tasks.
    _tool("greet", "Greets at once.", {"name": TEXT}),
    _tool("slow_compute", "Computes for a while.", {"seconds": NUMBER, "label": TEXT}, ["seconds"]),
    _tool("failing_job", "Runs, and says in its result that it failed."),
    _tool("protocol_error_job", "Runs, and ends in an error of the protocol."),
    _tool("confirm_delete", "Deletes a file if the user agrees.", {"filename": TEXT}, ["filename"]),
    _tool("multi_input", "Needs two answers from the user."),
    _tool("test_tool_with_task", "Asks first, and works afterwards."),
]

# A schema that mirrors arguments into headers is a thing of the modern era; a list as structured data is one, too.
MODERN_TOOLS = [
    _tool("routed_echo", "Returns its arguments; some of them travel as headers, too.", {
        "tenant": {"type": "string", "x-mcp-header": "Tenant"}, "count": {"type": "integer", "x-mcp-header": "Count"},
        "urgent": {"type": "boolean", "x-mcp-header": "Urgent"}, "note": TEXT}),
    _tool("structured_list", "Returns a list as data.", outputSchema={"type": "array", "items": WHOLE}),
]

EXTRA_TOOLS = {
    "extra_tool": _tool("extra_tool", "Is here only sometimes."),
    "triggered_tool": _tool("triggered_tool", "Comes and goes with each trigger."),
}

RESOURCES = [
    {"uri": "test://static-text", "name": "static-text", "description": "A text that never changes.", "mimeType": "text/plain"},
    {"uri": "test://static-binary", "name": "static-binary", "description": "A picture.", "mimeType": "image/png"},
    {"uri": "test://watched-resource", "name": "watched-resource", "description": "A text that changes when touched.",
     "mimeType": "text/plain"},
]
EXTRA_RESOURCE = {"uri": "test://extra", "name": "extra", "description": "Is here only sometimes.", "mimeType": "text/plain"}
TEMPLATES = [{"uriTemplate": "test://template/{id}/data", "name": "template", "description": "Data by number.",
              "mimeType": "application/json"}]


def _prompt(name, description, *arguments):
    prompt = {"name": name, "description": description}
    if arguments:
        prompt["arguments"] = [{"name": each, "description": f"The {each}.", "required": True} for each in arguments]
    return prompt


PROMPTS = [
    _prompt("test_simple_prompt", "One message of the user."),
    _prompt("test_prompt_with_arguments", "A message with two arguments in it.", "arg1", "arg2"),
    _prompt("test_prompt_with_embedded_resource", "A resource and a message about it.", "resourceUri"),
    _prompt("test_prompt_with_image", "A picture and a message about it."),
    _prompt("test_input_required_result_prompt", "Needs a word from the user first."),
]
EXTRA_PROMPT = _prompt("triggered_prompt", "Comes and goes with each trigger.")

COMPLETIONS = {"arg1": ["paris", "park", "party", "oslo"], "arg2": ["one", "two"], "resourceUri": ["test://static-text"],
               "id": ["1", "12", "123"]}
