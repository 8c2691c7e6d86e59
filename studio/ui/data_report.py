"""HTML of the Data tab's report: dataset facts, findings with their remedies, and the files of a mixture.

Built from the results of `studio.draft`; binds no event handlers.
"""

from __future__ import annotations

import base64
import io

from studio.data.dataset import Dataset
from studio.data.findings import Finding, by_level
from studio.data.formats import TITLES
from studio.data.mapping import SHAPES
from studio.data.pictures import open_picture, title_of
from studio.data.reading import NothingUsable
from studio.data.remedies import REMEDIES
from studio.data.report import Histogram, Report, problem_findings
from studio.data.rows import KINDS
from studio.draft import Preflight
from studio.models.templates import TEMPLATES
from studio.ui.html_parts import button, chip, e, facts, note, number, table
from studio.ui.page import Page
from studio.words import Sentence, StudioError

_FINDINGS_SHOWN, _THUMBNAILS = 30, 24
_CHIPS = {"block": "bad", "error": "bad", "warning": "warn", "info": ""}


def about_html(page: Page, draft: dict, preflight: Preflight, problem: Sentence | None) -> str:
    """Return the report of the dataset: format, row counts, token lengths, findings and applied remedies."""
    if preflight.dataset is None and preflight.unusable:
        return unusable_html(page, draft, preflight.unusable, problem)
    done = remedies_html(page, draft["data"], preflight.report.remedied if preflight.report else {}, preflight.report)
    if preflight.dataset is None:
        return reading_html(page) or (note(page.say(problem), "bad") + again(page) if problem else "") + done
    data, found = preflight.dataset, preflight.report
    labelled = labelled_rows(found, len(data.train))
    pairs = [
        (
            page.t("Format"),
            ", ".join(part for part in (page.t(TITLES.get(data.format, data.format)), data.encoding) if part),
        ),
        (page.t("Shape"), page.say(SHAPES[data.mapping.shape])),
        (page.t("Rows in the file"), f"{data.counts.rows:,}"),
        (page.t("Used for training"), f"{labelled:,}"),
        (page.t("Validation rows"), f"{len(data.validation):,}"),
        *length_facts(page, preflight),
    ]
    skipped = sum(data.counts.skipped.values()) + len(data.train) - labelled
    text = (
        chip(page.t("{count} {count:row|rows} not used", count=f"{skipped:,}"), "warn")
        if skipped
        else chip(page.t("all rows usable"), "good")
    )
    if not skipped and found.blocking:
        text = chip(page.t("cannot be trained on as it is"), "bad")
    head = f'<div class="run-head"><h3>{e(data.title)}</h3>{text}</div>'
    histogram = "" if data.want == "image" else bars(page, found.lengths["tokens" if preflight.lengths else "words"])
    evidence = "".join(f"<li>{e(page.say(item))}</li>" for part in data.files for item in part.evidence)
    why = (
        f"<details><summary>{e(page.t('How this was recognised'))}</summary><ul>{evidence}</ul></details>"
        if evidence
        else ""
    )
    wrong = note(page.say(problem), "bad") if problem else ""
    limit = preflight.recipe.training.max_length
    return (
        head
        + wrong
        + facts(pairs)
        + histogram
        + done
        + findings_html(page, found.findings, longest(preflight), limit, draft["data"].get("remedies", {}))
        + why
    )


def unusable_html(page: Page, draft: dict, found: NothingUsable, problem: Sentence | None) -> str:
    """Return the report of a dataset without any usable row: the reasons, and the available remedies."""
    counts = found.counts
    chips = chip(page.t("{count} {count:row|rows} not used", count=f"{counts.rows:,}"), "bad")
    pairs = [(page.t("Rows in the file"), f"{counts.rows:,}"), (page.t("Used for training"), "0")]
    findings = problem_findings(found.problems)
    done = remedies_html(page, draft["data"], found.remedied)
    return (
        f'<div class="run-head">{chips}</div>'
        + note(page.say(problem or found.sentence), "bad")
        + facts(pairs)
        + done
        + findings_html(page, by_level(findings), 0, 0, draft["data"].get("remedies", {}))
        + again(page)
    )


def labelled_rows(found: Report, rows: int) -> int:
    """Estimate how many of `rows` training rows have tokens to train on, extrapolated from the tokenised rows.

    Rows that a remedy or the chat template leaves out, and rows without labelled tokens, are not counted.
    """
    if not found.looked:
        return rows
    bare = sum(item.count for item in found.findings if item.kind == "nothing")
    return round(rows * (found.lengths["tokens"].measured - bare) / found.looked)


