# Licensed under the Apache License 2.0; see LICENSE.
"""What the fixture servers do, apart from any SDK and any era.

A tool or prompt is a step: it returns a result, or raises `NeedsInput` with the questions it has. A modern server returns those
as an `input_required` result and takes the step again with the answers; a legacy server asks them of its client at once and
takes the step again by itself. What a step needs of its surroundings is a `call`, see `Call`.
"""

import asyncio
import contextlib
import fcntl
import json

import fixtures_catalogue as catalogue

NOT_FOUND = -32602
LEGACY_NOT_FOUND = -32002
WATCHED = "test://watched-resource"


class NeedsInput(Exception):
    def __init__(self, requests, state=None):
        super().__init__("needs input")
        self.requests, self.state = requests, state


class Refusal(Exception):
    """An error of the protocol."""

    def __init__(self, code, message, data=None):
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class Call:
    """One request as a step sees it. Each server fills in what its SDK tells, and how its SDK sends."""

    modern = False
    arguments, meta, capabilities, responses, state = {}, {}, {}, None, None
    identity = {}

    async def log(self, level, data, logger="fixtures"): ...
    async def progress(self, progress, total, message=None): ...
    async def changed(self, kind): ...
    async def updated(self, uri): ...
    async def hang_up(self): ...


class World:
    """What the server remembers across requests.

    A gateway may run a stdio server in several processes. Given a file, they remember in common, as servers do that stand
    before one database; each then tells its own clients of every change, see `watch`. Two clients of one server with no file
    would look at two worlds.
    """

    def __init__(self, name, modern, path=None):
        self.name, self.modern, self.path = name, modern, path
        self.state = {"tools": [], "prompts": False, "extra": False, "touched": 0, "ends": {},
                      "changes": {"tools": 0, "prompts": 0, "resources": 0}}

    @contextlib.contextmanager
    def change(self, kind=None):
        """The state, to be changed; `kind` is the list that changes with it."""
        with self.opened(fcntl.LOCK_EX) as file:
            yield self.state
            if kind:
                self.state["changes"][kind] += 1
            if file:
                file.seek(0)
                file.truncate()
                file.write(json.dumps(self.state))

    @contextlib.contextmanager
    def opened(self, lock):
        if not self.path:
            yield None
            return
        with open(self.path, "a+") as file:
            fcntl.flock(file, lock)
            file.seek(0)
            self.state = json.loads(file.read() or json.dumps(self.state))
            yield file

    def look(self):
        with self.opened(fcntl.LOCK_SH):
            return self.state

    async def watch(self, changed, updated):
        """Tells of changes, whichever process made them."""
        known = self.look()
        while True:
            await asyncio.sleep(0.02)
            state = self.look()
            for kind, times in state["changes"].items():
                if times != known["changes"][kind]:
                    await changed(kind)
            if state["touched"] != known["touched"]:
                await updated(WATCHED)
            known = json.loads(json.dumps(state))

    def list_tools(self):
        own = catalogue.TOOLS + (catalogue.MODERN_TOOLS if self.modern else [])
        return own + [catalogue.EXTRA_TOOLS[name] for name in sorted(self.look()["tools"])]

    def list_prompts(self):
        return catalogue.PROMPTS + ([catalogue.EXTRA_PROMPT] if self.look()["prompts"] else [])

    def list_resources(self, cursor):
        """Two pages. The cursor of the second is the empty string, which is as good a cursor as any."""
        if cursor is None:
            return catalogue.RESOURCES[:2], ""
        if cursor != "":
            raise Refusal(-32602, "this cursor was never given")
        return catalogue.RESOURCES[2:] + ([catalogue.EXTRA_RESOURCE] if self.look()["extra"] else []), None

    def read(self, uri, modern):
        texts = {"test://static-text": "This is the content of the static text resource.",
                 WATCHED: f"Touched {self.look()['touched']} times."}
        if self.state["extra"]:
            texts["test://extra"] = "Here for now."
        if uri in texts:
            return [{"uri": uri, "mimeType": "text/plain", "text": texts[uri]}]
        if uri == "test://static-binary":
            return [{"uri": uri, "mimeType": "image/png", "blob": catalogue.PNG}]
        if uri.startswith("test://template/") and uri.endswith("/data"):
            data = json.dumps({"id": uri.split("/")[3], "data": f"Data of {uri.split('/')[3]}"})
            return [{"uri": uri, "mimeType": "application/json", "text": data}]
        raise Refusal(NOT_FOUND if modern else LEGACY_NOT_FOUND, "there is no such resource", {"uri": uri})

    def complete(self, ref, argument, context):
        known = {"ref/prompt": [prompt["name"] for prompt in self.list_prompts()],
                 "ref/resource": [template["uriTemplate"] for template in catalogue.TEMPLATES]}
        if ref.get("name", ref.get("uri")) not in known[ref["type"]]:
            raise Refusal(-32602, "there is nothing of that name to complete for")
        values = [value for value in catalogue.COMPLETIONS.get(argument["name"], []) if value.startswith(argument["value"])]
        if context:
            values = [f"{value} ({', '.join(f'{name}={context[name]}' for name in sorted(context))})" for value in values]
        return {"values": values, "total": len(values), "hasMore": False}


