"""Finds everything that the studio can say, and where: templates in the code, texts of options, methods, tasks,
presets, models.

Reads source files as syntax trees, so that a sentence in an error branch that no test reaches is found as well.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections import defaultdict
from pathlib import Path

import yaml

from studio.export.targets import TARGETS
from studio.forecast import PARTS
from studio.home import ASSETS, PRESETS, REPOSITORY
from studio.library.lineage import RELATIONS
from studio.library.search import SORTS
from studio.methods import FAMILIES, METHODS
from studio.methods.capabilities import CAPABILITIES, REASONS
from studio.options import Options, form_fields
from studio.presets import presets
from studio.tasks import TASKS
from studio.ui.access import TOPICS
from studio.ui.library_tab import PANELS

STUDIO = REPOSITORY / "studio"
# The call → which arguments are English templates. `option` declares a field of a form.
SAYING = {
    "Sentence": (0,),
    "StudioError": (0,),
    "InvalidOption": (0,),
    "RowProblem": (1,),
    "t": (0,),
    "translate": (0,),
    "option": (1, 2),
    "report": (2,),
    "warn": (2,),
    "refuse": (1,),
    "Rule": (2,),
}  # this line: what reading the data says of a row or a file
# Small parts of the house that have no translation file of their own.
_ROOMS = {
    "options": "recipe",
    "tasks": "recipe",
    "home": "recipe",
    "registry": "recipe",
    "words": "recipe",
    "store": "recipe",
}
OPTIONS_LIVE_IN = (
    "studio.export.targets",
    "studio.recipe",
    "studio.data.mapping",
    "studio.data.dataset",
    "studio.chat.sampling",
    "studio.export.targets",
)
# Texts that reach a call in a way that `Walk` cannot follow.
HAND_LISTED = {
    "studio/data/report.py": ("characters", "words", "tokens"),  # Histogram.unit, said by data_report.bars
    "studio/data/source.py": ("line", "record", "sheet row"),  # Source.unit, said by report.py
    "studio/chat/sampling_presets.py": ("Greedy", "Precise", "Balanced", "Creative"),  # said by chat_presets.choices
}
# Arguments that hold no literal, by file, and why nothing is missed: what they hold is found where it is written.
SAID_ELSEWHERE = {
    "studio/data/fingerprints.py": ("None", "_PLAIN"),  # bytes.translate
    "studio/words.py": ("text", "self.text"),  # these are Sentence, StudioError and translate themselves
    "studio/options.py": ("text",),  # InvalidOption itself
    "studio/ui/page.py": ("text",),  # Page.t itself
    "studio/ui/method_plots.py": ("METHODS[name].title", "FAMILIES[key]"),  # methods and their families
    "studio/ui/run_report.py": ("chart['title']", "chart['unit']", "name"),  # CHARTS
    "studio/ui/window.py": ("title",),  # frame.STEPS
    "studio/ui/frame.py": ("title",),  # run_status.STATES
    "studio/ui/live_plot.py": ("name",),  # the marks of CHARTS
    "studio/ui/form.py": ("field['title']", "field[part]", "choice['label']"),  # options: `_options`
    "studio/ui/data_tab.py": ("task.help", "item.title", "item.description"),  # tasks, presets
    "studio/ui/mixture_panel.py": ("OtherFile.model_fields['weight'].description",),  # options
    "studio/ui/roles_form.py": ("title",),  # ROLE_TITLES
    "studio/ui/token_view.py": ("title", "BaseModelChoice.model_fields['template'].description"),  # TEMPLATES, options
    "studio/ui/data_report.py": ("found.unit", "TITLES.get(data.format, data.format)"),  # HAND_LISTED
    "studio/ui/hyper_tab.py": ("item.title", "item.description"),  # presets
    "studio/ui/method_tab.py": (
        "offer.note",
        "title",
        "FAMILIES[method.family]",
        "card.idea",
        "card.good_for",
        "card.cost",
        "card.limits",
        "method.title",
    ),  # cards
    "studio/ui/method_cards.py": (
        "FAMILIES[method.family]",
        "METHODS[item.name].title",
        "METHODS[name].title",
        "REASONS[reason]",
        "capability.title",
        "card.cost",
        "card.good_for",
        "card.idea",
        "card.limits",
        "each.title",
        "method.title",
        "text",
    ),  # cards and capabilities
    "studio/ui/library_view.py": (
        "METHODS[value].title",
        "TASKS[value].title",
        "title",
    ),  # methods, tasks, search.SORTS
    "studio/ui/library_bar.py": ("panel.TITLE",),  # library_tab.PANELS
    "studio/ui/library_details.py": ("RELATIONS.get(parent.relation, 'Made from')",),  # lineage.RELATIONS
    "studio/training/initial.py": ("refusal",),  # made by continuing.mismatch
    "studio/ui/library_compare.py": ("title",),  # options
    "studio/library/continuing.py": (
        "refused",
        "METHODS[then['name']].title",
        "field.title or key",
    ),  # methods and their options
    "studio/methods/base.py": ("self.title",),  # method titles
    "studio/methods/hybrid_base.py": ("self.title",),
    "studio/methods/fusion.py": ("problem",),  # made by its own `unfinished`
    "studio/methods/capabilities.py": (
        "title",
        "capability.feature",
        "REASONS[reason]",
        "capability.advice",
    ),  # `_cards`
    "studio/methods/targets.py": ("self.title", "type(self).model_fields[key].title"),  # an option's title
    "studio/training/checks.py": ("method.title",),
    "studio/training/strategy/strategy.py": ("rule.reason",),  # `Rule`
    "studio/tasks/preference.py": ("recipe.method.title",),
    "studio/presets.py": ("self.title", "self.description"),  # presets
    "studio/forecast/estimate.py": (
        "TASKS[recipe.task.name].verb",
        "title",
        "summary",
    ),  # tasks, method titles with their numbers
    "studio/data/source.py": ("text",),  # Source.report and Source.warn themselves
    "studio/data/readers_text.py": (
        "error.msg",
        "_ALL_ZERO",
    ),  # Python's json module: NOT_OURS in the test; bytes.translate
    "studio/data/findings.py": ("dataset.unit",),  # HAND_LISTED
    "studio/draft/editor.py": ("next(iter(preflight.problems.values()))",),  # sentences made elsewhere, here and below
    "studio/draft/ready_comparisons.py": ("method.title", "problem", "refused"),
    "studio/search/control.py": ("next(iter(preflight.problems.values()))",),
    "studio/search/driver.py": ("refused",),
    "studio/search/space.py": (
        "METHODS[recipe.method.name].title",
        "cls.model_fields[parameter.key].title",
    ),  # methods and their options
    "studio/ui/search_panel.py": ("label",),  # translated already
    "studio/runs/removal.py": ("refused",),  # made by its own `refusal`
    "studio/ui/run_comparison.py": ("METHODS[name].title",),
    "studio/ui/chat_turn.py": ("next(iter(wrong.values()))",),
    "studio/ui/chat_presets.py": ("next(iter(wrong.values()))", "name"),  # HAND_LISTED
    "studio/ui/chat_rows.py": ("TASKS[task].title",),  # task titles
    "studio/export/job.py": ("refusal",),
    "studio/export/hub.py": ("refusal",),
    "studio/ui/export_view.py": ("target.explanation", "target.needs", "target.title", "head", "text"),
    "studio/training/worker.py": ("refusal",),
    "studio/tasks/base.py": ("cls.title",),  # task titles
    "studio/diagnosis/rules.py": ("rule.sentence", "info.title or name"),  # `Rule`; options
    "studio/ui/visitors.py": ("TOPICS[topic]", "title"),  # `_cards`
    "studio/merging/convert.py": ("capabilities.REASONS[reason]",),  # `_cards`
    "studio/merging/jobs.py": ("refusal",),
    "studio/merging/lora_delta.py": ("refusal",),
    "studio/ui/blend_panel.py": ("next(iter(wrong.values()))", "problem"),
    "studio/ui/convert_panel.py": ("next(iter(wrong.values()))", "problem"),
    "studio/ui/switch_panel.py": ("problem",),
}


def templates() -> dict[str, set[str]]:
    """Every English text that a person may read → the places it comes from ("studio/data/read.py", "option of
    LoRA")."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(STUDIO.rglob("*.py")):
        place = str(path.relative_to(REPOSITORY))
        for text in (*literals(ast.parse(path.read_text(encoding="utf-8"))), *HAND_LISTED.get(place, ())):
            found[text].add(place)
    for text, place in [*_options(), *_cards(), *_yaml()]:
        found[text].add(place)
    return {text: places for text, places in found.items() if needs_translation(text)}


def literals(tree: ast.Module) -> list[str]:
    """The templates in calls of `Sentence` and its kin."""
    return Walk(tree).found


def unfollowed() -> dict[str, set[str]]:
    """File → the arguments of `Sentence` and its kin, as source, of which nobody knows what they hold."""
    found: dict[str, set[str]] = {}
    for path in sorted(STUDIO.rglob("*.py")):
        place = str(path.relative_to(REPOSITORY))
        found[place] = set(Walk(ast.parse(path.read_text(encoding="utf-8"))).lost) - set(SAID_ELSEWHERE.get(place, ()))
    return {place: sources for place, sources in found.items() if sources}


class Walk:
    """One file's calls of `SAYING`: the texts in `found`, the arguments that led to no literal in `lost`, as source.

    Follows a name to what was assigned to it, to the literal table that a loop or comprehension takes it from, and,
    where it is a parameter, to the calls in the same file; and a subscript to the values of the dict.
    """

    def __init__(self, tree: ast.Module):
        self.tree, self.parents = tree, {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self.found: list[str] = []
        self.lost: list[str] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for place in SAYING.get(_called(node), ()):
                    if len(node.args) > place:
                        self._read(node.args[place])

    def _read(self, argument: ast.expr) -> None:
        texts = self._texts(argument, 0)
        self.found += texts
        inside = {_called(node) for node in ast.walk(argument) if isinstance(node, ast.Call)}
        if not texts and not inside & {*SAYING, "say", "from_json", "join"}:  # else it is said already
            self.lost.append(ast.unparse(argument))

    def _texts(self, node: ast.AST | None, depth: int) -> list[str]:
        if depth > 8:
            return []
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.IfExp(body=one, orelse=other):
                parts = [one, other]
            case ast.BoolOp(values=values):
                parts = values
            case ast.Subscript(value=holder, slice=key):
                items = self._items(holder, depth + 1)
                parts = [
                    item.elts[1]
                    for item in items
                    if not isinstance(key, ast.Constant) or item.elts[0].value == key.value
                ]
            case ast.Call(func=ast.Attribute(value=holder, attr="get"), args=args):
                parts = [*(item.elts[1] for item in self._items(holder, depth + 1)), *args[1:]]
            case ast.Name() | ast.Attribute(value=ast.Name(id="self" | "cls")):
                parts = self._bound(node)
            case _:
                parts = []
        return [text for part in parts for text in self._texts(part, depth + 1)]

    def _bound(self, name: ast.Name | ast.Attribute) -> list[ast.expr]:
        """What a name (or `self.name`) may stand for, from the innermost place that binds it."""
        wanted = name.id if isinstance(name, ast.Name) else name.attr
        node = name
        while node in self.parents:
            node = self.parents[node]
            match node:
                case ast.For(target=target, iter=table):
                    loops = [(target, table)]
                case (
                    ast.GeneratorExp(generators=parts)
                    | ast.ListComp(generators=parts)
                    | ast.SetComp(generators=parts)
                    | ast.DictComp(generators=parts)
                ):
                    loops = [(part.target, part.iter) for part in parts]
                case _:
                    loops = []
            for target, table in loops:
                if any(isinstance(each, ast.Name) and each.id == wanted for each in ast.walk(target)):
                    return [found for item in self._elements(table, 0) for found in _taken(target, item, wanted)]
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                found = [value for each in ast.walk(node) for value in _assigned(each, wanted)]
                if found:
                    return found
            if isinstance(node, ast.FunctionDef) and wanted in (names := [each.arg for each in node.args.args]):
                at = names.index(wanted) - (names[0] == "self")
                return [
                    call.args[at]
                    for call in ast.walk(self.tree)
                    if isinstance(call, ast.Call) and _called(call) == node.name and len(call.args) > at
                ]
        return []

    def _elements(self, table: ast.expr, depth: int) -> list[ast.expr]:
        """The elements of a literal table, of a name for one, or of what `.items()`, `.values()`, `enumerate` make of
        it."""
        match table:
            case _ if depth > 8:
                return []
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                return [
                    each
                    for part in parts
                    for each in (self._elements(part.value, depth + 1) if isinstance(part, ast.Starred) else [part])
                ]
            case ast.Call(func=ast.Attribute(value=holder, attr="items")):
                return self._items(holder, depth + 1)
            case ast.Call(func=ast.Attribute(value=holder, attr="values")):
                return [item.elts[1] for item in self._items(holder, depth + 1)]
            case ast.Call(func=ast.Name(id="enumerate"), args=[inner, *_]):
                return [ast.Tuple([ast.Constant(None), each]) for each in self._elements(inner, depth + 1)]
            case ast.Name() | ast.Attribute():
                return [each for value in self._bound(table) for each in self._elements(value, depth + 1)]
            case _:
                return []

    def _items(self, holder: ast.expr, depth: int) -> list[ast.Tuple]:
        """A dict's items as pairs: of a literal, of a name for one, or of one that is itself a value
        (`chart["series"]`)."""
        match holder:
            case _ if depth > 8:
                return []
            case ast.Dict(keys=keys, values=values):
                return [ast.Tuple([key, value]) for key, value in zip(keys, values, strict=True) if key is not None]
            case ast.Subscript(value=ast.Name() as outer, slice=ast.Constant(value=str(key))):
                inside = [item for value in self._bound(outer) for item in self._items(value, depth + 1)]
                return [
                    each
                    for item in inside
                    if getattr(item.elts[0], "value", None) == key
                    for each in self._items(item.elts[1], depth + 1)
                ]
            case ast.Name() | ast.Attribute(value=ast.Name(id="self" | "cls")):
                return [item for value in self._bound(holder) for item in self._items(value, depth + 1)]
            case _:
                return []


def _called(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def _assigned(node: ast.AST, wanted: str) -> list[ast.expr]:
    """The value if `node` assigns to the name `wanted`."""
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value
        else []
    )
    return [node.value for target in targets if isinstance(target, ast.Name) and target.id == wanted]


def _taken(target: ast.expr, item: ast.expr, wanted: str) -> list[ast.expr]:
    """The part of `item` that lands in the name `wanted` when it is unpacked into `target`."""
    if isinstance(target, ast.Name):
        return [item] if target.id == wanted else []
    if isinstance(target, ast.Tuple) and isinstance(item, ast.Tuple | ast.List):
        return [
            found for part, value in zip(target.elts, item.elts, strict=False) for found in _taken(part, value, wanted)
        ]
    return []


def strings() -> set[str]:
    """Every string in the code, in presets and in cards, however it is used: what a translation may belong to."""
    found = {text for text, _ in [*_options(), *_cards(), *_yaml()]}
    for path in [*STUDIO.rglob("*.py"), REPOSITORY / "app.py"]:
        if path.exists():
            found |= {
                node.value
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    return found


def _options():
    for name in OPTIONS_LIVE_IN:
        importlib.import_module(name)
    for cls in _below(Options):
        place = f"option of {cls.__name__} ({cls.__module__.replace('.', '/')}.py)"
        for info in cls.model_fields.values():
            if info.title:
                yield info.title, place
        for field in form_fields(cls):
            yield from ((field[part], place) for part in ("help", "unit", "group"))
            yield from ((choice["label"], place) for choice in field["choices"] if choice["label"] != choice["value"])


def _below(cls: type) -> list[type]:
    return [
        each
        for child in cls.__subclasses__()
        for each in (child, *_below(child))
        if each.__module__.startswith("studio.")
    ]


def _cards():
    for family in FAMILIES.values():
        yield family, "studio/methods/base.py"
    yield from ((part, "studio/forecast/estimate.py") for part in PARTS.values())
    for capability in CAPABILITIES.values():
        yield from (
            (text, "studio/methods/capabilities.py")
            for text in (capability.title, capability.feature, capability.advice)
        )
    yield from ((reason, "studio/methods/capabilities.py") for reason in REASONS.values())
    yield from ((title, "studio/library/search.py") for title in SORTS.values())
    yield from ((title, "studio/ui/access.py") for title in TOPICS.values())
    yield from ((title, "studio/library/lineage.py") for title in (*RELATIONS.values(), "Made from"))
    for panel in PANELS.values():
        if title := getattr(panel, "TITLE", ""):
            yield title, f"{panel.__name__.replace('.', '/')}.py"
    for target in TARGETS.values():
        yield from ((text, "studio/export/targets.py") for text in (target.title, target.explanation, target.needs))
    for name, method in METHODS.items():
        card, place = method.card(), f"card of {name} (studio/methods)"
        yield from (
            (text, place)
            for text in (method.title, *filter(None, [method.branch]), card.idea, card.good_for, card.cost, card.limits)
        )
    for name, task in TASKS.items():
        yield from ((text, f"task {name} (studio/tasks)") for text in (task.title, task.verb, task.help))


def _yaml():
    for preset in presets():
        yield from ((text, f"presets/{preset.name}.yaml") for text in (preset.title, preset.description))
    for offer in yaml.safe_load((PRESETS / "models.yaml").read_text(encoding="utf-8")):
        yield offer.get("note", ""), "presets/models.yaml"


def needs_translation(text: str) -> bool:
    """False for what has no words: "{first} {rest}", "×", "…"."""
    return bool(re.search(r"[A-Za-z]", re.sub(r"\{[^}]*\}", "", text)))


def placeholders(text: str) -> set[str]:
    """The names in braces, without their format; not those that only choose between words, as `{count:row|rows}`
    does."""
    return {re.split(r"[:!.\[]", name)[0] for name in re.findall(r"\{([^{}]*)\}", text) if "|" not in name}


def translation_files(language: str) -> dict[str, dict[str, str]]:
    """File name → its translations, as written."""
    return {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((ASSETS / "i18n" / language).glob("*.json"))
    }


def room(places: set[str]) -> str:
    """The translation file in which a text from `places` is looked for first, after the part of the house it comes
    from."""
    first = min(places)
    path = re.search(r"(?:studio|presets)/[\w/.]+", first)
    parts = Path(path.group(0)).with_suffix("").parts if path else ("?",)
    if parts[0] == "presets":
        return "models.json" if parts[-1] == "models" else "presets.json"
    return f"{_ROOMS.get(parts[1], parts[1])}.json"
