"""`python -m studio.training RECIPE.yaml`: run a recipe as the page does, but in the foreground, without the page or a
supervisor.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from studio.home import Home
from studio.jobs.worker import run_job
from studio.recipe import recipe_from_yaml
from studio.store import ENDED, Store
from studio.words import Sentence, StudioError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m studio.training", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a recipe in YAML, as the page's 'Download recipe' gives it")
    parser.add_argument("--home", help="the studio's folder (default: DELTA_STUDIO_HOME or ~/.delta-studio)")
    options = parser.parse_args()
    try:
        recipe = recipe_from_yaml(options.recipe.read_text(encoding="utf-8"), options.recipe.name)
    except (OSError, StudioError) as error:
        print(error, file=sys.stderr)
        return 2
    home = Home(options.home)
    store = Store(home.database)
    from studio.hardware import choose_device

    run_id, job_id = store.create_run(
        recipe.name or options.recipe.stem, recipe.to_dict(), choose_device(recipe.machine.device)
    )
    run_job(home, job_id)
    while (run := store.run(run_id))["state"] not in ENDED:
        time.sleep(0.5)  # a running supervisor claimed the job first and assigned it to a worker
    reason = Sentence.from_json(run["reason"])
    print(f"{run['state']}: {reason or run['result']}")
    return 1 if run["state"] == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
