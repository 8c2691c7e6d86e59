"""The rules of the queue: which jobs may start now, and which must leave first.

At most one training job and at most one chat a device, in the order in which they were asked for; anything
else starts at once. It knows nothing about processes: jobs in, decisions out.
"""

from __future__ import annotations

ONE_PER_DEVICE = ("train", "chat")


def decide(queued: list[dict], running: list[dict]) -> tuple[list[dict], list[dict]]:
    """(jobs to start, chats to ask to leave), from rows of the store; `queued` is oldest first.

    A training job that wants a GPU waits until the chat on it has left, because only a process that has ended
    gives all of its GPU memory back. On a CPU both fit side by side.
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
        busy.setdefault((kind, device), job)  # also for one that waits: who comes later must not overtake it
    return start, leave


def serves_other_programs(job: dict) -> bool:
    """Whether a chat job is the server at the port that other programs know (the page's *Serve*), not only Chat's."""
    return job["kind"] == "chat" and bool((job.get("payload") or {}).get("port"))


def is_needed_without_window(job: dict) -> bool:
    """Whether a running job is a reason to go on where no window is open: all but a chat that only the page uses."""
    return job["kind"] != "chat" or serves_other_programs(job)
