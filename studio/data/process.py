"""Read a large dataset in a subprocess, so that the user interface stays responsive and reading can be stopped.

    reading = Reading(spec, want)
    reading.rows; reading.done; reading.result()     # → Dataset and Report, or raises the StudioError of the subprocess
    reading.stop()

The subprocess writes the records to an unnamed temporary file that both processes have open, and sends the rest through
a pipe. No files remain, however either process ends. Independent of the user interface and of models.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading

from studio.data.data_spec import DataSpec
from studio.data.dataset import Dataset, load
from studio.data.hub import PREFIX
from studio.data.mapping import Want
from studio.data.reading import NothingUsable
from studio.data.report import Report, report
from studio.data.resolve import resolve
from studio.home import REPOSITORY
from studio.words import Sentence, StudioError

LARGE = 8 * 2**20
"""Size in bytes from which data is read in a subprocess; smaller data takes at most a second."""
_NICE = 5


def is_large(spec: DataSpec) -> bool:
    """Whether reading `spec` may take long: its files are large, or it is loaded from the hub."""
    size = 0
    for source in (spec.source, *(other.source for other in spec.more), spec.validation or ""):
        if source.startswith(PREFIX):
            return True
        with contextlib.suppress(StudioError, OSError):  # reported when the data is read
            size += resolve(source).train.stat().st_size if source else 0
    return size >= LARGE


class Reading:
    """A running subprocess that reads one dataset. rows: number of rows read so far; done: whether it has ended."""

    def __init__(self, spec: DataSpec, want: Want, separator: str = ""):
        """separator: separator of several labels in one cell, see `mapping.apply`."""
        self.rows, self.stopped = 0, False
        self._found: tuple[Dataset, Report] | StudioError | None = None
        # Stays open as long as the dataset exists.
        self._file = tempfile.TemporaryFile(prefix="delta-studio-records-")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "studio.data.process", str(self._file.fileno())],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._file.fileno(),),
        )
        self._process.stdin.write(
            json.dumps({"spec": spec.model_dump(mode="json"), "want": want, "separator": separator}).encode() + b"\n"
        )
        self._process.stdin.flush()  # stays open: the subprocess exits at end of file
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            told = json.loads(line)
            if "rows" in told:
                self.rows = told["rows"]
            elif "unusable" in told:
                self._found = NothingUsable(Sentence.from_json(told["unusable"]))
                vars(self._found).update(pickle.load(self._process.stdout))
            elif "error" in told:
                self._found = StudioError(Sentence.from_json(told["error"]))
            else:
                self._found = pickle.load(self._process.stdout)
                self._found[0].train.store.spool.attach(self._file)
        self._process.wait()
        self._process.stdin.close()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self, seconds: float | None = None) -> tuple[Dataset, Report]:
        """Wait for the subprocess and return the dataset and its report.

        seconds: timeout of the wait. Raises StudioError as `load` does, and if the subprocess was stopped or died.
        """
        self._thread.join(seconds)
        if isinstance(self._found, tuple):
            return self._found
        if self._found is None:
            raise _stopped() if self.stopped else _died(self._process.returncode)
        raise self._found

    def stop(self) -> None:
        """Kill the subprocess and discard what was read."""
        self.stopped = True
        self._process.kill()


def _stopped() -> StudioError:
    return StudioError("Reading the data was stopped. Press Read again to go on, or choose other data.")


def _died(code: int | None) -> StudioError:
    return StudioError(
        "Reading the data ended before its time (code {code}), perhaps for want of memory. Press Read again, or "
        "choose a smaller file.",
        code=code or 0,
    )


def _leave_with_the_reader() -> None:
    """Exit this process when stdin is closed, which means that the parent process has ended or no longer waits."""
    sys.stdin.buffer.read()
    os._exit(1)


def main(descriptor: int) -> None:
    """Read the dataset requested on stdin, at low CPU priority. descriptor: open file for the records."""
    os.nice(_NICE)
    asked = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_leave_with_the_reader, daemon=True).start()
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output printed by libraries must not get into the pipe

    def tell(**text) -> None:
        pipe.write(json.dumps(text).encode() + b"\n")
        pipe.flush()

    try:
        dataset = load(
            DataSpec.model_validate(asked["spec"]),
            asked["want"],
            progress=lambda rows: tell(rows=rows),
            place=os.fdopen(descriptor, "w+b"),
            separator=asked["separator"],
        )
    except NothingUsable as error:
        tell(unusable=error.sentence.to_json())
        pickle.dump({"problems": error.problems, "counts": error.counts, "remedied": error.remedied}, pipe)
        pipe.flush()
        return
    except StudioError as error:
        tell(error=error.sentence.to_json())
        return
    found = dataset, report(dataset)
    tell(done=True)
    pickle.dump(found, pipe, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)
