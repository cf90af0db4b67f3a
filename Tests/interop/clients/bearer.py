# Licensed under the Apache License 2.0; see LICENSE.
"""The client of driver.py, which shows a token with each request. Usage as there; OPTIONS has the {"token": TEXT} besides."""

import asyncio
import importlib
import json
import sys

import driver

HEADERS = {"Authorization": f"Bearer {json.loads(sys.argv[4])['token']}"}


def door(place):
    """The transport of the Python SDK, of either generation; the two bring different HTTP clients under one interface."""
    if place.endswith("/sse"):
        return importlib.import_module("mcp.client.sse").sse_client(place, headers=HEADERS)
    factory = importlib.import_module("mcp.shared._httpx_utils").create_mcp_http_client
    module = importlib.import_module("mcp.client.streamable_http")
    return module.streamable_http_client(place, http_client=factory(headers=HEADERS))


plain_mcp2, plain_fastmcp = driver.mcp2, driver.fastmcp


def mcp2(place, mode, options):
    return plain_mcp2(door(place), mode, options)


def fastmcp(place, mode, options):
    transports = importlib.import_module("fastmcp.client.transports")
    kind = transports.SSETransport if place.endswith("/sse") else transports.StreamableHttpTransport
    return plain_fastmcp(kind(place, headers=HEADERS), mode, options)


if __name__ == "__main__":
    driver.door1, driver.mcp2, driver.fastmcp = door, mcp2, fastmcp
    try:
        asyncio.run(driver.main(*sys.argv[1:5]))
        driver.say({"closed": True})
    except BaseException as failure:
        cause = driver.root_cause(failure)
        driver.say({"failure": type(cause).__name__, "message": str(cause)})
        sys.exit(1)
