"""The guard of a run: a process whose only work is to leave nothing behind, however the controller ends.

It leads the process group that all devices of the run belong to, and holds the reading end of a pipe from the
controller. When the pipe closes, because the run is over or because the controller is gone, it sets the record
straight in summary.json, removes the folder of the sockets and kills the group, itself included. It runs as a script
on the bare standard library, so that it starts in a few milliseconds and nothing in it can fail to import.

Usage: python -I -S guard.py SUMMARY SOCKETS
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path


def main(summary: Path, sockets: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1024):
        pass
    try:
        note_lost_controller(summary)
        shutil.rmtree(sockets, ignore_errors=True)
    finally:
        os.killpg(0, signal.SIGKILL)


def note_lost_controller(summary: Path) -> None:
    """A run that still says it is running has lost its controller: say so."""
    try:
        content = json.loads(summary.read_text())
    except (OSError, ValueError):
        return
    if content.get("status") != "running":
        return
    content["status"] = "failed"
    content["error"] = {"text": f"the controller (pid {content.get('pid')}) was killed or died before the run ended"}
    draft = summary.with_name(summary.name + ".guard")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(draft, summary)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
