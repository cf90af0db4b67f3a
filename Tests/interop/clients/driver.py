# Licensed under the Apache License 2.0; see LICENSE.
"""One MCP client of a named generation, driven by lines of JSON on stdin; it answers each with one line of JSON on stdout.

Usage: driver.py mcp1|mcp2|fastmcp PLACE auto|legacy|REVISION [OPTIONS]

PLACE is an address (one that ends in /sse means the transport of 2024-11-05) or a command as a list in JSON. OPTIONS is JSON:
{"able": ["elicitation", "sampling", "roots"], "log_level": LEVEL}; fastmcp takes none of them.

Orders, as {"do": NAME, …}:
    list, ping, close
    call {name, arguments}; with {"as": LABEL} it runs on while other orders are obeyed, and {"do": "wait", "as": LABEL} gives
    its result, {"do": "cancel", "as": LABEL} cancels it
    resources, templates, prompts; read {uri}; prompt {name, arguments}; complete {ref, argument, context}
    level {level}, subscribe {uri}, unsubscribe {uri}, listen {tools, prompts, resources, uris}
    answers {elicitation, sampling, roots}: what the client will say when it is asked
    heard: every notification, progress and question so far

A failure is answered as {"failure": type, "message": text}, and the client goes on, so that a test can kill the gateway under a
living session.
"""

import asyncio
import contextlib
import importlib
import json
import sys
import warnings

warnings.simplefilter("ignore")  # what one generation calls deprecated is what the other has
heard = []
answers = {"elicitation": {"action": "accept", "content": {}}, "sampling": "a word", "roots": ["file:///home/tester"]}
running = {}


def plain(value):
    """A result of any generation as JSON."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [plain(item) for item in value]


def callbacks(types, able):
    """The client's side of questions and notifications. What it is not able to answer is not declared either."""
    async def elicit(context, params):
        heard.append({"asked": "elicitation", **plain(params)})
        given = answers["elicitation"]
        if "wait" in given:
            await asyncio.sleep(given["wait"])
        return types.ElicitResult.model_validate({name: value for name, value in given.items() if name != "wait"})

    async def sample(context, params):
        heard.append({"asked": "sampling", **plain(params)})
        content = {"type": "text", "text": answers["sampling"]}
        return types.CreateMessageResult.model_validate({"role": "assistant", "content": content, "model": "driven"})

    async def roots(context):
        heard.append({"asked": "roots"})
        return types.ListRootsResult.model_validate({"roots": [{"uri": uri} for uri in answers["roots"]]})

    async def message(message):
        message = getattr(message, "root", message)
        if hasattr(message, "method"):
            heard.append({"told": message.method, **(plain(message.params) if message.params else {})})

    named = {"elicitation": ("elicitation_callback", elicit), "sampling": ("sampling_callback", sample),
             "roots": ("list_roots_callback", roots)}
    return {"message_handler": message, **dict(named[each] for each in able)}


@contextlib.asynccontextmanager
async def mcp1(place, mode, options):
    import mcp.types as types
    from mcp import ClientSession

    async with door1(place) as (read, write, *_):
        async with ClientSession(read, write, **callbacks(types, options.get("able", []))) as session:
            opened = await session.initialize()
            yield session, str(opened.protocolVersion)


def door1(place):
    from mcp import StdioServerParameters
    from mcp.client.sse import sse_client
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamable_http_client

    if isinstance(place, list):
        return stdio_client(StdioServerParameters(command=place[0], args=place[1:]))
    return sse_client(place) if place.endswith("/sse") else streamable_http_client(place)


@contextlib.asynccontextmanager
async def mcp2(place, mode, options):
    import mcp_types as types
    from mcp import Client, StdioServerParameters

    server = StdioServerParameters(command=place[0], args=place[1:]) if isinstance(place, list) else place
    more = callbacks(types, options.get("able", []))
    async with Client(server, mode=mode, log_level=options.get("log_level"), cache=None, **more) as client:
        yield client, client.protocol_version


@contextlib.asynccontextmanager
async def fastmcp(place, mode, options):
    from fastmcp import Client

    async with Client(place, mode=mode) as client:
        yield client, client.protocol_version


async def call(kind, client, order):
    name, arguments = order["name"], order.get("arguments", {})
    if kind == "fastmcp":
        return plain(await client.call_tool_mcp(name, arguments))

    async def progress(progress, total, message):
        heard.append({"progress": progress, "total": total, "message": message, "as": order.get("as", "")})

    return plain(await client.call_tool(name, arguments, progress_callback=progress))


