"""Tasks: what a model is fine-tuned for, one file each.

`TASKS` maps each task's name to its class. The classes are discovered in the modules of this package.
"""

import sys

from studio.registry import chosen, discover
from studio.tasks.base import IGNORED, Encoded, Question, Task

TASKS: dict[str, type[Task]] = discover(sys.modules[__name__], Task)
AnyTask = chosen(Task, TASKS)

__all__ = ["IGNORED", "TASKS", "AnyTask", "Encoded", "Question", "Task"]
