# Licensed under the Apache License 2.0; see LICENSE.
"""A stdio server with offspring: one child in its own process group, one that left for a session of its own.

Usage: family.py PIDS [stubborn]. It writes its pid and theirs to the file PIDS. A stubborn one ignores TERM and the end of its
stdin, as do its children. Only the standard library is used.
"""

import json
import os
import signal
import subprocess
import sys
import time

stubborn = sys.argv[2:] == ["stubborn"]
if stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

rest = [sys.executable, "-c", "import time; time.sleep(600)"]
near = subprocess.Popen(rest, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
far = subprocess.Popen(
    rest, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
with open(sys.argv[1] + ".new", "w") as file:
    json.dump({"self": os.getpid(), "near": near.pid, "far": far.pid}, file)
os.rename(sys.argv[1] + ".new", sys.argv[1])

TOOLS = [
    {"name": "pid", "description": "The server's process id.", "inputSchema": {"type": "object"}},
    {"name": "die", "description": "Ends the server at once.", "inputSchema": {"type": "object"}},
    {"name": "flood", "description": "Writes much to stderr, then answers.", "inputSchema": {"type": "object"}},
    {"name": "garbage", "description": "Writes a line that is not JSON, then answers.", "inputSchema": {"type": "object"}},
]


def answer(request):
    method, params = request["method"], request.get("params", {})
    if method == "initialize":
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                "serverInfo": {"name": "family", "version": "1"}}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "ping":
        return {}
    if method == "tools/call":
        if params["name"] == "die":
            os._exit(3)
        if params["name"] == "flood":
            for number in range(20000):
                sys.stderr.write(f"line {number} of a flood that nobody may be stopped by\n")
        if params["name"] == "garbage":
            print("this is not a message", flush=True)
        return {"content": [{"type": "text", "text": str(os.getpid())}]}
    return None


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    result = answer(request)
    if result is None:
        reply = {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no such method"}}
    else:
        reply = {"jsonrpc": "2.0", "id": request["id"], "result": result}
    print(json.dumps(reply), flush=True)
while stubborn:
    time.sleep(600)
