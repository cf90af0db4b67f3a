# Licensed under the Apache License 2.0; see LICENSE.
"""Fifty sessions of the PyPI client in one process, each calling a tool all the time that is safe to call twice, until standard
input ends. A call that fails is made again in a new session, as the protocol has clients do; one that fails five times in a row
has failed. Writes one line of JSON: calls that went well, new sessions, calls that failed."""

import asyncio
import json
import sys
import threading

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

URL, COUNT = sys.argv[1], int(sys.argv[2])
TRIES, PATIENCE = 5, 20
over = threading.Event()
good, sessions, failed = [0] * COUNT, [0] * COUNT, []


async def talk(number):
    """One session, until the end or the first trouble. Raises what went wrong."""
    async with streamable_http_client(URL) as (read, write, _):
        async with ClientSession(read, write) as session:
            await asyncio.wait_for(session.initialize(), PATIENCE)
            sessions[number] += 1
            while not over.is_set():
                text = f"{number} {good[number]}"
                result = await asyncio.wait_for(session.call_tool("text__echo", {"text": text}), PATIENCE)
                assert not result.isError and result.content[0].text == text, result
                good[number] += 1
                talk.troubles[number] = 0
                await asyncio.sleep(0.05)


talk.troubles = [0] * COUNT


async def client(number):
    while not over.is_set():
        try:
            await talk(number)
        except BaseException as trouble:  # an exception group, or what the transport made of it
            if isinstance(trouble, (asyncio.CancelledError, KeyboardInterrupt)) and over.is_set():
                return
            talk.troubles[number] += 1
            if talk.troubles[number] >= TRIES:
                failed.append(f"{number}: {trouble!r}"[:300])
                return


async def main():
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    tasks = [asyncio.create_task(client(number)) for number in range(COUNT)]

    async def tell():
        while not over.is_set():
            print(json.dumps({"least": min(good), "failed": failed[:3]}), flush=True)
            await asyncio.sleep(0.2)

    await asyncio.gather(tell(), *tasks)
    print(json.dumps({"good": sum(good), "least": min(good), "sessions": sum(sessions), "failed": failed}), flush=True)


asyncio.run(main())
