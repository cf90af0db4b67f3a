# Licensed under the Apache License 2.0; see LICENSE.
"""The fixtures on the first generation of the Python SDK. Usage: fixtures_legacy.py stdio [FILE] | http PORT

Over HTTP it speaks Streamable HTTP at /mcp, with sessions and resumable streams, and the transport of 2024-11-05 at /sse.
Whatever a modern server would ask for by an `input_required` result, this one asks of its client in the middle of the call.
"""

import contextlib
import logging
import sys
import weakref

import anyio
import fixtures_steps  # noqa: F401  registers the tools
import mcp.types as types
from fixtures_behaviour import Call, NeedsInput, Refusal, World, call_tool, failed, get_prompt
from fixtures_catalogue import TEMPLATES
from fixtures_events import EventMemory
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventMessage
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import McpError
from mcp.shared.message import ServerMessageMetadata

logging.disable(logging.ERROR)  # the SDK tells of every client that hangs up, which tests do all the time
world = World("fixtures-legacy", modern=False, path=sys.argv[2] if sys.argv[1:2] == ["stdio"] and sys.argv[2:] else None)
LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
# Per session: the log level it has set, and the resources it watches.
levels, watchers = weakref.WeakKeyDictionary(), weakref.WeakKeyDictionary()
RESULTS = {"elicitation/create": types.ElicitResult, "sampling/createMessage": types.CreateMessageResult,
           "roots/list": types.ListRootsResult}


class Fixtures(Server):
    def create_initialization_options(self, *_, **more):
        options = super().create_initialization_options(NotificationOptions(True, True, True), **more)
        options.capabilities.resources.subscribe = True  # the SDK never says so, whatever is handled
        return options


server = Fixtures("fixtures-legacy", version="1", instructions="Fixtures for tests.")


def notification(method, **params):
    return types.ServerNotification.model_validate({"method": method, **({"params": params} if params else {})})


async def tell(session, message):
    """A session whose client has gone is none of the others' business."""
    with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
        await session.send_notification(message)


async def tell_changed(kind):
    for session in list(watchers):
        await tell(session, notification(f"notifications/{kind}/list_changed"))


async def tell_updated(uri):
    for session, uris in list(watchers.items()):
        if uri in uris:
            await tell(session, notification("notifications/resources/updated", uri=uri))


class LegacyCall(Call):
    def __init__(self, ctx, arguments):
        self.ctx, self.session, self.arguments = ctx, ctx.session, arguments or {}
        self.meta = ctx.meta.model_dump(by_alias=True, exclude_unset=True) if ctx.meta else {}
        client = self.session.client_params
        self.capabilities = client.capabilities.model_dump(by_alias=True, exclude_none=True) if client else {}
        self.identity = {"revision": str(client.protocolVersion), "client": client.clientInfo.name} if client else {}

    async def log(self, level, data, logger="fixtures"):
        if LEVELS.index(level) >= LEVELS.index(levels.get(self.session, "debug")):
            await self.session.send_log_message(level, data, logger, related_request_id=self.ctx.request_id)

    async def progress(self, progress, total, message=None):
        if (token := self.meta.get("progressToken")) is not None:
            await self.session.send_progress_notification(token, progress, total, message, str(self.ctx.request_id))

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
        related = ServerMessageMetadata(related_request_id=self.ctx.request_id)
        message = types.ServerRequest.model_validate(request)
        given = await self.session.send_request(message, RESULTS[request["method"]], metadata=related)
        return given.model_dump(by_alias=True, mode="json", exclude_none=True)


async def take(call, function):
    """Takes a step until it has a result, asking the client what it wants to know."""
    while True:
        try:
            return await function()
        except Refusal as refusal:
            raise McpError(types.ErrorData(code=refusal.code, message=refusal.message, data=refusal.data)) from None
        except NeedsInput as needs:
            call.responses, call.state = await asked(call, needs.requests), needs.state


async def asked(call, requests):
    given, refused = {}, []

    async def ask(key, request):
        try:
            given[key] = await call.ask(request)
        except McpError as failure:
            refused.append(f"the client refused: {failure.error.code} {failure.error.message}")

    async with anyio.create_task_group() as group:
        for key, request in requests.items():
            group.start_soon(ask, key, request)
    if refused:
        raise ClientRefused(refused[0])
    return given


class ClientRefused(Exception):
    pass


