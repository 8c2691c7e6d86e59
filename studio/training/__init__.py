"""A worker's way from a recipe to an adapter. `python -m studio.training RECIPE.yaml` walks it without the window.

worker.py    the story of one run, from the recipe to the shelf
kinds/       what differs between kinds of task: examples, model class, loss, what the end measures
encodings.py the encoded examples of a run, on disk
batches.py   encoded examples → tensors, without padding waste
order.py     the order of examples grouped by length
trainer.py   transformers' Trainer with our batches, our loss positions and our checkpoints
events.py    what is recorded at each step, evaluation and stop
checks.py    what is checked before the first step and after the last
outcome.py   the fine-tuned model and the base beside it, one after the other
"""