def length_facts(page: Page, preflight: Preflight) -> list[tuple[str, str]]:
    lengths, rows, limit = preflight.lengths, preflight.rows, preflight.recipe.training.max_length
    if not lengths:
        return []
    cut, tokens = (
        sum(length > limit for length in lengths),
        round(preflight.report.tokens * len(preflight.dataset.train) / preflight.report.looked),
    )
    if len(lengths) < rows:
        return [
            (
                page.t("Tokens in all"),
                page.t("about {count}, from {checked} rows", count=number(float(tokens)), checked=f"{len(lengths):,}"),
            ),
            (
                page.t("Rows cut at {limit} tokens", limit=limit),
                page.t("about {count}", count=f"{round(cut * rows / len(lengths)):,}"),
            ),
        ]
    return [
        (page.t("Tokens in all"), f"{tokens:,}"),
        (page.t("Longest row"), page.t("{count} tokens", count=f"{preflight.report.lengths['tokens'].largest:,}")),
        (page.t("Rows cut at {limit} tokens", limit=limit), f"{cut:,}"),
    ]


def longest(preflight: Preflight) -> int:
    """Return the max sequence length in tokens at which no tokenised row would be truncated.

    Limited to the model's context length; 0 if that is not above the current max sequence length.
    """
    context = preflight.shape.context if preflight.shape else 0
    most = min(max(preflight.lengths or [0]), context)
    return most if most > preflight.recipe.training.max_length else 0


def reading_html(page: Page) -> str:
    """Return the progress of reading a large file with a Stop button; "" if no file is being read."""
    reading = page.editor.datasets.in_progress()
    if not reading:
        return ""
    message = page.t("Reading the data: {rows} rows so far.", rows=f"{reading.rows:,}")
    return (
        f'<p class="progress-words" role="status">{e(message)} '
        f"{button(page.t('Stop'), 'stop-reading', kind='danger')}</p>"
    )


def again(page: Page) -> str:
    """Return a "Read again" button if a reading was stopped or failed, else ""."""
    return button(page.t("Read again"), "read-again") if page.editor.datasets.ended() else ""


def remedies_html(page: Page, spec: dict, remedied: dict[str, int], found: Report | None = None) -> str:
    """Return the applied remedies, each with an Undo button.

    Built from the draft rather than the report, so that a remedy that removes every row can still be undone.
    """
    rows = []
    for kind, action in spec.get("remedies", {}).items():
        if action not in REMEDIES.get(kind, {}):
            continue
        count = remedied.get(kind, 0)
        words = (
            page.t("{count} of {checked} {checked:row|rows} looked at", count=f"{count:,}", checked=f"{found.looked:,}")
            if count and found and kind == "long"
            else page.t("{count} {count:row|rows}", count=f"{count:,}")
        )
        text = f" {chip(words, 'good')}" if count else ""
        undo = button(page.t("Undo"), "undo", kind, says=page.t("Undo: {what}", what=page.say(REMEDIES[kind][action])))
        rows.append(
            f"<li><strong>{e(page.say(KINDS[kind]))}:</strong> {e(page.say(REMEDIES[kind][action]))}{text} {undo}</li>"
        )
    if not rows:
        return ""
    return (
        f'<h4>{e(page.t("What is done about it"))}</h4><ul class="findings remedies">{"".join(rows)}</ul>'
        f'<p class="help">{e(page.t("The file itself stays as it is."))}</p>'
    )


def bars(page: Page, found: Histogram) -> str:
    """Return a histogram as bars, with its quantiles in a caption that screen readers can read."""
    most = max(found.counts) or 1
    unit = page.t(found.unit)
    columns = "".join(
        (
            f'<span style="height:{max(2 if count else 0, 100 * count / most):.0f}%" title="{low}–{high} {e(unit)}: '
            f'{count}"></span>'
        )
        for count, low, high in zip(found.counts, found.edges, found.edges[1:], strict=False)
    )
    message = page.t(
        "Lengths: half of the rows have up to {median} {unit}, 95 % up to {p95}, the longest {largest}.",
        median=found.median,
        unit=unit,
        p95=found.p95,
        largest=found.largest,
    )
    return (
        f'<figure class="histogram"><div class="bars" aria-hidden="true">{columns}</div><figcaption>{e(message)}'
        "</figcaption></figure>"
    )


