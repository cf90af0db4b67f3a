# Licensed under the Apache License 2.0; see LICENSE.
"""Runs a stdio server and writes down each line it is sent. Usage: tee.py RECORD COMMAND ARGUMENT…"""

import subprocess
import sys

child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE)
with open(sys.argv[1], "ab", buffering=0) as record:
    for line in sys.stdin.buffer:
        record.write(line)
        child.stdin.write(line)
        child.stdin.flush()
child.stdin.close()
sys.exit(child.wait())
