"""Signals of programs that tests start: what a shell's `&` or nohup left ignored, they inherit."""

import sys

_SET = """
import os, signal, sys
for name in ("SIGHUP", "SIGINT", "SIGTERM", "SIGPIPE", "SIGCHLD"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
{then}
os.execvp(sys.argv[1], sys.argv[1:])
"""

LISTENING = (sys.executable, "-c", _SET.format(then=""))
"""Words before a command: it hears all signals, as one that is typed at a terminal."""

DEAF = (sys.executable, "-c", _SET.format(then="signal.signal(signal.SIGINT, signal.SIG_IGN)"))
"""Words before a command: it ignores SIGINT, as one in the background of a script."""
