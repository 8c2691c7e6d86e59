"""A worker's way from a recipe to an adapter. `python -m studio.training RECIPE.yaml` walks it without the window.

    worker.py    the story of one run, from the recipe to the shelf
    batches.py   encoded examples → tensors, without padding waste
    trainer.py   transformers' Trainer with our batches, our loss positions and our checkpoints
    events.py    what is recorded at each step, evaluation and stop
    checks.py    what is checked before the first step and after the last
    outcome.py   what the run achieved on the held-out part
"""
