"""Remove from a text what nobody else may read: tokens, keys and passwords, rows of data, and the names of folders.

hide = Redaction(home.root, rows=["Dear Dr Who, my knee hurts"])
hide("token hf_abcdefghijklmnop in /home/mary/data/x.csv")      # "token [secret] in ~/data/x.csv"
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SECRET, ROW, LONG = "[secret]", "[data]", "[{count} characters]"
_SHORTEST_VALUE = 6  # characters of an environment variable's value that is looked for
_SHORTEST_ROW = 12  # characters of a cell that is looked for; shorter ones are words that occur anyway
_SECRET_NAME = re.compile(
    r"token|secret|passw|credential|private|auth|session|cookie|(?:^|_)(?:api_?)?key(?:_|$)|apikey|dsn", re.IGNORECASE
)
# Forms of keys that their makers document, and what stands behind a word for one.
_FORMS = [
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{16,}"),
    re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}"),
    re.compile(r"\b(?:gh[pousr]|github_pat|glpat|xox[abprs]|pypi)[-_][A-Za-z0-9_-]{16,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*"),
    re.compile(r"\b(?=[a-f0-9]*[a-f])(?=[a-f0-9]*\d)[a-f0-9]{40}\b"),  # such as a key of W&B
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?<=bearer )\S+", re.IGNORECASE),
    re.compile(
        r"""(?<![A-Za-z])[\w-]*(?:token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key|authorization)["']?"""
        r"""\s*[=:]\s*(?!\[secret\])(?P<value>"[^"]*"|'[^']*'|[^\s,;&)}\]]+)""",
        re.IGNORECASE,
    ),
]
# A longer quoted text is taken for data.
_QUOTED = re.compile(r"""(["'])(?:(?!\1)[^\\\n]|\\.){81,}\1""")


class Redaction:
    """Called with a text, returns it without secrets, rows and folder names.

    home: the studio's folder. rows: texts of the data. paths: files and folders of which only the name may be seen.
    environment: variables whose values are secret where their names say so.
    """

    def __init__(
        self,
        home: Path,
        rows: Iterable[str] = (),
        paths: Iterable[str] = (),
        environment: Mapping[str, str] = os.environ,
    ):
        values = {
            value
            for name, value in environment.items()
            if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_VALUE and not os.path.exists(value)
        }
        self._values = sorted(values, key=len, reverse=True)
        cells = {form for row in rows if len(row.strip()) >= _SHORTEST_ROW for form in _written(row.strip())}
        self._rows = sorted(cells, key=len, reverse=True)
        named = [(path, Path(path).name) for path in paths if os.sep in path]
        self._folders = [*named, (str(home), "HOME"), (str(Path.home()), "~")]

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, SECRET)
        for row in self._rows:
            if row in text:
                text = text.replace(row, ROW)
        text = _QUOTED.sub(lambda found: LONG.format(count=len(found[0]) - 2), text)
        for form in _FORMS:
            text = form.sub(_hidden, text)
        for folder, short in self._folders:
            text = re.sub(rf"{re.escape(folder)}(?![\w.-])", short, text)
        return re.sub(r"(?<=/home/)[^/\s]+|(?<=/Users/)[^/\s]+", "…", text)


def _hidden(found: re.Match) -> str:
    """The match with its secret part replaced: all of it, or the group "value"."""
    if "value" not in found.re.groupindex:
        return SECRET
    start, end = (place - found.start() for place in found.span("value"))
    return found[0][:start] + SECRET + found[0][end:]


def _written(row: str) -> set[str]:
    """The row as it stands in a file, in Python's repr and in JSON; and each of its lines."""
    whole = {row, repr(row)[1:-1], json.dumps(row)[1:-1], json.dumps(row, ensure_ascii=False)[1:-1]}
    return whole | {line.strip() for line in row.splitlines() if len(line.strip()) >= _SHORTEST_ROW}
