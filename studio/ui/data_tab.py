"""The Data tab: bring data, see how it was understood, change that, and see exactly what the model will see.

It shows what `studio.data` and `studio.desk` find out; it knows nothing about file formats.
"""

from __future__ import annotations

from typing import Literal

import gradio as gr
from pydantic import create_model

from studio.data.dataset import Dataset, DataSpec
from studio.data.formats import TITLES
from studio.data.mapping import ROLE_TITLES, ROLES, SHAPES, Mapping, fits
from studio.data.read import open_source
from studio.data.report import Finding, Histogram, report
from studio.data.resolve import resolve
from studio.models.codec import Codec
from studio.models.resolve import local_folder
from studio.options import Options, option
from studio.presets import apply, preset, presets
from studio.tasks import IGNORED, TASKS, Task
from studio.ui.board import Board, chip, e, facts, note, number, table
from studio.ui.form import OptionForm, form_values
from studio.ui.notices import discard_upload
from studio.ui.page import Page
from studio.words import Sentence, StudioError

_TOKENS_SHOWN = 400
_SPLIT = ("heldout", "heldout_fraction", "max_rows", "encoding", "seed")


class Split(DataSpec):
    """The fields of `DataSpec` that are set here by hand; source and columns have controls of their own."""

    source: str = option("", "Data", "", hidden=True)


def build(page: Page):
    """Draw the tab; returns what binds it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            examples = Board(elem_id="examples")
            upload = gr.File(label=page.t("Or drop a file of your own: JSON, JSONL, CSV, Parquet, Excel, text or zip"), type="filepath", elem_id="upload", height=130)
            with gr.Row(equal_height=True):
                place = gr.Textbox(label=page.t("Or a file on this machine, or hub:owner/name"), placeholder="/data/chats.jsonl", scale=4, elem_id="place")
                use = gr.Button(page.t("Use"), scale=1, min_width=80, elem_id="use-place")
            task = gr.Radio([(page.t(item.title), name) for name, item in TASKS.items()], label=page.t("What should the model learn?"), elem_id="task")
            task_help = gr.HTML(apply_default_css=False)
            task_form = OptionForm(language=page.language, elem_id="task-form")
        with gr.Column(scale=3, min_width=320):
            about = gr.HTML(elem_id="about-data", apply_default_css=False)
            with gr.Accordion(page.t("Which column plays which role"), open=False):
                roles = OptionForm(language=page.language, elem_id="roles")
                proposed = gr.Button(page.t("Back to the proposed columns"), size="sm", elem_id="proposed-roles")
            with gr.Accordion(page.t("What is kept apart to measure on"), open=False):
                split = OptionForm(Split, language=page.language, elem_id="split")
    with gr.Tabs():
        with gr.Tab(page.t("First rows")):
            preview = gr.HTML(elem_id="preview", apply_default_css=False)
        with gr.Tab(page.t("What the model sees")):
            tokens = gr.HTML(elem_id="tokens", apply_default_css=False)
    outputs = [examples, task, task_help, task_form, about, roles, split, preview, tokens]

    def bind():
        def choose_example(event: gr.EventData):
            page.desk.change(**apply(preset(event.item), page.desk.draft()))
            return page.stamp("example")

        def use_path(text: str):
            page.desk.use(text.strip())
            return page.stamp("path")

        def propose_roles():
            page.desk.change_mapping(None)
            return page.stamp("shape")

        page.on(examples.click, choose_example, None, page.changed, changes=True)
        taken = page.on(upload.upload, lambda path: take(page, path), upload, page.changed, changes=True, show_progress="minimal")
        for after in (taken.then, taken.failure):  # ready for the next file, whatever came of this one
            page.on(after, None, None, upload, js="() => [null]")
        page.on(use.click, use_path, place, page.changed, changes=True, show_progress="minimal")
        page.on(place.submit, use_path, place, page.changed, changes=True, show_progress="minimal")
        page.on(task.input, lambda name: choose_task(page, name), task, page.changed, changes=True)
        page.on(task_form.input, lambda raw: edit_task(page, task_form, raw), task_form, [task_form, page.changed], changes=True)
        page.on(roles.input, lambda raw: edit_roles(page, roles, raw), roles, [roles, page.changed], changes=True)
        page.on(proposed.click, propose_roles, None, page.changed, changes=True)
        page.on(split.input, lambda raw: edit_split(page, split, raw), split, [split, page.changed], changes=True)
        page.on(page.changed.change, lambda stamp: draw(page, stamp, task_form, roles, split), page.changed, outputs)

    return bind


def take(page: Page, path: str):
    """Keep an uploaded file if it can be read; Gradio's copy goes either way."""
    if not path:
        return gr.skip()
    try:
        page.desk.bring(path)
    finally:
        discard_upload(path)
    return page.stamp("upload")


def choose_task(page: Page, name: str):
    if page.desk.draft()["task"].get("name") == name:
        return gr.skip()
    page.desk.choose_task(name)
    return page.stamp("task")


