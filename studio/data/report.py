"""What the Data tab shows of a dataset: counts, lengths, findings with line numbers, and the first rows as a table.

A check is a class with `see` (called for every record) and `findings`; adding one to `CHECKS` is all it takes. Knows
nothing about models: token lengths come from an `encode` that is handed in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from studio.data.dataset import Counts, Dataset
from studio.data.mapping import Mapping
from studio.data.records import Record, texts
from studio.data.rows import KINDS, Row
from studio.data.turns import as_text
from studio.words import Sentence

EXAMPLES = 20
"""Line numbers given for each finding."""
ENCODED = 2000
"""Records that are encoded to learn their length in tokens; more are sampled evenly."""
_BINS = 24


@dataclass
class Finding:
    """One thing to know about the data. count: rows it is about; lines: the first of them; file: where not the data's own."""

    kind: str
    level: str
    sentence: Sentence
    count: int
    lines: list[int]
    file: str = ""

    @property
    def title(self) -> Sentence:
        return KINDS[self.kind]


@dataclass
class Histogram:
    """Lengths of the training records. edges: bins + 1 values, the last bin reaches to the maximum; counts: per bin;
    measured: how many records were looked at."""

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
    """Rows as they stand in the file, cut short. numbers: line of each row."""

    columns: list[str]
    rows: list[list[str]]
    numbers: list[int]


@dataclass
class Report:
    """All of it. lengths: "characters", "words" and, with an encoder, "tokens" → histogram; labels: label → rows."""

    title: str
    format: str
    encoding: str | None
    unit: str
    mapping: Mapping
    evidence: list[Sentence]
    counts: Counts
    heldout_counts: Counts | None
    train: int
    heldout: int
    lengths: dict[str, Histogram]
    labels: dict[str, int]
    findings: list[Finding]
    preview: Table
    notes: list[Sentence] = field(default_factory=list)


def report(
    dataset: Dataset, encode: Callable[[dict], int] | None = None, max_length: int | None = None, preview_rows: int = 20,
) -> Report:
    """Looks at every record once. encode: record value → its length in tokens; max_length: tokens that training keeps
    of a row, to find the rows it would cut."""
    checks = [check(dataset) for check in CHECKS]
    characters, words = [], []
    for part in ("train", "heldout"):
        for record in getattr(dataset, part):
            found = texts(record.value)
            if part == "train":
                characters.append(sum(map(len, found)))
                words.append(sum(map(count_words, found)))
            for check in checks:
                check.see(record, found, part)
    findings = [*_from_problems(dataset), *duplicates(dataset), *prompt_leakage(dataset)]
    for check in checks:
        findings += check.findings()
    lengths = {"characters": histogram(characters, "characters"), "words": histogram(words, "words")}
    if encode:
        sizes, numbers = _token_lengths(dataset, encode)
        lengths["tokens"] = histogram(sizes, "tokens")
        findings += too_long(sizes, numbers, max_length)
    findings.sort(key=lambda finding: (finding.level != "error", -finding.count))
    labels = next((dict(check.counts.most_common()) for check in checks if isinstance(check, Labels)), {})
    return Report(
        dataset.title, dataset.format, dataset.encoding, dataset.unit, dataset.mapping, dataset.evidence, dataset.counts,
        dataset.heldout_counts, len(dataset.train), len(dataset.heldout), lengths, labels, findings,
        table(dataset.columns, dataset.preview[:preview_rows]),
    )


def table(columns: list[str], rows: Iterable[Row], width: int = 120) -> Table:
    """Rows as short strings for showing, one list per row."""
    rows = list(rows)
    return Table(list(columns), [[short(row.values.get(name), width) for name in columns] for row in rows], [row.number for row in rows])


def short(value: object, width: int = 120) -> str:
    """A cell on one line, cut with "…"; bytes as their size."""
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    text = as_text(value)[: 4 * width + 4].replace("\n", " ⏎ ").replace("\udcff", "\ufffd")
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= width else text[: width - 1] + "…"


_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]+")


def count_words(text: str) -> int:
    """Words by white space; in scripts without spaces every character counts as one."""
    return len(text.split()) if text.isascii() else len(_WORD.findall(text))


def histogram(values: list[int], unit: str) -> Histogram:
    """Bins of equal width up to the 99th percentile; what lies above falls into the last one."""
    if not values:
        return Histogram(unit, [0, 1], [0], 0, 0, 0, 0, 0, 0.0, 0)
    data = np.asarray(values)
    low, high = int(data.min()), int(np.percentile(data, 99)) + 1
    edges = np.unique(np.linspace(low, max(high, low + 1), _BINS + 1).astype(int))
    counts, _ = np.histogram(np.minimum(data, edges[-1]), bins=edges)
    edges[-1] = max(int(edges[-1]), int(data.max()))
    return Histogram(
        unit, edges.tolist(), counts.tolist(), len(values), low, int(np.median(data)), int(np.percentile(data, 95)), int(data.max()),
        float(data.mean()), int(data.sum()),
    )


def _from_problems(dataset: Dataset) -> list[Finding]:
    """The problems met while loading, one finding for each kind and file."""
    totals = {"error": dataset.problems.errors, "warning": dataset.problems.warnings}
    groups: dict[tuple[str, str], list] = {}
    for problem in dataset.problems:
        groups.setdefault((problem.level, problem.kind), []).append(problem)
    found = []
    for (level, kind), members in groups.items():
        count, first = totals[level][kind], members[0]
        if count == 1:
            sentence = first.sentence
        elif level == "error":
            sentence = Sentence("{count} rows are not used. The first: {reason}", count=count, reason=first.sentence)
        else:
            sentence = Sentence("{count} times: {reason}", count=count, reason=first.sentence)
        found.append(Finding(kind, level, sentence, count, [problem.line for problem in members[:EXAMPLES]], first.file))
    return found


