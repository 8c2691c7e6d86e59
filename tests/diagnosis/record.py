"""Makes the recorded curves in `curves/`: real runs of the starter, healthy ones and ones with bad settings.

    python -m tests.diagnosis.record [NAME …]

A file holds {"recipe", "state", "reason", "steps", "curves"}: curves are metric → [[step, value], …] with four
significant digits.
"""

import json
import sys
import tempfile
from pathlib import Path

CURVES = Path(__file__).with_name("curves")
_QUICK = {"evaluation_rows": 0, "sample_prompts": 0, "batch_size": 4, "max_length": 96, "save_steps": 1000}
# name → (data, training options, method)
RUNS = {
    "healthy_chat": ("captain", {"max_steps": 80, "learning_rate": 2e-3, "evaluations": 5}, "lora"),
    "healthy_short": ("captain", {"max_steps": 20, "learning_rate": 1e-3, "evaluations": 3}, "lora"),
    "healthy_tickets": ("tickets", {"max_steps": 60, "learning_rate": 2e-3, "evaluations": 4}, "lora"),
    "overfitting": (
        {"source": "captain", "max_rows": 12},
        {"max_steps": 48, "learning_rate": 5e-3, "evaluations": 6, "lr_scheduler_type": "constant"},
        "lora",
    ),
    "rate_too_high": (
        "captain",
        {"max_steps": 24, "learning_rate": 0.3, "lr_scheduler_type": "constant", "evaluations": 3},
        "lora",
    ),
    "exploded": (
        "captain",
        {"max_steps": 20, "learning_rate": 5.0, "optimiser": "sgd", "max_grad_norm": 0, "evaluations": 0},
        "full",
    ),
    "rate_too_low": ("captain", {"max_steps": 24, "learning_rate": 3e-5, "evaluations": 0}, "lora"),
    "nothing_moved": ("captain", {"max_steps": 20, "learning_rate": 1e-9, "evaluations": 0, "batch_size": 12}, "lora"),
}


def record(name: str) -> dict:
    """Run one of `RUNS` and return what it recorded."""
    from studio.home import Home
    from studio.jobs.worker import run_job
    from studio.recipe import recipe_from
    from studio.store import Store

    data, training, method = RUNS[name]
    task = "classification" if data == "tickets" else "chat"
    recipe = recipe_from(
        {
            "data": data if isinstance(data, dict) else {"source": data},
            "task": {"name": task},
            "method": {"name": method},
            "training": {**_QUICK, **training},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        home = Home(folder)
        store = Store(home.database)
        run_id, job_id = store.create_run(name, recipe.to_dict(), "cpu")
        run_job(home, job_id)
        run = store.run(run_id)
        plan = store.events(run_id, kind="plan")[-1]["data"]
        curves: dict[str, list] = {}
        for row in store.metrics(run_id):
            for key in ("loss", "eval_loss"):
                if key in row["values"]:
                    curves.setdefault(key, []).append([row["step"], float(f"{row['values'][key]:.4g}")])
        store.close()
    return {
        "recipe": recipe.to_dict(),
        "state": run["state"],
        "reason": run["reason"],
        "steps": plan["steps"],
        "curves": curves,
    }


def main(names: list[str]) -> None:
    CURVES.mkdir(exist_ok=True)
    for name in names or RUNS:
        text = json.dumps(record(name))
        (CURVES / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(name, len(text), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
