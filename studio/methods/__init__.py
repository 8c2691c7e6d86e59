"""Fine-tuning methods, one file each: options, description (card), and how the method wraps a model.

`METHODS` maps the name of each method to its class. The classes are found by importing the modules of this package.
"""

import sys

from studio.methods.base import FAMILIES, Card, Method, Setting
from studio.registry import chosen, discover

METHODS: dict[str, type[Method]] = discover(sys.modules[__name__], Method)
AnyMethod = chosen(Method, METHODS)

__all__ = ["FAMILIES", "METHODS", "AnyMethod", "Card", "Method", "Setting"]
