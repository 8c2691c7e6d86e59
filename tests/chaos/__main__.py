"""Kill the studio's processes at random moments, let it meet faults, and check that nothing is lost.

    python -m tests.chaos --kills 1000 [--seconds 3600] [--seed 1] [--no-faults]

Ends with 0 and its figures once so many processes were killed or the time is over, or with 1 at the first thing that
must not be; a copy of the home is kept then, to be looked into.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.chaos import faults, forks
from tests.chaos.kills import Chaos


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further run after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-faults", action="store_true", help="only kills")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    os.environ |= {"OMP_NUM_THREADS": "1", "DELTA_STUDIO_STANDBY_DELAY": "0.2"}
    server = forks.start(folder)
    try:
        with faults.small_disk(folder / "disk", megabytes=128 + asked.kills) as small:
            ended_well = run(asked, folder / "disk", small)
    finally:
        server.stdin.close()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if ended_well else 1


def run(asked: argparse.Namespace, disk: Path, small: bool) -> bool:
    """Kill as asked in a home on `disk`, and let a run meet the faults; whether all held. small: can be filled."""
    began, chaos, met = time.monotonic(), Chaos(disk / "home", asked.seed), []
    try:
        chaos.prepare()
        while sum(chaos.kills.values()) < asked.kills and time.monotonic() - began < asked.seconds:
            chaos.case()
        killing = time.monotonic() - began
        if not asked.no_faults:
            met = faults.meet_all(chaos, disk / "filler" if small else None)
    except BaseException:
        kept = tempfile.mkdtemp(prefix="chaos-failed-")
        traceback.print_exc()
        chaos.studio.end()
        shutil.copytree(disk / "home", kept, dirs_exist_ok=True)
        print(f"after {chaos.figures(time.monotonic() - began)}; seed {asked.seed}; a copy of the home is in {kept}")
        return False
    finally:
        chaos.studio.end()
    print(f"{chaos.figures(killing)}: every one ended as the undisturbed one")
    if met:
        print(f"one run met {', '.join(met)}: it went on or was resumed, and ended as the undisturbed one")
    return True


if __name__ == "__main__":
    sys.exit(main())
