"""How patient the supervisor is. It knows nothing about why."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """Seconds, each from the environment variable DELTA_STUDIO_<NAME IN CAPITALS> if that is set."""

    stop_grace: float = 30.0  # from Stop to SIGTERM: a training step and a checkpoint must fit in
    chat_stop_grace: float = 5.0  # a chat has nothing to save
    kill_grace: float = 5.0  # from SIGTERM, or from the final word, to SIGKILL
    idle: float = 60.0  # without a window and without jobs, until the supervisor leaves
    standby_delay: float = 4.0  # from a start to the next standby's imports

    @classmethod
    def from_environment(cls) -> Timeouts:
        given = {name: os.environ.get(f"DELTA_STUDIO_{name.upper()}") for name in cls.__dataclass_fields__}
        return cls(**{name: float(value) for name, value in given.items() if value})

    def grace(self, kind: str) -> float:
        """How long a job of this kind may take to stop."""
        return self.chat_stop_grace if kind == "chat" else self.stop_grace
