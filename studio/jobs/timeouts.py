"""Timeouts of the supervisor."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """Timeouts in seconds. Each can be set by the environment variable DELTA_STUDIO_<NAME IN CAPITALS>."""

    stop_grace: float = 30.0  # from the stop request to SIGTERM; enough for a training step and a checkpoint
    chat_stop_grace: float = 5.0  # the same for a chat, which has nothing to save
    kill_grace: float = 5.0  # from SIGTERM to SIGKILL, and from the recorded outcome to SIGTERM
    idle: float = 60.0  # without windows and jobs until the supervisor exits
    standby_delay: float = 4.0  # from the start of a worker to that of the next standby process
    standby_keep: float = 900.0  # without a job and a look at the page until the standby process gives its memory back

    @classmethod
    def from_environment(cls) -> Timeouts:
        given = {name: os.environ.get(f"DELTA_STUDIO_{name.upper()}") for name in cls.__dataclass_fields__}
        return cls(**{name: float(value) for name, value in given.items() if value})

    def grace(self, kind: str) -> float:
        """Seconds that a job of this kind may take to stop."""
        return self.chat_stop_grace if kind == "chat" else self.stop_grace
