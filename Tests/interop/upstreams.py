# Licensed under the Apache License 2.0; see LICENSE.
"""Upstreams that several tests have: a moody one, and programs at the end of pipes."""

import http.client
import json
import sys

import gateway as house


class Moody(house.ServerProcess):
    """The upstream of servers/moody.py, with the door through which a test speaks to it."""

    def __init__(self, *places):
        port = house.free_port()
        super().__init__([sys.executable, str(house.SERVERS / "moody.py"), str(port), *map(str, places)], port)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body and json.dumps(body))
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def feel(self, kind, **more):
        self.ask("POST", "/mood", {"kind": kind, **more})

    def arrivals(self, n=None, tool=None):
        """The calls that arrived, or those of one name or tool."""
        book = json.loads(self.ask("GET", "/book"))
        return [call for call in book if n in (None, call["n"]) and tool in (None, call["tool"])]


def upstream(server, **more):
    return {"url": server.url, "timeout": "5s", **more}


def level(gateway, name):
    """What the breaker before an upstream is said to be: 0 is closed, 2 is open."""
    return gateway.metric("mcp_circuit_breaker_state", upstream=name)


def family(place, *more):
    """A program with children, which writes down in that place who they are."""
    return {"command": sys.executable, "args": [str(house.SERVERS / "family.py"), str(place), *more]}


def linger(**more):
    """A program that takes as long for a call as it is told."""
    return {"command": house.PYTHON["mcp1"], "args": [str(house.SERVERS / "mcp1_server.py"), "stdio"], **more}
