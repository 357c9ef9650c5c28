"""Becomes another program, one that cannot outlive the process that asked for it.

Usage: ``launch.py PARENT_PID PROGRAM ARGUMENT...``
The kernel sends SIGTERM to it when its parent ends, however that ends. Imports the standard library only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent = int(sys.argv[1])
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have ended before the call above; then nobody would send the signal any more.
    if os.getppid() != parent:
        sys.exit("the process that asked for this one has ended")
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the program to become is our own caller's choice
