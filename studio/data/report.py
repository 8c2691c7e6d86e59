"""Build the report that the Data tab shows for a dataset: counts, length histograms, findings and a preview table.

Each check is a function of the dataset. Checks use the per-record statistics computed while reading
(`fingerprints.py`), so a million rows take a moment. Independent of models; findings that need token counts are in
`token_report.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from studio.data.cells import as_text
from studio.data.column_report import column_findings
from studio.data.dataset import Dataset
from studio.data.findings import Finding, by_level, lines_of, once, places
from studio.data.fingerprints import EMAIL, KEY
from studio.data.label_report import imbalance, label_counts, label_spellings, unknown_labels
from studio.data.languages import LANGUAGES, language_of
from studio.data.mapping import Mapping
from studio.data.records import texts
from studio.data.rows import Counts, Problems, Row
from studio.data.splitting import FLAGS, duplicate_rows, near_duplicate_rows
from studio.data.validation_report import validation_findings
from studio.words import Sentence

LISTENED = 2000
"""Maximum number of records whose language is detected; larger datasets are sampled evenly."""
_BINS = 24


@dataclass
class Histogram:
    """Histogram of the lengths of the training records.

    edges: bins + 1 values, the last bin extends to the maximum; counts: records per bin; measured: number of records
    measured.
    """

    unit: str
    edges: list[int]
    counts: list[int]
    measured: int
    smallest: int
    median: int
    p95: int
    largest: int
    mean: float
    total: int


@dataclass
class Table:
    """Rows as in the file, with shortened cells. numbers: line number of each row."""

    columns: list[str]
    rows: list[list[str]]
    numbers: list[int]


@dataclass
class Report:
    """All results for one dataset.

    lengths: "characters", "words" and, if a tokenizer is given, "tokens" → histogram; labels: label → rows; remedied:
    remedy → rows that it changed, moved or removed; looked: training rows whose tokens were counted; tokens: sum of
    their tokens.
    """

    title: str
    format: str
    encoding: str | None
    unit: str
    mapping: Mapping
    evidence: list[Sentence]
    counts: Counts
    validation_counts: Counts | None
    train: int
    validation: int
    lengths: dict[str, Histogram]
    labels: dict[str, int]
    findings: list[Finding]
    preview: Table
    remedied: dict[str, int]
    looked: int = 0
    tokens: int = 0

    @property
    def blocking(self) -> Sentence | None:
        """Reason why training on this data would be useless; None if there is none."""
        return next((finding.sentence for finding in self.findings if finding.level == "block"), None)


def report(dataset: Dataset, preview_rows: int = 20) -> Report:
    """Run all checks that need no model, using the per-record statistics computed while reading."""
    train = dataset.train
    findings = [
        *problem_findings(dataset.problems),
        *column_findings(dataset),
        *all_the_same(dataset),
        *duplicates(dataset),
        *(near_duplicates(dataset) if dataset.want != "image" else []),
        *validation_findings(dataset),
        *odd_characters(dataset),
        *secrets(dataset),
        *label_spellings(dataset),
        *imbalance(dataset),
        *unknown_labels(dataset),
        *languages(dataset),
    ]
    lengths = {
        "characters": histogram(train.marks("characters"), "characters"),
        "words": histogram(train.marks("words"), "words"),
    }
    return Report(
        dataset.title,
        dataset.format,
        dataset.encoding,
        dataset.unit,
        dataset.mapping,
        dataset.evidence,
        dataset.counts,
        dataset.validation_counts,
        len(dataset.train),
        len(dataset.validation),
        lengths,
        label_counts(dataset),
        by_level(findings),
        table(dataset.columns, dataset.preview[:preview_rows]),
        dataset.remedied,
    )


def table(columns: list[str], rows: Iterable[Row], width: int = 120) -> Table:
    """Format rows as short strings for display."""
    rows = list(rows)
    return Table(
        list(columns),
        [[short(row.values.get(name), width) for name in columns] for row in rows],
        [row.number for row in rows],
    )


def short(value: object, width: int = 120) -> str:
    """Format a cell on one line of at most `width` characters, truncated with "…".

    Bytes are shown as their size, simple conversations as "user: … · assistant: …".
    """
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    text = (_conversation(value) or as_text(value))[: 4 * width + 4].replace("\n", " ⏎ ").replace("\udcff", "\ufffd")
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= width else text[: width - 1] + "…"


def _conversation(value: object) -> str:
    """One-line text of a list of turns that have only a speaker and a text; "" for any other value."""
    if not isinstance(value, list) or not value:
        return ""
    for role, words in (("role", "content"), ("from", "value")):
        if all(
            isinstance(turn, dict)
            and turn.keys() == {role, words}
            and isinstance(turn[role], str)
            and isinstance(turn[words], str)
            for turn in value
        ):
            return " · ".join(f"{turn[role]}: {turn[words]}" for turn in value)
    return ""


def histogram(values: Sequence[int] | np.ndarray, unit: str) -> Histogram:
    """Histogram with bins of equal width up to the 99th percentile; the last bin includes all larger values."""
    if not len(values):
        return Histogram(unit, [0, 1], [0], 0, 0, 0, 0, 0, 0.0, 0)
    data = np.asarray(values)
    low, high = int(data.min()), int(np.percentile(data, 99)) + 1
    edges = np.unique(np.linspace(low, max(high, low + 1), _BINS + 1).astype(int))
    counts, _ = np.histogram(np.minimum(data, edges[-1]), bins=edges)
    edges[-1] = max(int(edges[-1]), int(data.max()))
    return Histogram(
        unit,
        edges.tolist(),
        counts.tolist(),
        len(values),
        low,
        int(np.median(data)),
        int(np.percentile(data, 95)),
        int(data.max()),
        float(data.mean()),
        int(data.sum()),
    )


def problem_findings(problems: Problems) -> list[Finding]:
    """Problems reported while loading, one finding per level and kind."""
    totals = {"error": problems.errors, "warning": problems.warnings}
    groups: dict[tuple[str, str], list] = {}
    for problem in problems:
        groups.setdefault((problem.level, problem.kind), []).append(problem)
    found = []
    for (level, kind), members in groups.items():
        count, first = totals[level][kind], members[0]
        if level == "error":
            more = Sentence("{count} rows are left out. The first: {reason}", count=count, reason=first.sentence)
            sentence = Sentence("1 row is left out: {reason}", reason=first.sentence) if count == 1 else more
        else:
            sentence = (
                first.sentence
                if count == 1
                else Sentence("{count} times: {reason}", count=count, reason=first.sentence)
            )
        found.append(
            Finding(kind, level, sentence, count, *places((problem.line, problem.file) for problem in members))
        )
    return found


def all_the_same(dataset: Dataset) -> list[Finding]:
    """Finding if there are two or more training rows and all are identical."""
    records = once(dataset.train)
    count = len(records)
    if count < 2 or len(np.unique(records.digests)) > 1:
        return []
    sentence = Sentence(
        "All {count} training rows are the same, so there is only one thing to learn. Choose the right columns, "
        "or another file.",
        count=count,
    )
    lines, _, files = lines_of(dataset, records, np.ones(count, bool))
    return [Finding("same_all", "block", sentence, count, lines, files)]


def duplicates(dataset: Dataset) -> list[Finding]:
    """Training rows that equal an earlier one."""
    records = once(dataset.train)
    again = duplicate_rows(records)
    count = int(again.sum())
    if not count:
        return []
    lines, first, files = lines_of(dataset, records, again)
    sentence = Sentence(
        "{count} {count:row repeats|rows repeat} an earlier row exactly, first in {unit} {line}. {count:It is|They "
        "are} trained on more than once; remove {count:it|them} unless you mean it.",
        count=count,
        **first,
    )
    return [Finding("duplicate", "warning", sentence, count, lines, files)]


def near_duplicates(dataset: Dataset) -> list[Finding]:
    """Training rows that share most of their shingles with an earlier one (Jaccard similarity of at least `ALIKE`)."""
    if dataset.want == "image":  # images have no text to compare
        return []
    again, complete = near_duplicate_rows(dataset.train)
    if not len(again):
        return []
    lines, first, files = lines_of(dataset, dataset.train, again)
    if complete:
        sentence = Sentence(
            "{count} {count:row is|rows are} nearly the same as an earlier row (seven tenths of the text or more), "
            "first in {unit} {line}.",
            count=len(again),
            **first,
        )
    else:
        sentence = Sentence(
            "At least {count} {count:row is|rows are} nearly the same as an earlier row (seven tenths of the text or "
            "more), first in {unit} {line}; "
            "not all could be compared.",
            count=len(again),
            **first,
        )
    return [Finding("near_duplicate", "warning", sentence, len(again), lines, files)]


ODD = {
    "control": "{count} {count:row holds|rows hold} control characters, which cannot be seen but are trained on, first "
    "in "
    "{unit} {line}. Clean the text.",
    "mojibake": "{count} {count:row holds|rows hold} garbled characters (like Ã© for é), first in {unit} {line}. "
    "Save the file again as UTF-8 from its source.",
}


def odd_characters(dataset: Dataset) -> list[Finding]:
    """Rows with control characters, or with text that was decoded with the wrong encoding."""
    found = []
    for kind, text in ODD.items():
        flagged = [
            (records, records.marks("flags") & FLAGS[kind] > 0) for records in (once(dataset.train), dataset.validation)
        ]
        count = sum(int(which.sum()) for _, which in flagged)
        if count:
            lines, first, files = next(lines_of(dataset, records, which) for records, which in flagged if which.any())
            found.append(Finding(kind, "warning", Sentence(text, count=count, **first), count, lines, files))
    return found


def secrets(dataset: Dataset) -> list[Finding]:
    """Rows with keys or e-mail addresses, which a model may memorise and reveal."""
    records = once(dataset.train)
    flags = records.marks("flags")
    which = flags & FLAGS["secret"] > 0
    count = int(which.sum())
    if not count:
        return []
    lines, first, files = lines_of(dataset, records, which)
    sentence = Sentence(
        "{emails} {emails:row holds|rows hold} an e-mail address and {keys} {keys:row|rows} something like a key, "
        "first in {unit} {line}. The model may memorise them and reveal them to others.",
        emails=int((flags & EMAIL > 0).sum()),
        keys=int((flags & KEY > 0).sum()),
        **first,
    )
    return [Finding("secret", "warning", sentence, count, lines, files)]


def languages(dataset: Dataset) -> list[Finding]:
    """Detected languages, if at least 20 rows were sampled and they are in more than one language."""
    step = max(1, -(-len(dataset.train) // LISTENED))
    looked = [
        (record.number, record.file, language_of("\n".join(texts(record.value)))) for record in dataset.train[::step]
    ]
    counts = Counter(code for *_, code in looked if code)
    if len(looked) < 20 or len(counts) < 2:
        return []
    main, most = counts.most_common(1)[0]
    others = [(number, file) for number, file, code in looked if code not in (main, "")]
    sentence = Sentence(
        "{main} in {most} of {checked} rows looked at, then {mix}. This goes by script and small words only, so "
        "single rows may be judged wrongly.",
        main=LANGUAGES[main],
        most=most,
        checked=len(looked),
        mix=_listed([(LANGUAGES[code], count) for code, count in counts.most_common()[1:6]]),
    )
    return [Finding("language", "info", sentence, len(others), *places(others), actions=(main,))]


def _listed(pairs: list[tuple[Sentence, int]]) -> Sentence:
    (name, count), *rest = pairs
    if not rest:
        return Sentence("{name} ({count})", name=name, count=count)
    return Sentence("{name} ({count}), {more}", name=name, count=count, more=_listed(rest))
