"""How it is learnt: one file for each method (options, card, and how to wrap a model).

`METHODS` maps each method's name to its class, found by looking into this folder.
"""

import sys

from studio.methods.base import FAMILIES, Card, Method, Setting
from studio.registry import chosen, discover

METHODS: dict[str, type[Method]] = discover(sys.modules[__name__], Method)
AnyMethod = chosen(Method, METHODS)

__all__ = ["FAMILIES", "METHODS", "AnyMethod", "Card", "Method", "Setting"]
