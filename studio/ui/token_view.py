"""View of a training example as the model receives it: rendered text, tokens, and packing.

Tokens are marked as trained on, only read, or truncated. The view calls the same `encode` as training and reads no
files. Images have a view of their own (`picture_view.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import gradio as gr

from studio.draft import Preflight
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer
from studio.models.resolve import local_folder
from studio.models.templates import OWN, TEMPLATES
from studio.recipe import BaseModelChoice, Recipe
from studio.tasks import IGNORED, Encoded
from studio.tasks.feedback import RatedAnswer
from studio.tasks.length_policy import LengthPolicy
from studio.tasks.preference import Pair
from studio.training.order import grouped
from studio.ui.html_parts import e, note, number
from studio.ui.page import Page
from studio.ui.picture_view import picture_html

_TOKENS_SHOWN = 1200
_NO_LIMIT = 1 << 30  # tokens; encodes an example without truncation
_PACKED_FROM = 2000
"""Largest training set, in rows, for which the first epoch's order is computed to show packed rows."""


def build(page: Page):
    """Create the view's components.

    Returns (HTML of the view, number of the example, chat template dropdown, function that binds the event handlers).
    """
    with gr.Row(equal_height=True, elem_id="token-buttons"):
        which = gr.Number(1, precision=0, minimum=1, label=page.t("Example"), elem_id="which-example", min_width=120)
        before = gr.Button(page.t("Previous"), size="sm", elem_id="previous-example", min_width=90)
        after = gr.Button(page.t("Next"), size="sm", elem_id="next-example", min_width=90)
        flagged = gr.Button(page.t("Next with a finding"), size="sm", elem_id="next-finding", min_width=140)
        template = gr.Dropdown(
            [(page.t(title), name) for name, title in TEMPLATES.items()],
            value=OWN,
            label=page.t("Chat template"),
            elem_id="template",
            scale=3,
            min_width=280,
            info=page.t(BaseModelChoice.model_fields["template"].description),
        )
    view = gr.HTML(elem_id="tokens", apply_default_css=False)

    def bind():
        def show(at: float | None):
            return view_html(page, page.editor.preflight(), at)

        def go(step: int):
            def moved(at: float | None):
                preflight = page.editor.preflight()
                now = place(preflight, at) + step
                return now + 1, view_html(page, preflight, now + 1)

            return moved

        def to_finding(at: float | None):
            preflight = page.editor.preflight()
            now = next_flagged(preflight, place(preflight, at)) + 1
            return now, view_html(page, preflight, now)

        def choose_template(name: str):
            page.editor.change(model={**page.editor.draft()["model"], "template": name})
            return page.stamp("template")

        page.on(which.input, show, which, view, shows="data")
        page.on(template.input, choose_template, template, page.changed, changes=True)
        for control, handler in ((before, go(-1)), (after, go(1)), (flagged, to_finding)):
            page.on(control.click, handler, which, [which, view], shows="data")

    return view, which, template, bind


def place(preflight: Preflight, at: float | None) -> int:
    """Return the zero-based index for the one-based example number `at`, clamped to the training set."""
    last = len(preflight.dataset.train) - 1 if preflight.dataset else 0
    return max(0, min(int(at or 1) - 1, last))


def next_flagged(preflight: Preflight, now: int) -> int:
    """Return the index of the next training example whose line is named by a finding above level "info".

    The search wraps around at the end; if there is no such example, returns `now`.
    """
    if not preflight.dataset:
        return now
    train = preflight.dataset.train
    named = {
        (line, file)
        for finding in preflight.report.findings
        if finding.level != "info"
        for line, file in zip(finding.lines, finding.files or [""] * len(finding.lines), strict=True)
    }
    numbers = train.numbers.tolist()
    hits = [
        index for index, number in enumerate(numbers) if (number, train.store.file(int(train.indices[index]))) in named
    ]
    return next((index for index in hits if index > now), hits[0] if hits else now)


@dataclass(frozen=True)
class _Example:
    """One training example as the model receives it.

    original, value: the record as it was read, and as it is trained on; parts: its token sequences, truncated; rests:
    for each part, the ids that truncation removed.
    """

    recipe: Recipe
    tokenizer: ChatTokenizer
    original: dict
    value: dict
    parts: list[Encoded]
    rests: list[list[int]]


