"""Scheduling rules: which queued jobs can start now, and which running chats must stop first.

At most one training job, one chat and one export per device, in the order of the queue; other jobs start at once.
Pure functions of the rows of the store.
"""

from __future__ import annotations

ONE_PER_DEVICE = ("train", "chat", "export")
LIGHT = ("search",)
"""Kinds of jobs that only queue and watch others. They do not use up the standby process, whose libraries they do not
need, and see all devices."""


def decide(queued: list[dict], running: list[dict]) -> tuple[list[dict], list[dict]]:
    """(jobs to start, chats to stop), from rows of the store; `queued` is in the order of the queue.

    A training job for a GPU waits until the chat on it has ended, because only the end of the process frees all of its
    GPU memory. On a CPU both can run at the same time.
    """
    start: list[dict] = []
    leave: list[dict] = []
    busy = {(job["kind"], job["device"]): job for job in running}
    for job in queued:
        kind, device = job["kind"], job["device"]
        taken = kind in ONE_PER_DEVICE and (kind, device) in busy
        chat = busy.get(("chat", device)) if kind == "train" and device.startswith("cuda") else None
        chat = None if chat and serves_other_programs(chat) else chat
        if not taken and chat:
            leave.append(chat)
        if not taken and not chat:
            start.append(job)
        busy.setdefault((kind, device), job)  # also for a job that has to wait, so that no later one overtakes it
    return start, leave


def serves_other_programs(job: dict) -> bool:
    """Whether a chat job serves other programs at a fixed port (the page's *Serve*), not only the Chat tab."""
    return job["kind"] == "chat" and bool((job.get("payload") or {}).get("port"))


def is_needed_without_window(job: dict) -> bool:
    """Whether a running job must go on if no window is open: all but a chat that only the page uses."""
    return job["kind"] != "chat" or serves_other_programs(job)


MOVES = ("up", "down", "first")


def moved(waiting: list[int], job: int, move: str) -> list[int]:
    """The ids of the waiting jobs after `job` has moved one place up or down, or to the front (`MOVES`).

    A job that is not waiting any more, or is at that end already, changes nothing.
    """
    if job not in waiting:
        return list(waiting)
    at, rest = waiting.index(job), [other for other in waiting if other != job]
    to = {"up": max(0, at - 1), "down": at + 1, "first": 0}[move]
    return [*rest[:to], job, *rest[to:]]


def busy_devices(jobs: list[dict]) -> set[str]:
    """The devices on which a training job of `jobs`, waiting or running, has a claim."""
    return {job["device"] for job in jobs if job["kind"] == "train"}
