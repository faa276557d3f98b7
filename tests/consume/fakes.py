"""Fake roles for worker processes. `Task.state` is their script, in JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from features.errors import ShopstreamError, UsageError


class Scripted:
    """Reads `records` one at a time, is at its end after `read_s`, and does what the script says meanwhile."""

    def __init__(self, task):
        self.script = json.loads(task.state)
        self.task = task
        self.began = time.monotonic()

    def owned(self):
        owned = self.script.get("owned", [self.task.worker])
        if time.monotonic() - self.began >= self.script.get("later_s", 1e9):
            owned = self.script["owned_later"]
        return None if owned is None else tuple(owned)

    def run(self, stop, until, final_as_of, report, others_ms):
        script = self.script
        began = time.monotonic()
        consumed = 0
        while not stop():
            time.sleep(0.02)
            consumed += 1
            passed = time.monotonic() - began
            report({"consumed": consumed, "pid": os.getpid()})
            if passed >= script.get("die_after_s", 1e9):
                die(script["how"])
            if until is None or passed < script.get("read_s", 0.0):
                continue
            if any(end >= 2**62 for end in until.values()):
                continue
            as_of = final_as_of(script.get("max_event_time", 0))
            if as_of is not None:
                time.sleep(script.get("final_s", 0.0))
                return {"consumed": consumed, "as_of": as_of}
        time.sleep(script.get("leave_s", 0.0))
        return {"consumed": consumed, "checkpointed": 1}


def die(how):
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            print("the last line of its log", file=sys.stderr, flush=True)
            os._exit(7)
        case "bug":
            raise RuntimeError("a bug")
        case "usage":
            raise UsageError("called wrongly.", "Call it rightly.")
        case _:
            raise ShopstreamError("the disk is full.", "Make room.")


def open_role(task):
    return Scripted(task)


def open_nothing(task):
    raise ShopstreamError(f"no server for {task.role}.", "Start it.")