def view_html(page: Page, preflight: Preflight, at: float | None) -> str:
    """Return the view of the example with the one-based number `at`."""
    recipe, data = preflight.recipe, preflight.dataset
    if data and data.want == "image":
        return picture_html(page, preflight, place(preflight, at))
    folder = local_folder(recipe.model.name, recipe.model.revision) if preflight.lengths is not None else None
    if not data or folder is None:
        return note(page.t("Once data and base model can be read, each example appears here token by token."))
    index, tokenizer, limit = place(preflight, at), recipe.tokenizer(folder), recipe.training.max_length
    record = data.train[index]
    where = page.t(
        "Example {number} of {count}, line {line} of {file}.",
        number=index + 1,
        count=f"{len(data.train):,}",
        line=record.number,
        file=record.file or data.parts[0].name,
    )
    value = LengthPolicy(recipe, tokenizer)(record.value)
    if value is None:
        left_out = note(page.t("This row is longer than {limit} tokens and is left out.", limit=limit))
        return f'<p class="help">{e(where)}</p>{left_out}'
    try:
        parts = sequences(recipe.task.encode(value, tokenizer, limit))
    except ChatTemplateError as error:
        return f'<p class="help">{e(where)}</p>{note(page.say(error.sentence), "bad")}'
    example = _Example(recipe, tokenizer, record.value, value, parts, _truncated(recipe, value, tokenizer, parts))
    message = " ".join([counts_text(page, example), *remarks(page, example)])
    legend = " ".join(
        f'<span class="token {kind}">{e(page.t(text))}</span>'
        for kind, text in (("labelled", "trained on"), ("read", "only read"), ("cut", "cut off"))
    )
    return (
        f'<p class="help">{e(where)} {e(message)} {legend}</p>{parts_html(page, example)}'
        f'<details><summary>{e(page.t("The rendered text"))}</summary><pre class="rendered" tabindex="0">'
        f"{e(recipe.task.render(value, tokenizer))}</pre></details>"
        f"{packing_html(page, preflight, folder, index)}"
    )


def sequences(parts: list[Encoded]) -> list[Encoded]:
    """Return every token sequence that the model receives; a preference pair has two."""
    return [row for part in parts for row in part.sequences]


def _truncated(recipe: Recipe, value: dict, tokenizer: ChatTokenizer, parts: list[Encoded]) -> list[list[int]]:
    """Return the ids that truncation removed from each of `parts`."""
    if not any(part.truncated_tokens for part in parts):
        return [[] for _ in parts]
    whole = sequences(recipe.task.encode(value, tokenizer, _NO_LIMIT))
    return [
        whole[at].ids[recipe.training.max_length :] if part.truncated_tokens else [] for at, part in enumerate(parts)
    ]


def counts_text(page: Page, example: _Example) -> str:
    """Return how many tokens the example has, and what the loss is computed on."""
    parts, cut = example.parts, sum(map(len, example.rests))
    count = sum(len(part.ids) for part in parts) + cut
    if example.recipe.task.kind in ("classification", "multitask"):
        return page.t(
            "{count} {count:token|tokens}, of which {cut} {cut:is|are} cut off; the label to predict is {label}.",
            count=count,
            cut=cut,
            label=", ".join(parts[0].class_names) or "–",
        )
    return page.t(
        "{count} {count:token|tokens}, of which {labelled} {labelled:is|are} trained on and {cut} {cut:is|are} cut "
        "off.",
        count=count,
        labelled=sum(part.labelled for part in parts),
        cut=cut,
    )


def remarks(page: Page, example: _Example) -> Iterator[str]:
    """Yield what is special about this example: its rating, its shortening, its chat template."""
    recipe, tokenizer, parts = example.recipe, example.tokenizer, example.parts
    if isinstance(parts[0], RatedAnswer):
        yield (
            page.t("The answer is marked good: training makes it more likely.")
            if parts[0].good
            else page.t("The answer is marked bad: training makes it less likely.")
        )
    if example.value is not example.original:
        yield page.t(
            "It was shortened at the front: the row as it stands in the file has {count} tokens.",
            count=sum(recipe.task.token_counts(example.original, tokenizer)[0]),
        )
    if recipe.model.template == OWN and tokenizer.own_template is None and recipe.task.record_kind == "messages":
        yield page.t("This model has no chat template of its own, so ChatML is used.")
    if tokenizer.overrides_template and tokenizer.adds_bos:
        yield page.t("The base model expects its begin token first, so it is put there.")
    if _has_answers_apart(example):
        yield page.t(
            "The chat template writes earlier answers otherwise once more follows, so this row makes {count} "
            "examples: each answer is trained on behind the prompt that Chat sends for it.",
            count=len(parts),
        )


def _has_answers_apart(example: _Example) -> bool:
    """Whether each answer of the conversation is an example of its own."""
    parts = example.parts
    return example.recipe.task.uses_chat_template and len(parts) > 1 and not isinstance(parts[0], Pair)


def parts_html(page: Page, example: _Example) -> str:
    """Return the tokens of every sequence of the example, with a title above each if there are several."""
    parts = example.parts
    titles = [""] * len(parts)
    if isinstance(parts[0], Pair):
        titles = [page.t("Better answer"), page.t("Worse answer")]
    elif _has_answers_apart(example):
        titles = [
            page.t("Example {number} of {count} from this row", number=at, count=len(parts))
            for at in range(1, len(parts) + 1)
        ]
    return "".join(
        (f"<h4>{e(title)}</h4>" if title else "")
        + f'<p class="tokens">{chips_html(page, part, example.tokenizer, rest)}</p>'
        for title, part, rest in zip(titles, parts, example.rests, strict=True)
    )