def duplicates(dataset: Dataset) -> list[Finding]:
    """Training rows whose record already stood further up."""
    digests, numbers = dataset.train.digests, dataset.train.numbers
    _, first = np.unique(digests, return_index=True)
    again = np.ones(len(digests), dtype=bool)
    again[first] = False
    count = int(again.sum())
    if not count:
        return []
    lines = [int(number) for number in numbers[again][:EXAMPLES]]
    sentence = Sentence(
        "{count} rows repeat an earlier row exactly, first in {unit} {line}. They are learnt more than once; remove them unless you mean it.",
        count=count, unit=Sentence(dataset.unit), line=lines[0],
    )
    return [Finding("duplicate", "warning", sentence, count, lines)]


def prompt_leakage(dataset: Dataset) -> list[Finding]:
    """Held-out rows that ask what a training row asks (with another answer)."""
    same = np.isin(dataset.heldout.inputs, dataset.train.inputs)
    count = int(same.sum())
    if not count or dataset.want == "text":
        return []
    lines = [int(number) for number in dataset.heldout.numbers[same][:EXAMPLES]]
    sentence = Sentence(
        "{count} held-out rows ask what a training row also asks, first in {unit} {line}. The measured quality will be too good for them.",
        count=count, unit=Sentence(dataset.unit), line=lines[0],
    )
    return [Finding("prompt_leakage", "warning", sentence, count, lines)]


def _token_lengths(dataset: Dataset, encode: Callable[[dict], int]) -> tuple[list[int], list[int]]:
    step = max(1, -(-len(dataset.train) // ENCODED))
    sizes, numbers = [], []
    for record in dataset.train[::step]:
        sizes.append(int(encode(record.value)))
        numbers.append(record.number)
    return sizes, numbers


def too_long(sizes: list[int], numbers: list[int], max_length: int | None) -> list[Finding]:
    """Rows of which training would cut the end."""
    over = [index for index, size in enumerate(sizes) if max_length and size > max_length]
    if not over:
        return []
    cut = sum(sizes[index] - max_length for index in over)
    sentence = Sentence(
        "{count} of {checked} rows looked at are longer than {limit} tokens; {cut} tokens would be cut off. Raise the length, or shorten them.",
        count=len(over), checked=len(sizes), limit=max_length, cut=cut,
    )
    return [Finding("long", "warning", sentence, len(over), [numbers[index] for index in over[:EXAMPLES]])]


class Characters:
    """Control characters, and text that was once decoded with the wrong encoding."""

    CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
    MOJIBAKE = re.compile("\ufffd|[ÃÂ][\u0080-\u00bf]|â€|ï»¿|ï¿½|ðŸ|锟斤")
    SENTENCES = {
        "control": "{count} rows hold control characters, which cannot be seen but are learnt, first in {unit} {line}. Clean the text.",
        "mojibake": "{count} rows hold garbled characters (like Ã© for é), first in {unit} {line}. Save the file again as UTF-8 from its source.",
    }

    def __init__(self, dataset: Dataset):
        self.unit = dataset.unit
        self.lines: dict[str, list[int]] = {"control": [], "mojibake": []}
        self.counts: Counter[str] = Counter()

    def see(self, record: Record, found: list[str], part: str) -> None:
        for text in found:
            if not text.isascii() and self.MOJIBAKE.search(text):
                self._note("mojibake", record)
                break
        for text in found:
            if not text.isprintable() and self.CONTROL.search(text):
                self._note("control", record)
                break

    def _note(self, kind: str, record: Record) -> None:
        self.counts[kind] += 1
        if len(self.lines[kind]) < EXAMPLES:
            self.lines[kind].append(record.number)

    def findings(self) -> list[Finding]:
        return [
            Finding(kind, "warning", Sentence(self.SENTENCES[kind], count=count, unit=Sentence(self.unit), line=self.lines[kind][0]),
                    count, self.lines[kind])
            for kind, count in self.counts.items()
        ]


class Labels:
    """How often each label occurs, where the data is text and label."""

    RATIO = 10
    """From here the rarest label is called out of balance with the most frequent one."""

    def __init__(self, dataset: Dataset):
        self.labelled = dataset.mapping.shape == "label"
        self.counts: Counter[str] = Counter()
        self.first: dict[str, int] = {}

    def see(self, record: Record, found: list[str], part: str) -> None:
        if not self.labelled or part != "train":
            return
        label = record.value["label"] if "label" in record.value else record.value["messages"][-1]["content"]
        for name in label if isinstance(label, list) else [label]:
            self.counts[name] += 1
            self.first.setdefault(name, record.number)

    def findings(self) -> list[Finding]:
        if not self.counts:
            return []
        if len(self.counts) == 1:
            name, count = self.counts.most_common(1)[0]
            sentence = Sentence("Every row has the label '{label}', so there is nothing to tell apart. Add rows with other labels.", label=name)
            return [Finding("imbalance", "warning", sentence, count, [self.first[name]])]
        (often, most), (rare, least) = self.counts.most_common()[0], self.counts.most_common()[-1]
        if most < self.RATIO * least:
            return []
        sentence = Sentence(
            "The label '{often}' has {most} rows, '{rare}' only {least}: the rare one will hardly be learnt. Add rows for it, or remove some of the others.",
            often=often, most=most, rare=rare, least=least,
        )
        return [Finding("imbalance", "warning", sentence, least, [self.first[rare]])]


CHECKS = (Characters, Labels)
"""Every class here is made with the dataset, sees each record (record, its texts, part) and says its findings."""
