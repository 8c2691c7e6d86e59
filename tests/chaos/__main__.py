"""Kill the studio's processes at random moments, let it meet faults, and check that nothing is lost.

    python -m tests.chaos --kills 1000 [--seconds 3600] [--seed 1] [--no-faults]

Ends with 0 and its figures once so many processes were killed or the time is over, or with 1 at the first thing that
must not be; the home is kept then, to be looked into.
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

from tests.chaos import forks


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
    from tests.chaos import faults
    from tests.chaos.kills import Chaos

    began, chaos = time.monotonic(), Chaos(folder / "home", asked.seed)
    try:
        chaos.prepare()
        while sum(chaos.kills.values()) < asked.kills and time.monotonic() - began < asked.seconds:
            chaos.case()
        if not asked.no_faults:
            for fault in (faults.locked_database, faults.suspended_worker, faults.suspended_supervisor):
                fault(chaos)
            chaos.studio.end()
            full = faults.full_disk(folder / "disk")
    except BaseException:
        traceback.print_exc()
        print(f"after {chaos.figures(time.monotonic() - began)}; seed {asked.seed}; the home is {folder}/home")
        return 1
    finally:
        chaos.studio.end()
        server.stdin.close()
        server.wait(20)
    print(chaos.figures(time.monotonic() - began))
    if not asked.no_faults:
        met = "a database locked for 10 s, a suspended worker, a suspended supervisor" + ", a full disk" * full
        print(f"{met}: the run went on or was resumed, and ended as the undisturbed one")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