async def start(kind, client, order):
    task = asyncio.create_task(call(kind, client, order))
    # The first generation tells nobody which id a request has got; it counts them.
    running[order["as"]] = task, getattr(client, "_request_id", None)
    await asyncio.sleep(0)
    return {"started": order["as"]}


async def cancel(kind, client, order):
    """The first generation leaves the notification to its user; the second sends it, or hangs up, by itself."""
    task, id = running.pop(order["as"])
    if kind == "mcp1":
        types = importlib.import_module("mcp.types")
        notification = types.CancelledNotification(params=types.CancelledNotificationParams(requestId=id, reason="test"))
        await client.send_notification(types.ClientNotification(notification))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
    return {"cancelled": order["as"]}


async def pages(get, member):
    """All pages of a list, as both generations return them one by one."""
    entries, cursor = [], None
    while True:
        page = plain(await (get() if cursor is None else get(cursor=cursor)))
        entries += page[member]
        cursor = page.get("nextCursor")
        if cursor is None:
            return {member: entries}


async def listen(client, order):
    """Opens a subscription of the modern era and writes down what it says, until the client ends."""
    ready = asyncio.get_running_loop().create_future()

    async def follow():
        wanted = {f"{kind}_list_changed": True for kind in ("tools", "prompts", "resources") if order.get(kind)}
        try:
            async with client.listen(**wanted, resource_subscriptions=order.get("uris", [])) as subscription:
                ready.set_result(plain(subscription.honored))
                async for event in subscription:
                    heard.append({"event": type(event).__name__, "uri": getattr(event, "uri", None)})
        except Exception as failure:
            if not ready.done():
                ready.set_exception(failure)

    running[f"listen {len(running)}"] = asyncio.create_task(follow()), None
    return {"honoured": await ready}


def address(kind, uri):
    return importlib.import_module("pydantic").AnyUrl(uri) if kind == "mcp1" else uri


def reference(kind, ref):
    types = importlib.import_module("mcp.types" if kind == "mcp1" else "mcp_types")
    return (types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference).model_validate(ref)


async def obey(kind, client, order):
    do = order["do"]
    if do == "list":
        listed = await client.list_tools()
        return {"tools": plain(listed if isinstance(listed, list) else listed.tools)}
    if do == "ping":
        await (client.send_ping() if kind == "mcp1" else client.ping() if kind == "fastmcp" else client.send_ping())
        return {"pong": True}
    if do == "call":
        return await (start if "as" in order else call)(kind, client, order)
    if do == "wait":
        return await running.pop(order["as"])[0]
    if do == "cancel":
        return await cancel(kind, client, order)
    if do == "answers":
        answers.update(order["answers"])
        return {"answers": answers}
    if do == "heard":
        return {"heard": heard}
    if do == "resources":
        return await pages(client.list_resources, "resources")
    if do == "templates":
        return await pages(client.list_resource_templates, "resourceTemplates")
    if do == "prompts":
        return await pages(client.list_prompts, "prompts")
    if do == "read":
        return plain(await client.read_resource(address(kind, order["uri"])))
    if do == "prompt":
        return plain(await client.get_prompt(order["name"], order.get("arguments", {})))
    if do == "complete":
        return plain(await client.complete(reference(kind, order["ref"]), order["argument"], order.get("context")))
    if do == "level":
        return plain(await client.set_logging_level(order["level"]))
    if do == "subscribe":
        return plain(await client.subscribe_resource(address(kind, order["uri"])))
    if do == "unsubscribe":
        return plain(await client.unsubscribe_resource(address(kind, order["uri"])))
    if do == "listen":
        return await listen(client, order)
    raise ValueError(f"unknown order {do}")


def say(value):
    print(json.dumps(value), flush=True)


async def main(kind, place, mode, options="{}"):
    loop = asyncio.get_running_loop()
    place = json.loads(place) if place.startswith("[") else place
    async with globals()[kind](place, mode, json.loads(options)) as (client, revision):
        say({"connected": revision})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            if order["do"] == "close":
                break
            try:
                say(await asyncio.wait_for(obey(kind, client, order), 20))
            except Exception as failure:  # told to the test, which decides whether it was to be expected
                cause = root_cause(failure)
                code = getattr(getattr(cause, "error", None), "code", None)
                say({"failure": type(cause).__name__, "message": str(cause), **({} if code is None else {"code": code})})
        for task, _ in running.values():
            task.cancel()


def root_cause(failure):
    while inner := getattr(failure, "exceptions", None):
        failure = inner[0]
    return failure


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:5]))
        say({"closed": True})
    except BaseException as failure:
        cause = root_cause(failure)
        say({"failure": type(cause).__name__, "message": str(cause)})
        sys.exit(1)
