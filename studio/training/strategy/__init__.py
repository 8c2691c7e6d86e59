"""Adapting a run while the model learns: rules that watch it, and the changes that they make.

watch.py     what is known of the run so far; it can be saved and restored
rules.py     the rules, as a table: when one applies, what it changes, and the reason that the log gives
strategy.py  the callback that watches the run, asks the rules and carries out the changes
memory.py    the last good state of the adapter and the optimiser; halving the batch when memory runs out
ranks.py     changing the rank of LoRA layers without changing their outputs

Importing watch.py and rules.py loads no torch.
"""
