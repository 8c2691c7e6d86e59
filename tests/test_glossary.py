"""The words of docs/glossary.md do not come back: neither on the page nor as names in the code."""

import io
import re
import tokenize
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.recipe import sentences

GLOSSARY = REPOSITORY / "docs" / "glossary.md"
# They speak of the old names, to read what was stored under them.
EXEMPT = {
    REPOSITORY / "studio" / "migration.py",
    REPOSITORY / "tests" / "migration" / "test_old_home.py",
    Path(__file__),
}
QUOTED = {'"heeded"'}  # of the old names that are English words, those that may not be a key of stored data either


def table(title: str) -> dict[str, str]:
    """Old word → standard term of the glossary's table under `title`."""
    part = GLOSSARY.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [re.findall(r"[^|]+", line) for line in part.splitlines() if line.startswith("| ")][2:]
    return {row[0].strip(" `"): row[1].strip(" `") for row in rows}


def test_each_line_has_both_words_and_a_source():
    assert len(table("On the page")) >= 15 and len(table("In the code")) >= 100
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            assert len([cell for cell in line.split("|") if cell.strip()]) == 3, line


def test_no_old_word_is_on_the_page():
    shown = {text: ", ".join(sorted(places)[:2]) for text, places in sentences.templates().items()}
    readme = REPOSITORY / "README.md"
    shown |= {line: readme.name for line in readme.read_text(encoding="utf-8").splitlines()}
    old = {word: re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE) for word in table("On the page")}
    found = [
        f"{place}: {word!r} in {text[:80]!r}" for text, place in shown.items() for word in old if old[word].search(text)
    ]
    assert not found, "\n".join(found)


def test_no_old_word_is_a_name():
    old, found = table("In the code"), []
    for folder in ("studio", "tests", "benchmarks", "assets"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if path in EXEMPT:
                continue
            for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
                name = token.string
                if token.type == tokenize.STRING and ("_" in name or name in QUOTED):
                    name = name.strip("\"'")  # a key of stored data
                elif token.type != tokenize.NAME:
                    continue
                if name in old:
                    found.append(f"{path.relative_to(REPOSITORY)}:{token.start[0]}: {name} is called {old[name]}")
    assert not found, "\n".join(found)