def chips_html(page: Page, part: Encoded, tokenizer: ChatTokenizer, rest: list[int]) -> str:
    """Return one example's tokens as chips: trained on coloured, only read grey, truncated struck through.

    `rest`: ids of the truncated tokens.
    """
    kinds = ["labelled" if label != IGNORED and at else "read" for at, label in enumerate(part.labels)] + ["cut"] * len(
        rest
    )
    weights = [*(part.weights or [1.0] * len(part.ids)), *([1.0] * len(rest))]
    pieces, before = [], 1.0
    for token, kind, weight in list(zip([*part.ids, *rest], kinds, weights, strict=True))[:_TOKENS_SHOWN]:
        if kind == "labelled" and weight != before:
            pieces.append(f'<span class="weight">{e(page.t("weight {weight}", weight=number(weight)))}</span>')
            before = weight
        text = tokenizer.decode([token], keep_special_tokens=True).replace("\n", "⏎")
        pieces.append(f'<span class="token {kind}">{e(text) or "·"}</span>')
    more = len(kinds) - _TOKENS_SHOWN
    return "".join(pieces) + (
        f' <span class="help">{e(page.t("and {count} more {count:token|tokens}", count=f"{more:,}"))}</span>'
        if more > 0
        else ""
    )


def packing_html(page: Page, preflight: Preflight, folder: Path, index: int) -> str:
    """Return which examples share a packed row with this one in the first epoch, and where positions restart."""
    training = preflight.recipe.training
    if not training.packing:
        return ""
    if not training.group_by_length:
        return note(
            page.t(
                "Packing: {count} {count:example has|examples share} a row. Which ones is drawn anew in each "
                "epoch, because they are not grouped by length.",
                count=training.batch_size,
            )
        )
    if len(preflight.dataset.train) > _PACKED_FROM:
        return note(
            page.t(
                "Packing: {count} examples of like length share a row. Which ones is shown for up to {limit} "
                "rows of data.",
                count=training.batch_size,
                limit=f"{_PACKED_FROM:,}",
            )
        )
    row = packed_row(preflight, folder, index)
    if row is None:
        return note(page.t("Packing: this example has no token to train on, so it is in no row."))
    bars, start = [], 0
    total = sum(length for _, length in row)
    for other, length in row:
        here = ' aria-current="true"' if other == index else ""
        last = start + length - 1
        title = page.t("tokens {first} to {last}, positions 0 to {end}", first=start, last=last, end=length - 1)
        bars.append(f'<span class="packed"{here} style="flex-grow:{length}" title="{e(title)}">{other + 1}</span>')
        start += length
    message = page.t(
        "Packing: in the first epoch this example shares its row with examples {others}; the row has {tokens} "
        "tokens, and positions begin anew at 0 in each example.",
        others=", ".join(str(other + 1) for other, _ in row if other != index) or "–",
        tokens=number(total),
    )
    return (
        f'<p class="help">{e(message)}</p><div class="packed-row" role="img" aria-label="{e(message)}">'
        f"{''.join(bars)}</div>"
    )


def packed_row(preflight: Preflight, folder: Path, index: int) -> list[tuple[int, int]] | None:
    """Return (example index, token count) of each example packed in one row with training example `index`.

    Valid for the first epoch; None if the example is in no row.
    """
    recipe = preflight.recipe
    owners, lengths = _kept(_Key(preflight, folder))
    training = recipe.training
    order = grouped(lengths, training.effective_batch, training.seed)
    at = next((at for at, item in enumerate(order) if owners[item] == index), None)
    if at is None:
        return None
    start = at - at % training.batch_size
    return [(owners[item], lengths[item]) for item in order[start : start + training.batch_size]]


class _Key:
    """Cache key of the encoded training set; equal if training would encode the same tokens."""

    def __init__(self, preflight: Preflight, folder: Path):
        self.preflight, self.folder = preflight, folder
        recipe = preflight.recipe
        self.parts = (
            id(preflight.dataset),
            recipe.task.model_dump_json(),
            recipe.training.max_length,
            str(folder),
            recipe.model.template,
            recipe.data.model_dump_json(),
        )

    def __hash__(self) -> int:
        return hash(self.parts)

    def __eq__(self, other) -> bool:
        return isinstance(other, _Key) and self.parts == other.parts


@lru_cache(maxsize=2)
def _kept(key: _Key) -> tuple[list[int], list[int]]:
    """Encode the training set as training does.

    Returns (record indices, token counts), one entry per encoded example that has labelled tokens.
    """
    recipe = key.preflight.recipe
    length_policy = LengthPolicy(recipe, recipe.tokenizer(key.folder))
    found = [
        (index, len(part.ids))
        for index, record in enumerate(key.preflight.dataset.train)
        for part in length_policy.examples(record.value)
        if part.labelled
    ]
    return [index for index, _ in found], [length for _, length in found]