def edit_task(page: Page, form: OptionForm, raw: dict):
    cls = TASKS[page.desk.draft()["task"]["name"]]
    made, wrong = form_values(raw, cls)
    page.desk.change(task={"name": cls.model_fields["name"].default, **(made.model_dump(mode="json") if made else raw)})
    return form.complain(wrong), page.stamp("task-form")


def edit_roles(page: Page, form: OptionForm, raw: dict):
    shape = raw.get("shape")
    if shape not in SHAPES:
        return gr.skip(), gr.skip()
    columns = {role: raw[role] for role in ROLES[shape] if raw.get(role)}
    before = page.desk.draft()["data"].get("mapping") or {}
    page.desk.change_mapping({"shape": shape, "roles": columns, "system": raw.get("system_text") or None})
    return form.complain({}), page.stamp("roles" if before.get("shape") == shape else "shape")


def edit_split(page: Page, form: OptionForm, raw: dict):
    made, wrong = form_values(raw, Split)
    values = made.model_dump(mode="json") if made else raw
    page.desk.change(data={**page.desk.draft()["data"], **{key: values.get(key) for key in _SPLIT}})
    return form.complain(wrong), page.stamp("split")


def draw(page: Page, stamp: str, task_form: OptionForm, roles: OptionForm, split: OptionForm) -> list:
    """The whole tab from the draft; a form that was just edited keeps what is typed in it."""
    origin = stamp.partition(":")[0]
    if origin in ("method", "training", "machine"):
        return [gr.skip()] * 9
    draft, outlook = page.desk.draft(), page.desk.outlook()
    task = TASKS.get(draft["task"].get("name"))
    data, problem = outlook.dataset, outlook.problems.get("data") or outlook.problems.get("recipe")
    columns = data.columns if data else columns_of(draft["data"]["source"])
    mapping = data.mapping.model_dump() if data else draft["data"].get("mapping")
    return [
        examples_html(page, draft["data"]["source"]), gr.update(value=draft["task"].get("name")),
        f'<p class="help">{e(page.t(task.help))}</p>' if task else "",
        gr.skip() if origin == "task-form" or task is None else task_form.show(task, values=draft["task"]),
        about_html(page, data, outlook, problem),
        gr.skip() if origin == "roles" else roles_form(page, roles, columns, mapping or {"shape": first_shape(task), "roles": {}}),
        gr.skip() if origin == "split" else split.show(values={key: draft["data"].get(key) for key in _SPLIT}),
        preview_html(page, data), tokens_html(page, outlook),
    ]


def columns_of(source: str) -> list[str]:
    """The columns of a file whose mapping does not fit, so that another one can be chosen."""
    try:
        return open_source(resolve(source).train).columns
    except StudioError:
        return []


def first_shape(task: type[Task] | None) -> str:
    """The usual shape of what `task` learns from, for a file in which none was recognised."""
    return next((shape for shape in SHAPES if task is None or fits(Mapping(shape=shape), task.wants)), "messages")


def examples_html(page: Page, source: str) -> str:
    """One button for each sample recipe."""
    cards = []
    for item in presets("sample"):
        chosen = item.values.get("data", {}).get("source") == source
        cards.append(f'<button type="button" class="example" data-act="example" data-item="{e(item.name)}" aria-pressed="{"true" if chosen else "false"}">'
                     f'<strong>{e(page.t(item.title))}</strong><span>{e(page.t(item.description))}</span></button>')
    return f'<h3>{e(page.t("Try an example"))}</h3><div class="examples">{"".join(cards)}</div>'


def roles_form(page: Page, form: OptionForm, columns: list[str], mapping: dict):
    """A form whose choices are this file's columns."""
    if not columns:
        return form.show(Options, values={})
    shape = mapping["shape"]
    fields = {"shape": (Literal[tuple(SHAPES)], option(shape, "Shape", "How one row of the data is built.", labels={key: page.say(text) for key, text in SHAPES.items()}))}
    for role, needed in ROLES[shape].items():
        kind = Literal[tuple(columns)]
        title = page.say(ROLE_TITLES[role])
        fields[role] = (kind if needed else kind | None, option(None, title, "", labels={name: name for name in columns}))
    fields["system_text"] = (str | None, option(None, "System text", "Put before every conversation that has no system message of its own. Empty: none.", advanced=True))
    values = {"shape": shape, **{role: mapping["roles"].get(role) for role in ROLES[shape]}, "system_text": mapping.get("system")}
    return form.show(create_model("Roles", __base__=Options, **fields), values=values)


