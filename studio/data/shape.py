"""Proposes a mapping for a source from its columns' names and values, and says what speaks for it.

Looks at the first rows only. Knows nothing about files; nothing is decided here that a person could not change.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field

from studio.data.mapping import (
    ROLE_TITLES,
    SHAPES,
    YES_OR_NO,
    Mapping,
    Want,
    fits,
    flag,
    labels_in,
)
from studio.data.pictures import PREFIX, title_of
from studio.data.rows import Row, RowProblem
from studio.data.source import Source
from studio.data.turns import as_list, as_text, check_order, taken_for, turns, unwrapped
from studio.words import Sentence, StudioError

LOOKED_AT = 1000
"""Rows that a proposal is made from."""
_NAMED = 12  # unknown speakers that are named, where there are many

_NAMES = {
    "messages": "messages conversation conversations dialogue dialog chat turns 对话 消息",
    "tools": "tools functions",
    "system": "system system_prompt 系统",
    "instruction": "instruction instructions 指令",
    "input": "input context 输入",
    "output": "output response answer completion 输出",
    "history": "history 历史",
    "prompt": "prompt question query user input instruction problem source request human q 问题 提问 提示",
    "completion": "completion answer response output assistant reply target solution gpt a 回答 答案 回复",
    "passage": "context passage paragraph 上下文 段落",
    "chosen": "chosen preferred preferred_output better accepted good 优选",
    "rejected": "rejected dispreferred non_preferred_output worse refused bad 拒绝",
    "answers": "answers responses outputs candidates completions ranked ranking output 回答列表",
    "rated": "label rating thumbs feedback liked kto_tag desirable good accepted score 评价",
    "label": "label labels category class intent sentiment topic tag tags 标签 类别 分类",
    "text": "text content sentence document body review message passage comment 文本 内容 正文",
}
_SYNONYMS = {role: names.split() for role, names in _NAMES.items()}


@dataclass
class Proposal:
    """mapping: the best guess; evidence: what speaks for it; alternatives: other mappings that could be meant."""

    mapping: Mapping
    evidence: list[Sentence]
    alternatives: list[Mapping] = field(default_factory=list)


@dataclass
class _Column:
    """What the first rows show of one column."""

    name: str
    filled: int = 0
    texts: int = 0
    characters: int = 0
    values: Counter = field(default_factory=Counter)
    lists: int = 0
    openai: int = 0
    sharegpt: int = 0
    ordered: int = 0
    ranked: int = 0
    taken: Counter = field(default_factory=Counter)

    def see(self, value: object) -> None:
        value = unwrapped(value)
        if value is None or value == "":
            return
        self.filled += 1
        items = as_list(value)
        if items is not None:
            self.lists += 1
            self.ranked += len(items) > 1 and all(isinstance(item, str) for item in items)
            self._see_turns(items)
            self.values.update(as_text(item)[:200] for item in items if isinstance(item, str | int))
        elif isinstance(value, str | int | float | bool):
            text = as_text(value)
            self.texts += 1
            self.characters += len(text)
            self.values[text.strip()[:200]] += 1

    def _see_turns(self, items: list) -> None:
        if not items or not all(isinstance(item, dict) for item in items):
            return
        openai = all("role" in item for item in items)
        sharegpt = not openai and all("from" in item for item in items)
        self.openai += openai
        self.sharegpt += sharegpt
        if openai or sharegpt:
            try:
                check_order(turns(items, Sentence(""), self.name), Sentence(""))
            except RowProblem:
                return
            self.ordered += 1
            self.taken.update(taken_for(items).items())


def propose(source: Source, want: Want | None = None) -> Proposal:
    """The mapping that fits `source` best, among those that can serve `want` if there is one.

    Where none can serve `want`, the best one of any kind is given. Raises StudioError where no shape is recognised.
    """
    rows = list(itertools.islice(source.rows(), LOOKED_AT))
    columns = {name: _Column(name) for name in source.columns}
    for row in rows:
        for name, value in row.values.items():
            columns.setdefault(name, _Column(name)).see(value)
    found = [candidate for look in _LOOKS if (candidate := look(columns, rows))]
    if not found:
        raise StudioError(
            "The columns of {name} ({columns}) do not look like chat, text, labels or preferences. Choose the shape and its columns yourself.",
            name=source.name, columns=", ".join(map(str, list(columns)[:20])) or "-",
        )
    if want:
        found.sort(key=lambda candidate: not fits(candidate[0], want))
    (mapping, evidence), rest = found[0], found[1:]
    if want == "label_sets" and mapping.shape == "label":
        mapping, evidence = _more_labels(mapping, evidence, columns)
    return Proposal(mapping, [Sentence("Read as: {shape}.", shape=SHAPES[mapping.shape]), *evidence], [other for other, _ in rest])


_Found = tuple[Mapping, list[Sentence]] | None


def _normal(name: str) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def _named(columns: dict[str, _Column], role: str, taken: set[str] = frozenset()) -> str | None:
    """The filled column whose name stands for `role`; the most usual name wins."""
    names = {_normal(name): name for name in columns if name not in taken and columns[name].filled}
    return next((names[synonym] for synonym in _SYNONYMS[role] if synonym in names), None)


def _by_name(columns: dict[str, _Column], needed: tuple[str, ...], extra: tuple[str, ...]) -> dict[str, str] | None:
    roles: dict[str, str] = {}
    for role in (*needed, *extra):
        column = _named(columns, role, set(roles.values()))
        if column is not None:
            roles[role] = column
        elif role in needed:
            return None
    return roles


def _names_evidence(roles: dict[str, str]) -> list[Sentence]:
    return [Sentence("Column '{column}' is named like the {role}.", column=column, role=ROLE_TITLES[role]) for role, column in roles.items()]


def _conversations(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    best = max(columns.values(), key=lambda column: (max(column.openai, column.sharegpt), column.ordered), default=None)
    if best is None or max(best.openai, best.sharegpt) < 0.5 * max(1, best.filled):
        return None
    if best.name in (_by_name(columns, ("chosen", "rejected"), ("prompt",)) or {}).values():
        return None
    if not best.ordered and best.name in (_by_name(columns, ("prompt", "completion"), ()) or {}).values():
        return None  # questions without their answers, which stand in the other column
    shape = "messages" if best.openai >= best.sharegpt else "sharegpt"
    roles = {"messages": best.name}
    for role in ("tools", "system") if shape == "sharegpt" else ("tools",):
        column = _named(columns, role, {best.name})
        if column is not None:
            roles[role] = column
    keys = ("role", "content") if shape == "messages" else ("from", "value")
    evidence = [
        Sentence("Column '{column}' holds lists of {first} and {second} in {count} of {rows} {rows:row|rows}.", column=best.name, first=keys[0],
                 second=keys[1], count=max(best.openai, best.sharegpt), rows=len(rows)),
        Sentence("user and assistant alternate in {count} of {rows} {rows:row|rows}.", count=best.ordered, rows=len(rows)),
        *(Sentence("'{name}' is no name of a role; it speaks in turn with one other, so it is taken for the {role} in {count} of {rows} {rows:row|rows}.", name=name[:40], role=role, count=count, rows=len(rows))
          for (name, role), count in best.taken.most_common(_NAMED)),
    ]
    return Mapping(shape=shape, roles=roles), evidence


def _preferences(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    roles = _by_name(columns, ("chosen", "rejected"), ("prompt", "system"))
    if roles is None:
        return None
    evidence = _names_evidence(roles)
    if any(isinstance(asked := row.values.get(roles.get("prompt")), dict) and asked.get("tools") for row in rows):
        evidence.append(Sentence("Column '{column}' offers tools, which are left out: preferences are learnt from words alone.", column=roles["prompt"]))
    return Mapping(shape="preference", roles=roles), evidence


def _rankings(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    """A question and a list of answers, as rankings are kept (in Alpaca's columns too)."""
    answers = _named(columns, "answers")
    if answers is None or columns[answers].ranked < 0.5 * max(1, columns[answers].filled):
        return None
    prompt = _named(columns, "prompt", {answers})
    if prompt is None:
        return None
    roles = {"prompt": prompt, "answers": answers}
    for role in ("input", "history", "system"):
        column = _named(columns, role, set(roles.values()))
        if column is not None:
            roles[role] = column
    evidence = Sentence("Column '{column}' holds lists of two or more answers in {count} of {rows} {rows:row|rows}.", column=answers,
                        count=columns[answers].ranked, rows=len(rows))
    return Mapping(shape="ranked", roles=roles), [evidence, *_names_evidence({"prompt": prompt})]


def _verdicts(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    """A question, an answer, and whether it was good."""
    known = {name: Counter({value: count for value, count in column.values.items() if value.lower() in YES_OR_NO}) for name, column in columns.items()}
    rated = next((name for name, values in known.items() if _normal(name) in _SYNONYMS["rated"] and values.total() > 0.5 * columns[name].filled), None)
    if rated is None:
        return None
    rest = {name: column for name, column in columns.items() if name != rated}
    roles = _by_name(rest, ("prompt", "completion"), ("system",))
    if roles is None:
        return None
    good = sum(count for value, count in known[rated].items() if YES_OR_NO[value.lower()])
    evidence = Sentence("Column '{column}' says yes or no in {said} of {rows} {rows:row|rows}, yes in {count} of them.", column=rated,
                        said=known[rated].total(), count=good, rows=len(rows))
    return Mapping(shape="unpaired", roles={**roles, "label": rated}), [evidence, *_names_evidence(roles)]


def _instructions(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    roles = _by_name(columns, ("instruction", "output"), ("input", "history", "system"))
    return (Mapping(shape="alpaca", roles=roles), _names_evidence(roles)) if roles else None


def _comprehension(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    """A question, the passage that it is about, and the answer, or SQuAD's list of answers."""
    found = _by_name(columns, ("prompt", "passage"), ())
    answer = found and (_named(columns, "completion", set(found.values())) or _named(columns, "answers", set(found.values())))
    if not answer or not columns[answer].texts:
        return None
    roles = {"instruction": found["prompt"], "input": found["passage"], "output": answer}
    wrapped = sum(isinstance(row.values.get(answer), dict) for row in rows)
    several = [Sentence("Column '{column}' holds lists of answers, as SQuAD does, in {count} of {rows} {rows:row|rows}; the first of each is learnt.", column=answer, count=wrapped, rows=len(rows))] if wrapped else []
    return Mapping(shape="alpaca", roles=roles), [*_names_evidence(roles), *several]


def _pairs(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    roles = _by_name(columns, ("prompt", "completion"), ("system",))
    return (Mapping(shape="prompt_completion", roles=roles), _names_evidence(roles)) if roles else None


def _pictures(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    image = next((name for name, column in columns.items() if column.filled and all(str(row.values.get(name) or PREFIX).startswith(PREFIX) for row in rows)), None)
    label = image and _named(columns, "label", {image})
    if not label:
        return None
    if any(title_of(str(row.values.get(image))) == f"{image}/{row.number}" for row in rows):
        return Mapping(shape="image", roles={"image": image, "label": label}), _names_evidence({"image": image, "label": label})
    evidence = [Sentence("{count} {count:folder holds|folders hold} the pictures, so each folder's name is a class.", count=len(columns["label"].values))]
    return Mapping(shape="image", roles={"image": image, "label": label}), evidence


def _label_columns(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    """A text and two or more columns of 0 and 1, as sets about tone and feelings are kept: each column is a label of its own."""
    names = [name for name, column in columns.items() if column.filled >= 4 and _said(column) >= 0.95 * column.filled]
    if len(names) < 2 or _named(columns, "label"):
        return None
    text = _named(columns, "text", set(names)) or _longest(columns, set(names))
    if text is None or columns[text].characters <= max(columns[name].characters for name in names):
        return None
    has = [sum(bool(flag(row.values.get(name))) for name in names) for row in rows]
    evidence = [
        Sentence("The columns {columns} say yes or no (or 1 and 0), so each is a label that a text has or has not.", columns=", ".join(names[:20])),
        Sentence("{none} of {rows} {rows:row|rows} {none:has|have} none of these labels, {several} {several:has|have} more than one.", none=has.count(0), rows=len(rows), several=sum(count > 1 for count in has)),
        Sentence("To ask each column as a question of its own, choose Multi-task classification."),
        _text_evidence(columns[text]),
    ]
    return Mapping(shape="label_columns", roles={"text": text}, labels=names), evidence


def _said(column: _Column) -> int:
    """How many of its values say yes or no."""
    return sum(count for value, count in column.values.items() if flag(value) is not None)


def _text_evidence(column: _Column) -> Sentence:
    return Sentence("Column '{column}' holds the texts, {count} characters on average.", column=column.name, count=column.characters // max(1, column.texts))


def _labels(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    label = _named(columns, "label")
    if label is None:
        label = next((name for name, column in reversed(columns.items()) if _few_values(column)), None)
    if label is None:
        label = next((name for name, column in reversed(columns.items()) if column.texts and _parted([row.values.get(name) for row in rows])), None)
    if label is None:
        return None
    text = _named(columns, "text", {label}) or _longest(columns, {label})
    if text is None or columns[text].characters <= columns[label].characters:
        return None
    evidence = [
        Sentence("Column '{column}' has {count} different values in {rows} rows, as labels do.", column=label,
                 count=len(columns[label].values), rows=len(rows)),
        _text_evidence(columns[text]),
    ]
    if parted := _parted([row.values.get(label) for row in rows]):
        evidence[0] = _parted_evidence(label, *parted, len(rows))
    return Mapping(shape="label", roles={"text": text, "label": label}), evidence


_SEPARATORS = (";", "|", ",")
_DECIMAL = re.compile(r"-?\d+,\d+")


def separator_of(source: Source, mapping: Mapping) -> str | None:
    """What stands between several labels in the label's cells, "" where they are lists; None where each row has one label."""
    if mapping.shape != "label":
        return None
    found = _parted([row.values.get(mapping.roles["label"]) for row in itertools.islice(source.rows(), LOOKED_AT)])
    return found[0] if found else None


def _parted(values: list) -> tuple[str, int] | None:
    """(separator or "", how many of `values` hold several labels) of a column that holds several labels in a row."""
    filled = [value for value in values if as_text(value).strip()]
    lists = [items for value in filled if (items := as_list(value)) is not None and all(isinstance(item, str | int) for item in items)]
    if lists and 2 * len(lists) >= len(filled):
        several = sum(len(items) > 1 for items in lists)
        return ("", several) if several else None
    separator, several = max(((mark, _parted_by(filled, mark)) for mark in _SEPARATORS), key=lambda found: found[1])
    return (separator, several) if several else None


def _parted_by(values: list, separator: str) -> int:
    """How many of `values` hold several labels with `separator` between them; 0 where its parts are no labels: few, short and often
    repeated, and most of those that stand with others do so in more than one way ('Arts, Culture' that never parts is one label)."""
    cells = Counter(tuple(sorted(labels_in(value, separator))) for value in values)
    several = [cell for cell in cells if len(cell) > 1]
    stands = Counter(part for cell in cells for part in cell)
    if not several or len(stands) > min(100, len(values) // 2) or max(map(len, stands)) > 40:
        return 0
    if separator == "," and all(_DECIMAL.fullmatch(as_text(value).strip()) for value in values if separator in as_text(value)):
        return 0
    together = {part for cell in several for part in cell}
    return sum(cells[cell] for cell in several) if 2 * sum(stands[part] > 1 for part in together) >= len(together) else 0


def _parted_evidence(column: str, separator: str, count: int, rows: int) -> Sentence:
    if separator:
        return Sentence("Column '{column}' holds several labels in {count} of {rows} {rows:row|rows}, parted by '{separator}'.", column=column, count=count, rows=rows, separator=separator)
    return Sentence("Column '{column}' holds lists of labels, with several of them in {count} of {rows} {rows:row|rows}.", column=column, count=count, rows=rows)


def _more_labels(mapping: Mapping, evidence: list[Sentence], columns: dict[str, _Column]) -> tuple[Mapping, list[Sentence]]:
    """`mapping` with every other column that looks like labels as a label set of its own."""
    more = [column for column in columns.values() if column.name not in mapping.roles.values() and _few_values(column)]
    said = [Sentence("Column '{column}' has {count} different values, so it is taken for another label set.", column=column.name, count=len(column.values)) for column in more]
    return mapping.model_copy(update={"labels": [column.name for column in more]}), [*evidence, *said]


def _few_values(column: _Column) -> bool:
    """Few, short and often repeated values: what labels look like."""
    kinds = len(column.values)
    return column.texts >= 4 and 2 <= kinds <= min(50, column.texts // 2) and max(map(len, column.values)) <= 40


def _longest(columns: dict[str, _Column], taken: set[str] = frozenset()) -> str | None:
    texts = [column for column in columns.values() if column.texts and column.name not in taken]
    return max(texts, key=lambda column: column.characters).name if texts else None


def _first_two(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    texts = [column.name for column in columns.values() if column.texts]
    if len(columns) != 2 or len(texts) != 2:
        return None
    evidence = [Sentence("There are two columns of text; '{first}' comes first, so it is taken for the question. Check this.", first=texts[0])]
    return Mapping(shape="prompt_completion", roles={"prompt": texts[0], "completion": texts[1]}), evidence


def _texts(columns: dict[str, _Column], rows: list[Row]) -> _Found:
    """Offered only where a column is named so or is the only text: other text is not all there is to learn."""
    column = _named(columns, "text")
    texts = [name for name, seen in columns.items() if seen.texts]
    if column is None and len(texts) == 1 and len(columns) == 1:
        column = texts[0]
    if column is None or not columns[column].texts:
        return None
    return Mapping(shape="text", roles={"text": column}), [_text_evidence(columns[column])]


_LOOKS = (_pictures, _conversations, _preferences, _verdicts, _rankings, _instructions, _comprehension, _pairs, _label_columns, _labels, _first_two, _texts)
