# Licensed under the Apache License 2.0; see LICENSE.
"""An upstream written with the first generation of the Python SDK. Usage: mcp1_server.py stdio | http PORT"""

import sys

import anyio
from mcp.server.fastmcp import FastMCP
from mcp.server.fastmcp.exceptions import ToolError

server = FastMCP("first", host="127.0.0.1", port=int(sys.argv[2]) if len(sys.argv) > 2 else 0, log_level="ERROR")


@server.tool(description="Adds two integers.")
def add(a: int, b: int) -> int:
    return a + b


@server.tool(description="Returns the text in capitals.")
def shout(text: str) -> str:
    return text.upper()


@server.tool(description="Always fails.")
def refuse(reason: str) -> str:
    raise ToolError(reason)


@server.tool(description="Waits, then answers.")
async def linger(seconds: float) -> str:
    await anyio.sleep(seconds)
    return "done lingering"


server.run("stdio" if sys.argv[1] == "stdio" else "streamable-http")
