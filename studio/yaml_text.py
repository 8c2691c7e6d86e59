"""Parse YAML, and name the line where it is invalid."""

from __future__ import annotations

from typing import Any

import yaml

from studio.words import StudioError


def parse_yaml(text: str, source: str) -> Any:
    """Parse `text` with YAML's safe types. source: its name, for the error. Raises StudioError if it is no YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise StudioError(
            "{source} is not valid YAML (line {line}); correct that line.",
            source=source,
            line=mark.line + 1 if mark else "?",
        ) from error
