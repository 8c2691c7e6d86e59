"""Discover the methods or tasks defined in a package, so that a new one needs only a new file.

The only requirements on the classes are a `name` field with a fixed default, and an `order`.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from studio.options import InvalidOption, Options


def discover(package: ModuleType, base: type[Options]) -> dict[str, type[Options]]:
    """Name → class, for every subclass of `base` with a `name` field in the modules of `package`, sorted by `order`."""
    found: dict[str, type[Options]] = {}
    for module in pkgutil.iter_modules(package.__path__):
        for item in vars(importlib.import_module(f"{package.__name__}.{module.name}")).values():
            if isinstance(item, type) and issubclass(item, base) and "name" in item.model_fields:
                found[item.model_fields["name"].default] = item
    return dict(sorted(found.items(), key=lambda pair: pair[1].order))


def chosen(base: type[Options], offered: dict[str, type[Options]]) -> Any:
    """The type of a pydantic field that holds an instance of one of the `offered` classes, selected by "name"."""

    def pick(value):
        if isinstance(value, base):
            return value
        if isinstance(value, str):
            value = {"name": value}
        name = value.get("name") if isinstance(value, dict) else None
        if name not in offered:
            raise InvalidOption(
                "'{name}' is not offered; choose one of {choices}.", name=name, choices=", ".join(offered)
            )
        return offered[name].model_validate(value)

    return Annotated[SerializeAsAny[base], BeforeValidator(pick)]
