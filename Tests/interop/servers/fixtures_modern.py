# Licensed under the Apache License 2.0; see LICENSE.
"""The fixtures on the second generation of the Python SDK, for clients of both eras.

Usage: fixtures_modern.py stdio [FILE] | http PORT. What FILE is for tells `World`.

The SDK brings the ladder, both eras at one URL, sealed `requestState`, listen streams, and per-request logging; tasks are our
own, see fixtures_tasks.py. Legacy clients are asked in the middle of a call, modern ones by `input_required` results.
"""

import logging
import sys
import warnings
import weakref

import anyio
import fixtures_steps  # noqa: F401  registers the tools
import mcp_types as types
from fixtures_behaviour import Call, NeedsInput, Refusal, World, call_tool, failed, get_prompt
from fixtures_catalogue import TEMPLATES
from fixtures_events import EventMemory
from fixtures_tasks import EXTENSION, Tasks
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventMessage
from mcp.server.subscriptions import (
    InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged)
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

warnings.simplefilter("ignore")  # logging, roots and sampling are deprecated, and are what is tested here
logging.disable(logging.ERROR)  # the SDK tells of every client that hangs up, which tests do all the time

MODERN = "2026-07-28"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
world = World("fixtures-modern", modern=True, path=sys.argv[2] if sys.argv[1:2] == ["stdio"] and sys.argv[2:] else None)
bus = InMemorySubscriptionBus()
EVENTS = {"tools": ToolsListChanged, "prompts": PromptsListChanged, "resources": ResourcesListChanged}
ASKED = {"elicitation/create": (types.ElicitRequest, types.ElicitResult),
         "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageResult),
         "roots/list": (types.ListRootsRequest, types.ListRootsResult)}
NEEDED = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
# Per legacy connection: the log level it has set, and the resources it watches. The SDK tells a handler no id of a connection
# over stdio, so its own object is the key.
levels, watchers = weakref.WeakKeyDictionary(), weakref.WeakKeyDictionary()
LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


def connection_of(ctx):
    return ctx.session._connection


class ModernCall(Call):
    def __init__(self, ctx):
        params = ctx.params or {}
        self.ctx, self.modern = ctx, ctx.protocol_version == MODERN
        self.arguments, self.meta = params.get("arguments") or {}, params.get("_meta") or {}
        self.responses, self.state = params.get("inputResponses"), params.get("requestState")
        if self.modern:
            self.capabilities = self.meta[CAPABILITIES]
        else:
            declared = ctx.session.client_capabilities
            self.capabilities = declared.model_dump(by_alias=True, exclude_none=True) if declared else {}
        client = ctx.session.client_params
        self.identity = {"revision": ctx.protocol_version, "client": client.client_info.name if client else None}

    async def log(self, level, data, logger="fixtures"):
        if not self.modern and LEVELS.index(level) < LEVELS.index(levels.get(connection_of(self.ctx), "debug")):
            return
        await self.ctx.session.send_log_message(level, data, logger, related_request_id=self.ctx.request_id)

    async def progress(self, progress, total, message=None):
        await self.ctx.session.report_progress(progress, total, message)

    async def changed(self, kind):
        if not world.path:
            await tell_changed(kind)

    async def updated(self, uri):
        if not world.path:
            await tell_updated(uri)

    async def hang_up(self):
        if self.ctx.close_sse_stream:
            await self.ctx.close_sse_stream()

    async def ask(self, request):
        """Legacy clients only: a request of the server, on the stream of the call."""
        kind, result = ASKED[request["method"]]
        related = ServerMessageMetadata(related_request_id=self.ctx.request_id)
        given = await self.ctx.session.send_request(kind.model_validate(request), result, metadata=related)
        return given.model_dump(by_alias=True, mode="json", exclude_none=True)


def complete(**members):
    """The SDK checks plain JSON against the schema of the caller's revision, and strips what an older one does not know."""
    return {"resultType": "complete", **members}


async def tell_changed(kind):
    await bus.publish(EVENTS[kind]())
    for connection in list(watchers):
        await connection.notify(f"notifications/{kind}/list_changed", None)


async def tell_updated(uri):
    await bus.publish(ResourceUpdated(uri=uri))
    for connection, uris in list(watchers.items()):
        if uri in uris:
            await connection.send_resource_updated(uri)


async def take(call, function):
    """Takes a step, in the manner of the caller's era, until it has a result."""
    while True:
        try:
            return complete(**await function())
        except Refusal as refusal:
            raise MCPError(refusal.code, refusal.message, refusal.data) from None
        except NeedsInput as needs:
            if call.modern:
                return asking(call, needs)
            call.responses, call.state = await asked(call, needs.requests), needs.state


