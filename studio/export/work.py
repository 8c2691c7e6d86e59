"""`Work`: one export while it is being written: its source, options, folder and progress."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.export.proof import Proof
from studio.export.source import Source
from studio.home import Home
from studio.jobs.job import Job
from studio.options import Options
from studio.words import Sentence, StudioError


@dataclass
class Work:
    """What a target's writer works with. folder: where its files go. extra: what it adds to the manifest."""

    job: Job
    source: Source
    options: Options
    folder: Path
    proofs: list[Proof] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return self.job.home

    def step(self, fraction: float, sentence: Sentence) -> None:
        """Report progress: the share that is done, from 0 to 1, and what is done now. Raises `Stopped` on Cancel."""
        self.job.check_stop()
        self.job.doing(sentence)
        self.job.result({"fraction": round(fraction, 3)})

    def each(self, items: Iterable, count: int, first: float, last: float) -> Iterator:
        """The `items`, with progress from `first` to `last` and a look at Cancel at each."""
        for at, item in enumerate(items):
            self.job.check_stop()
            if at % max(1, count // 50) == 0:
                self.job.result({"fraction": round(first + (last - first) * at / max(1, count), 3)})
            yield item

    def need_space(self, needed: int) -> None:
        """Raise StudioError unless `needed` bytes are free on the disk of the home folder."""
        if self.home.free_bytes() < needed:
            raise StudioError(
                "The export needs {needed} GB on the disk, but only {free} GB are free; free some space and try again.",
                needed=round(needed / 1e9, 1),
                free=round(self.home.free_bytes() / 1e9, 1),
            )


def disk_is_full(error: OSError) -> bool:
    """Whether the error says that the disk, or the quota on it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