def handles(kind, result):
    """Registers a handler that works with params and plain JSON; the SDK's own decorators would check arguments first."""
    def register(function):
        async def handler(request):
            context = server.request_context
            watchers.setdefault(context.session, set())
            try:
                value = await function(context, request.params)
            except Refusal as refusal:
                raise McpError(types.ErrorData(code=refusal.code, message=refusal.message, data=refusal.data)) from None
            return types.ServerResult(result.model_validate(value))

        server.request_handlers[kind] = handler
        return function

    return register


@handles(types.ListToolsRequest, types.ListToolsResult)
async def list_tools(ctx, params):
    return {"tools": world.list_tools()}


@handles(types.CallToolRequest, types.CallToolResult)
async def on_call(ctx, params):
    call = LegacyCall(ctx, params.arguments)
    try:
        return await take(call, lambda: call_tool(world, params.name, call))
    except ClientRefused as refused:
        return failed(str(refused))


@handles(types.ListPromptsRequest, types.ListPromptsResult)
async def list_prompts(ctx, params):
    return {"prompts": world.list_prompts()}


@handles(types.GetPromptRequest, types.GetPromptResult)
async def on_prompt(ctx, params):
    call = LegacyCall(ctx, params.arguments)
    try:
        return await take(call, lambda: get_prompt(world, params.name, call))
    except ClientRefused as refused:
        raise Refusal(-32603, str(refused)) from None


@handles(types.ListResourcesRequest, types.ListResourcesResult)
async def list_resources(ctx, params):
    resources, cursor = world.list_resources(params.cursor if params else None)
    return {"resources": resources, "nextCursor": cursor}


@handles(types.ListResourceTemplatesRequest, types.ListResourceTemplatesResult)
async def list_templates(ctx, params):
    return {"resourceTemplates": TEMPLATES}


@handles(types.ReadResourceRequest, types.ReadResourceResult)
async def read(ctx, params):
    return {"contents": world.read(str(params.uri), modern=False)}


@handles(types.CompleteRequest, types.CompleteResult)
async def complete(ctx, params):
    context = params.context.arguments if params.context else None
    ref = params.ref.model_dump(by_alias=True, exclude_none=True)
    return {"completion": world.complete(ref, {"name": params.argument.name, "value": params.argument.value}, context)}


@handles(types.SetLevelRequest, types.EmptyResult)
async def set_level(ctx, params):
    levels[ctx.session] = params.level
    return {}


@handles(types.SubscribeRequest, types.EmptyResult)
async def subscribe(ctx, params):
    watchers[ctx.session].add(str(params.uri))
    return {}


@handles(types.UnsubscribeRequest, types.EmptyResult)
async def unsubscribe(ctx, params):
    watchers[ctx.session].discard(str(params.uri))
    return {}


async def run(read, write):
    await server.run(read, write, server.create_initialization_options())


async def over_stdio():
    async with stdio_server() as (read, write), anyio.create_task_group() as group:
        if world.path:
            group.start_soon(world.watch, tell_changed, tell_updated)
        await run(read, write)
        group.cancel_scope.cancel()


class Doors:
    """One ASGI application for both HTTP transports; the SDK's parts each answer by themselves, so no framework is needed."""

    def __init__(self):
        hosts = ["127.0.0.1:*", "localhost:*", "127.0.0.1", "localhost"]
        security = TransportSecuritySettings(
            enable_dns_rebinding_protection=True, allowed_hosts=hosts,
            allowed_origins=["http://127.0.0.1:*", "http://localhost:*"])
        self.manager = StreamableHTTPSessionManager(
            server, event_store=EventMemory(EventMessage), retry_interval=100, security_settings=security)
        self.sse = SseServerTransport("/messages/", security_settings=security)

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.live(receive, send)
        if scope["path"] == "/sse" and scope["method"] == "GET":
            async with self.sse.connect_sse(scope, receive, send) as streams:
                return await run(*streams)
        if scope["path"] == "/messages/":
            return await self.sse.handle_post_message(scope, receive, send)
        if scope["path"] == "/mcp":
            return await self.manager.handle_request(scope, receive, send)
        await send({"type": "http.response.start", "status": 405 if scope["path"] == "/sse" else 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def live(self, receive, send):
        await receive()
        async with self.manager.run():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        anyio.run(over_stdio)
    else:
        import uvicorn

        uvicorn.run(Doors(), host="127.0.0.1", port=int(sys.argv[2]), log_level="error", timeout_graceful_shutdown=1)
