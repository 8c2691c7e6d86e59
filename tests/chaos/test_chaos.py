"""A part of the kills and all faults; `python -m tests.chaos --kills 1000` does as many as are wanted."""

import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


def test_nothing_is_lost_when_processes_are_killed_and_the_machine_misbehaves():
    command = [sys.executable, "-m", "tests.chaos", "--kills", "8", "--seconds", "20"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    assert int(re.match(r"(\d+) kills", done.stdout)[1]) >= 1 and "a suspended supervisor" in done.stdout