def asking(call, needs):
    missing = {}
    for request in needs.requests.values():
        kind, url = NEEDED[request["method"]], request["params"].get("mode") == "url"
        if kind not in call.capabilities or url and "url" not in call.capabilities[kind]:
            missing[kind] = {"url": {}} if url else {}
    if missing:
        raise MCPError(-32021, "this client cannot be asked", {"requiredCapabilities": missing})
    result = {"resultType": "input_required", "inputRequests": needs.requests}
    return {**result, "requestState": needs.state} if needs.state is not None else result


async def asked(call, requests):
    given = {}

    async def ask(key, request):
        given[key] = await call.ask(request)

    async with anyio.create_task_group() as group:
        for key, request in requests.items():
            group.start_soon(ask, key, request)
    return given


def refusal_of(failure):
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


async def on_call_tool(ctx, params):
    call = ModernCall(ctx)
    try:
        return await tasks.call(params.name, call) or await take(call, lambda: call_tool(world, params.name, call))
    except BaseExceptionGroup as group:
        # A legacy client that refuses a question ends this call only; it is told so in words.
        if isinstance(refusal := refusal_of(group), MCPError):
            return failed(f"the client refused: {refusal.code} {refusal.message}")
        raise


async def on_get_prompt(ctx, params):
    call = ModernCall(ctx)
    return await take(call, lambda: get_prompt(world, params.name, call))


async def notice(ctx, call_next):
    """From its first message on, a legacy connection is told of changes."""
    if ctx.protocol_version != MODERN:
        watchers.setdefault(connection_of(ctx), set())
    return await call_next(ctx)


async def on_list_tools(ctx, params):
    tools = world.list_tools()
    if ctx.protocol_version != MODERN:
        tools = [tool for tool in tools if tool["name"] != "structured_list"]
    return complete(tools=tools, ttlMs=0, cacheScope="public")


async def on_list_prompts(ctx, params):
    return complete(prompts=world.list_prompts(), ttlMs=0, cacheScope="public")


async def on_list_resources(ctx, params):
    try:
        resources, cursor = world.list_resources(params.cursor)
    except Refusal as refusal:
        raise MCPError(refusal.code, refusal.message) from None
    more = {} if cursor is None else {"nextCursor": cursor}
    return complete(resources=resources, **more, ttlMs=0, cacheScope="public")


async def on_list_templates(ctx, params):
    return complete(resourceTemplates=TEMPLATES, ttlMs=60000, cacheScope="public")


async def on_read(ctx, params):
    try:
        contents = world.read(params.uri, ctx.protocol_version == MODERN)
    except Refusal as refusal:
        raise MCPError(refusal.code, refusal.message, refusal.data) from None
    return complete(contents=contents, ttlMs=0, cacheScope="private")


async def on_complete(ctx, params):
    ref = params.ref.model_dump(by_alias=True, exclude_none=True)
    context = params.context.arguments if params.context else None
    try:
        argument = {"name": params.argument.name, "value": params.argument.value}
        return complete(completion=world.complete(ref, argument, context))
    except Refusal as refusal:
        raise MCPError(refusal.code, refusal.message) from None


async def on_set_level(ctx, params):
    levels[connection_of(ctx)] = params.level
    return {}


async def on_subscribe(ctx, params):
    watchers[connection_of(ctx)].add(params.uri)
    return {}


async def on_unsubscribe(ctx, params):
    watchers[connection_of(ctx)].discard(params.uri)
    return {}


class Fixtures(Server):
    def create_initialization_options(self, *_, **more):
        return super().create_initialization_options(NotificationOptions(True, True, True), **more)


server = Fixtures(
    "fixtures-modern", version="1", instructions="Fixtures for tests.", on_list_tools=on_list_tools, on_call_tool=on_call_tool,
    on_list_prompts=on_list_prompts, on_get_prompt=on_get_prompt, on_list_resources=on_list_resources,
    on_list_resource_templates=on_list_templates, on_read_resource=on_read, on_completion=on_complete,
    on_set_logging_level=on_set_level, on_subscribe_resource=on_subscribe, on_unsubscribe_resource=on_unsubscribe,
    on_subscriptions_listen=ListenHandler(bus))
server.middleware.append(notice)
server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="fixtures"))
server.extensions = {EXTENSION: {}}
tasks = Tasks(world)
tasks.register(server)


async def over_stdio():
    async with stdio_server() as (read, write), anyio.create_task_group() as group:
        if world.path:
            group.start_soon(world.watch, tell_changed, tell_updated)
        await server.run(read, write, server.create_initialization_options())
        group.cancel_scope.cancel()


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        anyio.run(over_stdio)
    else:
        import uvicorn

        app = server.streamable_http_app(event_store=EventMemory(EventMessage), retry_interval=100)
        uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", timeout_graceful_shutdown=1)
