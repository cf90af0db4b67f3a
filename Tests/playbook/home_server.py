#!/usr/bin/env python3
# Licensed under the Apache License 2.0; see LICENSE.
"""The example server, after it has kept something below its home, as servers do that npx, uvx or pip fetch."""
import pathlib
import runpy

kept = pathlib.Path.home() / ".cache/home-server/kept"
kept.parent.mkdir(parents=True, exist_ok=True)
kept.write_text("kept\n", encoding="utf-8")
runpy.run_path("/opt/notes/server.py", run_name="__main__")
