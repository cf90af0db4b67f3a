# Licensed under the Apache License 2.0; see LICENSE.
"""One MCP client of a named generation, driven by lines of JSON on stdin; it answers each with one line of JSON on stdout.

Usage: driver.py mcp1|mcp2|fastmcp URL auto|legacy|REVISION

Orders: {"do": "list"}, {"do": "call", "name": …, "arguments": …}, {"do": "ping"}, {"do": "close"}. A failure is answered as
{"failure": type, "message": text}, and the client goes on, so that a test can kill the gateway under a living session.
"""

import asyncio
import contextlib
import json
import sys


@contextlib.asynccontextmanager
async def mcp1(url, mode):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with streamable_http_client(url) as (read, write, _):
        async with ClientSession(read, write) as session:
            opened = await session.initialize()
            yield session, str(opened.protocolVersion)


@contextlib.asynccontextmanager
async def mcp2(url, mode):
    from mcp import Client

    async with Client(url, mode=mode) as client:
        yield client, client.protocol_version


@contextlib.asynccontextmanager
async def fastmcp(url, mode):
    from fastmcp import Client

    async with Client(url, mode=mode) as client:
        yield client, client.protocol_version


def plain(value):
    """A result of any generation as JSON."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [plain(item) for item in value]


async def obey(kind, client, order):
    if order["do"] == "list":
        listed = await client.list_tools()
        tools = listed if isinstance(listed, list) else listed.tools
        return {"tools": plain(tools)}
    if order["do"] == "ping":
        sent = client.send_ping() if kind == "mcp1" else client.ping()
        await sent
        return {"pong": True}
    if order["do"] == "call":
        if kind == "fastmcp":
            return plain(await client.call_tool_mcp(order["name"], order.get("arguments", {})))
        return plain(await client.call_tool(order["name"], order.get("arguments", {})))
    raise ValueError(f"unknown order {order['do']}")


def say(value):
    print(json.dumps(value), flush=True)


async def main(kind, url, mode):
    loop = asyncio.get_running_loop()
    async with globals()[kind](url, mode) as (client, revision):
        say({"connected": revision})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            if order["do"] == "close":
                break
            try:
                say(await asyncio.wait_for(obey(kind, client, order), 20))
            except Exception as failure:  # told to the test, which decides whether it was to be expected
                say({"failure": type(failure).__name__, "message": str(failure)})


def root_cause(failure):
    while inner := getattr(failure, "exceptions", None):
        failure = inner[0]
    return failure


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:4]))
        say({"closed": True})
    except BaseException as failure:
        cause = root_cause(failure)
        say({"failure": type(cause).__name__, "message": str(cause)})
        sys.exit(1)
