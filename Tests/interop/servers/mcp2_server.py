# Licensed under the Apache License 2.0; see LICENSE.
"""An upstream written with the second generation of the Python SDK. Usage: mcp2_server.py stdio | http PORT RECORD

Over HTTP every request's head and body go to the file RECORD as one line of JSON, so that a test can see what the gateway sent.
"""

import json
import sys

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("second", version="2", log_level="ERROR")


@server.tool(description="Adds two integers.")
def add(a: int, b: int) -> int:
    return a + b


@server.tool(description="Returns the text in capitals.")
def shout(text: str) -> str:
    return text.upper()


@server.tool(description="Tells which revision the caller speaks.")
def revision(ctx: Context) -> str:
    return str(ctx.protocol_version)


@server.tool(description="Always fails.")
def refuse(reason: str) -> str:
    raise ToolError(reason)


@server.tool(description="Waits, then answers.")
async def linger(seconds: float) -> str:
    await anyio.sleep(seconds)
    return "done lingering"


def recorded(app, path):
    async def record(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)
        body, more = b"", True
        messages = []
        while more:
            message = await receive()
            messages.append(message)
            body += message.get("body", b"")
            more = message.get("more_body", False) and message["type"] == "http.request"
        head = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        with open(path, "a") as file:
            entry = {"method": scope["method"], "headers": head, "body": body.decode("utf-8", "replace")}
            file.write(json.dumps(entry) + "\n")

        async def replay():
            return messages.pop(0) if messages else await receive()

        await app(scope, replay, send)

    return record


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    import uvicorn

    app = recorded(server.streamable_http_app(), sys.argv[3])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
