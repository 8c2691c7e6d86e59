"""Fresh Python processes without the seconds that importing torch takes: a process that has only imported libraries
forks one for each program.

    fresh_python("import peft; print(peft.__version__)", cwd=folder).stdout

A program runs as `python -c` would run it, with its own working directory, arguments and output, and nothing that
another program did. A process that runs tests cannot fork like that itself: its threads would be missing in the child.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path

LIBRARIES = ("bitsandbytes", "torch", "peft", "transformers.trainer")
TESTS = Path(__file__).resolve().parent


class Forks:
    """A process that has imported `modules` (found in the folders `path` too) and forks others, one at a time."""

    def __init__(self, modules: tuple[str, ...], path: tuple[str, ...] = ()):
        command = [sys.executable, "-P", __file__, json.dumps(path), *modules]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS)
        atexit.register(self._process.kill)

    def begin(self, program: str, *arguments: str, cwd: Path) -> int:
        """Start `program` with `arguments` in the folder `cwd`, and return its process id; `end` waits for it."""
        self._output, self._errors = (tempfile.NamedTemporaryFile() for _ in range(2))  # noqa: SIM115 - `end` closes
        request = [program, ["-c", *arguments], str(cwd), self._output.name, self._errors.name]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> subprocess.CompletedProcess:
        """Wait for the program that was begun last. `returncode` is negative where a signal killed it."""
        code = int(self._process.stdout.readline())
        texts = [file.read().decode(errors="replace") for file in (self._output, self._errors)]
        self._output.close()
        self._errors.close()
        return subprocess.CompletedProcess("python", code, *texts)

    def run(self, program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
        self.begin(program, *arguments, cwd=cwd)
        return self.end()


@cache
def _libraries() -> Forks:
    return Forks(LIBRARIES)


@cache
def workers() -> Forks:
    """Forks that have the worker of a training run imported."""
    return Forks((*LIBRARIES, "studio.training.worker"), path=(str(TESTS.parent),))


def fresh_python(program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run `program` in a process that has the libraries imported and cannot import the studio. `cwd` is a folder
    outside of the repository."""
    return _libraries().run(program, *arguments, cwd=cwd)


def _child(program: str, arguments: list[str], cwd: str, output: str, errors: str) -> None:
    """Ends with this process."""
    code = 1
    try:
        for place, number in ((output, 1), (errors, 2)):
            os.dup2(os.open(place, os.O_WRONLY), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(cwd)
        sys.argv, sys.path[:0] = arguments, [""]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    sys.path[:0] = json.loads(sys.argv[1])
    for name in sys.argv[2:]:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        if not (child := os.fork()):
            _child(*json.loads(line))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