def text(*texts, **more):
    return {"content": [{"type": "text", "text": each} for each in texts], **more}


def failed(reason):
    return text(reason, isError=True)


def form(message, required, **properties):
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sample(prompt):
    message = {"role": "user", "content": {"type": "text", "text": prompt}}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 100}}


ROOTS = {"method": "roots/list", "params": {}}


def answer(call, key, kind, request):
    """The answer under `key` if it is one of that kind; asks otherwise. A wrong or missing answer is asked for again."""
    given = (call.responses or {}).get(key)
    needed = {"elicitation": "action", "sampling": "content", "roots": "roots"}[kind]
    if not isinstance(given, dict) or needed not in given:
        raise NeedsInput({key: request}, call.state)
    if kind == "elicitation":
        if given["action"] not in ("accept", "decline", "cancel"):
            raise NeedsInput({key: request}, call.state)
        return given
    return given["content"].get("text", "") if kind == "sampling" else given["roots"]


def accepted(given, name):
    return (given.get("content") or {}).get(name) if given["action"] == "accept" else f"({given['action']})"


async def call_tool(world, name, call):
    tool = next((each for each in world.list_tools() if each["name"] == name), None)
    if tool is None:
        raise Refusal(-32602, f"there is no tool {name!r}")
    missing = [each for each in tool["inputSchema"].get("required", []) if each not in call.arguments]
    if missing:
        return failed(f"the arguments {missing} are missing")
    return await STEPS[name](world, call)


async def get_prompt(world, name, call):
    def message(content):
        return {"role": "user", "content": content}

    def say(words):
        return message({"type": "text", "text": words})

    prompt = next((each for each in world.list_prompts() if each["name"] == name), None)
    if prompt is None:
        raise Refusal(-32602, f"there is no prompt {name!r}")
    missing = [each["name"] for each in prompt.get("arguments", []) if each["name"] not in call.arguments]
    if missing:
        raise Refusal(-32602, f"the arguments {missing} are missing")
    if name == "test_prompt_with_arguments":
        messages = [say(f"Prompt with arguments: arg1='{call.arguments['arg1']}', arg2='{call.arguments['arg2']}'")]
    elif name == "test_prompt_with_embedded_resource":
        inner = {"uri": call.arguments["resourceUri"], "mimeType": "text/plain", "text": "Embedded resource content for testing."}
        messages = [message({"type": "resource", "resource": inner}), say("Please process the embedded resource above.")]
    elif name == "test_prompt_with_image":
        picture = {"type": "image", "data": catalogue.PNG, "mimeType": "image/png"}
        messages = [message(picture), say("Please look at the image above.")]
    elif name == "test_input_required_result_prompt":
        given = answer(call, "user_context", "elicitation", form("What is this about?", ["context"], context=catalogue.TEXT))
        messages = [say(f"About: {accepted(given, 'context')}")]
    else:
        messages = [say("This is a simple prompt for testing.")]
    return {"description": prompt["description"], "messages": messages}


STEPS = {}


def step(*names):
    def register(function):
        for name in names:
            STEPS[name] = function
        return function

    return register


async def pause(seconds=0.05):
    await asyncio.sleep(seconds)
