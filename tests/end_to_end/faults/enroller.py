"""`aprilgan-admin` without its seconds of imports: forks a process that runs the real command for each line.

    python -m tests.end_to_end.faults.enroller

Reads a JSON list of arguments, answers with the pid of the process that carries them out, and after the next line
(whatever it says) with that process's exit status; negative: the signal that ended it.
"""

from __future__ import annotations

import json
import os
import sys

from daemon.admin.__main__ import main
from daemon.worker import import_ahead


def serve() -> None:
    """Fork and wait, until the input ends."""
    import_ahead()
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            quiet = os.open(os.devnull, os.O_RDWR)
            os.dup2(quiet, 0)
            os.dup2(quiet, 1)
            os._exit(main(json.loads(line)))
        print(pid, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
