"""Training in a worker process, from a recipe to an adapter. `python -m studio.training RECIPE.yaml` runs it without
the page.

worker.py    the stages of a run, from the recipe to the adapter in the library
kinds/       what differs between kinds of task: examples, model class, loss, final evaluation
encodings.py the encoded examples of a run, on disk
batches.py   collation of encoded examples into tensors, and samplers
order.py     the order of examples grouped by length
trainer.py   subclass of transformers' Trainer: batches, loss and checkpoints
preference.py  subclass of that trainer with the losses of preference optimisation
events.py    callback that records steps and evaluations, and stops the run
checks.py    checks before the first step and after the last one
outcome.py   the final evaluation of the fine-tuned model and the base model
"""
