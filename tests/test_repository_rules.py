"""The rules of the house, kept by machine: who may import what, nothing circular, no file that outgrows its room."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FILES = sorted((REPOSITORY / "studio").rglob("*.py"))
MAX_FUNCTION_LINES, MAX_FILE_LINES = 75, 450


def module_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported(path: Path) -> set[str]:
    """Names of the modules that a file imports, also inside functions and for annotations alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def walk(node):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(tree)
    return found


def test_only_the_window_knows_gradio():
    wrong = [
        module
        for module, path in MODULES.items()
        if not module.startswith("studio.ui") and any(name.split(".")[0] == "gradio" for name in imported(path))
    ]
    assert wrong == []


def test_nobody_imports_the_window():
    wrong = [
        module
        for module, path in MODULES.items()
        if not module.startswith("studio.ui") and any(name.startswith("studio.ui") for name in imported(path))
    ]
    assert wrong == []


EDGES = {
    module: {name for name in imported(path) if name in MODULES and name != module} for module, path in MODULES.items()
}


def circle(edges: dict[str, set[str]]) -> str:
    """The first circle that is found, as "a → b → a"; "" where there is none."""
    done: set[str] = set()

    def visit(room: str, trail: tuple[str, ...]) -> str:
        if room in trail:
            return " → ".join((*trail[trail.index(room) :], room))
        if room in done:
            return ""
        found = next(filter(None, (visit(name, (*trail, room)) for name in sorted(edges[room]))), "")
        done.add(room)
        return found

    return next(filter(None, (visit(room, ()) for room in edges)), "")


def test_no_circles_of_files():
    # A package's __init__ that gathers its own modules is no circle.
    assert (
        circle(
            {module: {name for name in names if not module.startswith(f"{name}.")} for module, names in EDGES.items()}
        )
        == ""
    )


def test_no_circles_of_packages():
    def room(module: str) -> str:
        return ".".join(module.split(".")[:2])

    edges: dict[str, set[str]] = {room(module): set() for module in MODULES}
    for module, names in EDGES.items():
        edges[room(module)] |= {room(name) for name in names} - {room(module), "studio"}
    assert circle(edges) == ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_file_is_short_enough(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE_LINES
    assert ast.get_docstring(ast.parse(text)), "a module says what it does"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{node.name} does not fit a screen"


def test_what_drives_the_whole_page_is_marked_and_lies_where_tests_run_looks_for_it():
    marked = {
        path
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        if re.search(r"^(pytestmark = |@).*mark\.e2e\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert marked == set((REPOSITORY / "tests" / "e2e").glob("test_*.py"))


def test_the_window_and_the_recipe_import_no_torch():
    code = (
        "import sys; import studio.ui.window, studio.draft; "
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "[]"


def test_the_supervisor_is_light():
    code = (
        "import sys; import studio.jobs.supervisor; "
        "print([name for name in ('torch', 'pydantic', 'gradio', 'numpy') if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "[]"