def about_html(page: Page, data: Dataset | None, outlook, problem: Sentence | None) -> str:
    """What the file is, how many rows serve, how long they are, what is wrong with it."""
    if data is None:
        return note(page.say(problem), "bad" if problem and outlook.recipe else "") if problem else ""
    lengths = outlook.lengths
    limit = outlook.recipe.training.max_length
    found = report(data)
    pairs = [
        (page.t("Format"), ", ".join(part for part in (page.t(TITLES.get(data.format, data.format)), data.encoding) if part)), (page.t("Shape"), page.say(SHAPES[data.mapping.shape])),
        (page.t("Rows in the file"), f"{data.counts.rows:,}"), (page.t("Used to learn"), f"{len(data.train):,}"), (page.t("Kept apart to measure"), f"{len(data.heldout):,}"),
    ]
    if lengths:
        cut = sum(length > limit for length in lengths)
        pairs += [(page.t("Tokens in all"), f"{sum(lengths):,}"), (page.t("Longest row"), page.t("{count} tokens", count=f"{max(lengths):,}")), (page.t("Rows cut at {limit} tokens", limit=limit), f"{cut:,}")]
    skipped = sum(data.counts.skipped.values())
    head = f'<div class="run-head"><h3>{e(data.title)}</h3>{chip(page.t("{count} rows not used", count=skipped), "warn") if skipped else chip(page.t("all rows usable"), "good")}</div>'
    histogram = bars(page, found.lengths["words"]) if not lengths else token_bars(page, lengths)
    evidence = "".join(f"<li>{e(page.say(item))}</li>" for item in data.evidence)
    why = f'<details><summary>{e(page.t("How this was recognised"))}</summary><ul>{evidence}</ul></details>' if evidence else ""
    wrong = note(page.say(problem), "bad") if problem else ""
    return head + wrong + facts(pairs) + histogram + findings_html(page, found.findings) + why


def token_bars(page: Page, lengths: list[int]) -> str:
    from studio.data.report import histogram

    return bars(page, histogram(lengths, "tokens"))


def bars(page: Page, found: Histogram) -> str:
    """A histogram as bars, with its numbers for screen readers."""
    most = max(found.counts) or 1
    unit = page.t(found.unit)
    columns = "".join(
        f'<span style="height:{max(2 if count else 0, 100 * count / most):.0f}%" title="{low}–{high} {e(unit)}: {count}"></span>'
        for count, low, high in zip(found.counts, found.edges, found.edges[1:], strict=False))
    said = page.t("Lengths: half of the rows have up to {median} {unit}, 95 % up to {p95}, the longest {largest}.", median=found.median, unit=unit, p95=found.p95, largest=found.largest)
    return f'<figure class="histogram"><div class="bars" aria-hidden="true">{columns}</div><figcaption>{e(said)}</figcaption></figure>'


def findings_html(page: Page, findings: list[Finding]) -> str:
    """Every problem with its count and the first line numbers."""
    if not findings:
        return note(page.t("No problems found."), "good")
    rows = []
    for item in findings[:30]:
        lines = ", ".join(map(str, [line for line in item.lines if line][:12]))
        where = f' <span class="lines">{e(page.t("lines {lines}", lines=lines))}</span>' if lines else ""
        rows.append(f'<li class="{e(item.level)}">{chip(f"{item.count:,}", "bad" if item.level == "error" else "warn")} <strong>{e(page.say(item.title))}.</strong> {e(page.say(item.sentence))}{where}</li>')
    return f'<h4>{e(page.t("Problems"))}</h4><ul class="findings">{"".join(rows)}</ul>'


def preview_html(page: Page, data: Dataset | None) -> str:
    if data is None:
        return note(page.t("The first rows appear here once the data can be read."))
    found = report(data, preview_rows=12).preview
    return table([page.t("Line"), *found.columns], [[str(line), *row] for line, row in zip(found.numbers, found.rows, strict=True)])


def tokens_html(page: Page, outlook) -> str:
    """The first example as tokens: learnt ones coloured, read ones grey, cut ones struck through."""
    recipe, data = outlook.recipe, outlook.dataset
    folder = local_folder(recipe.model.name, recipe.model.revision) if recipe and outlook.lengths else None
    if not data or folder is None:
        return note(page.t("Once data and base model can be read, the first example appears here token by token."))
    codec = Codec(folder)
    whole = recipe.task.encode(data.train[0].value, codec, 1 << 30)[0]
    limit = recipe.training.max_length
    pieces = []
    for at, (token, label) in enumerate(zip(whole.ids[:_TOKENS_SHOWN], whole.labels, strict=False)):
        kind = "cut" if at >= limit else "learnt" if label != IGNORED and at else "read"
        text = codec.decode([token], keep_special=True).replace("\n", "⏎")
        pieces.append(f'<span class="token {kind}">{e(text) or "·"}</span>')
    legend = " ".join(f'<span class="token {kind}">{e(page.t(text))}</span>' for kind, text in (("learnt", "learnt"), ("read", "only read"), ("cut", "cut off")))
    said = page.t("First example: {count} tokens, of which {learnt} are learnt.", count=len(whole.ids), learnt=number(whole.learnt))
    if recipe.task.kind == "classification":
        said, legend = page.t("First example: {count} tokens, all of them read; what is learnt is the label {label}.", count=len(whole.ids), label=", ".join(whole.names) or "–"), ""
    return f'<p class="help">{e(said)} {legend}</p><p class="tokens">{"".join(pieces)}</p>'