def findings_html(
    page: Page, findings: list[Finding], longest: int, limit: int, chosen: dict[str, str] | None = None
) -> str:
    """Return the findings, each with its count, first line numbers and remedies.

    Remedies in `chosen` (finding kind → action) are applied already and not offered again. `longest` and `limit` are in
    tokens: the max sequence length that can be offered, and the current one.
    """
    if not findings:
        return note(page.t("No problems found."), "good")
    rows = []
    for item in findings[:_FINDINGS_SHOWN]:
        named = [
            f"{file}:{line}" if file else str(line)
            for file, line in zip(item.files or [""] * len(item.lines), item.lines, strict=True)
            if line
        ]
        shown = named[: 4 if item.files else 12]
        where = (
            (
                ' <span class="lines">'
                f"{e(page.t('{count:line|lines} {lines}', count=len(shown), lines=', '.join(shown)))}</span>"
            )
            if shown
            else ""
        )
        ways = [
            button(page.say(text), "remedy", f"{item.kind}:{action}")
            for action, text in item.remedies.items()
            if (chosen or {}).get(item.kind) != action
        ]
        if item.kind in ("long", "still_long", "nothing") and longest > limit:
            ways.insert(
                0,
                button(
                    page.t("Raise Max sequence length to {length} tokens", length=f"{longest:,}"), "raise", str(longest)
                ),
            )
        ways += [
            button(page.t("Use {template}", template=TEMPLATES[name]), "template", name) for name in item.templates
        ]
        wrong = f' <span class="ways">{"".join(ways)}</span>' if ways else ""
        rows.append(
            f'<li class="{e(item.level)}">{chip(f"{item.count:,}", _CHIPS[item.level])} <strong>'
            f"{e(page.say(item.title))}.</strong> {e(page.say(item.sentence))}{where}{wrong}</li>"
        )
    return f'<h4>{e(page.t("What was found"))}</h4><ul class="findings">{"".join(rows)}</ul>'


def preview_html(page: Page, preflight: Preflight) -> str:
    if preflight.report is None:
        return note(page.t("The first rows appear here once the data can be read."))
    if preflight.dataset and preflight.dataset.want == "image":
        return thumbnails_html(page, preflight.dataset)
    found = preflight.report.preview
    return table(
        [page.t("Line"), *found.columns],
        [[str(line), *row] for line, row in zip(found.numbers[:12], found.rows[:12], strict=True)],
    )


def thumbnails_html(page: Page, data: Dataset) -> str:
    """Return training images with their classes, evenly spaced over the training set to show every class."""
    shown = [data.train[at] for at in range(0, len(data.train), max(1, -(-len(data.train) // _THUMBNAILS)))]
    figures = []
    for record in shown:
        try:
            picture = open_picture(record.value["image"])
        except StudioError as error:
            figures.append(note(page.say(error.sentence), "warn"))
            continue
        picture.thumbnail((96, 96))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=80)
        source = base64.b64encode(file.getvalue()).decode()
        figures.append(
            f'<figure><img src="data:image/jpeg;base64,{source}" alt="{e(title_of(record.value["image"]))}">'
            f"<figcaption>{e(record.value['label'])}</figcaption></figure>"
        )
    caption = page.t(
        "{shown} of {count} training pictures, with their classes.", shown=len(shown), count=f"{len(data.train):,}"
    )
    return f'<p class="help">{e(caption)}</p><div class="thumbnails">{"".join(figures)}</div>'


def files_html(page: Page, draft: dict, data: Dataset | None) -> str:
    """Return the files of a mixture as a table: rows used, weight, rows per epoch, and a Remove button."""
    spec = draft["data"]
    if not spec.get("more"):
        return (
            '<p class="help">'
            f"{e(page.t('Other files can be mixed in; each has its own columns and its own weight.'))}</p>"
        )
    body = []
    for index, file in enumerate([spec, *spec["more"]]):
        part = data.parts[index] if data and index < len(data.parts) else None
        name = part.name if part else file["source"]
        told = f"{part.counts.used:,} / {part.counts.rows:,}" if part else "–"
        remove = button(
            page.t("Remove"), "remove-file", str(index), kind="danger", says=page.t("Remove {name}", name=name)
        )
        body.append(
            f"<tr><td>{e(name)}</td><td>{e(told)}</td><td>× {e(number(float(file.get('weight') or 1)))}</td><td>"
            f"{e(f'{part.drawn:,}' if part else '–')}</td><td>{remove}</td></tr>"
        )
    head = "".join(
        f'<th scope="col">{e(page.t(text))}</th>' for text in ("File", "Rows used", "Weight", "Rows in an epoch")
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="plain files"><thead><tr>{head}<th></th></tr></thead><tbody>'
        f"{''.join(body)}</tbody></table></div>"
    )
