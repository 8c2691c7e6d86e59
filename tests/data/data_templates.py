"""Every English template that studio/data can say, found in its source."""

import ast
from pathlib import Path

from studio.data import formats, readers_text, report

FOLDER = Path(formats.__file__).parent
PLACE = {
    "Sentence": 0,
    "StudioError": 0,
    "RowProblem": 1,
    "refuse": 1,
    "report": 2,
    "warn": 2,
    "error": 0,
    "InvalidOption": 0,
}
JSON_MESSAGES = (
    "Expecting value",
    "Extra data",
    "Expecting ',' delimiter",
    "Expecting ':' delimiter",
    "Expecting property name enclosed in double quotes",
    "Unterminated string starting at",
    "Invalid control character at",
    "Invalid \\escape",
    "Invalid \\uXXXX escape",
    "Illegal trailing comma before end of object",
    "Illegal trailing comma before end of array",
)
UNITS = ("line", "record", "sheet row")


def templates() -> set[str]:
    """Literal templates of sentences, titles and helps of options, and the few that come from tables."""
    found = {*JSON_MESSAGES, *UNITS, *report.ODD.values(), "a single value"}
    found |= {what for _, what in formats._FOREIGN} | set(readers_text._WHAT.values())
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found |= _said(node)
    return found - {""}


def _said(call: ast.Call) -> set[str]:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    args = [call.args[i] for i in ((1, 2) if name == "option" else (PLACE.get(name, 99),)) if i < len(call.args)]
    args += [keyword.value for keyword in call.keywords if name == "option" and keyword.arg == "unit"]
    return {arg.value for arg in args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
