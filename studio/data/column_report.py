"""Findings on the columns of a dataset: unused columns and answers, weights on non-assistant turns, media."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from studio.data.cells import as_text
from studio.data.dataset import Dataset
from studio.data.findings import EXAMPLES, Finding, lines_of, once, places
from studio.data.fingerprints import MEDIA_MARKS
from studio.data.reading import Part
from studio.data.records import Records
from studio.data.records import texts as texts_of
from studio.data.row_cells import normal
from studio.data.splitting import FLAGS
from studio.words import Sentence

LOOKED_AT = 2000  # records checked at most, spaced evenly over the data
_GRADES = {
    *("score", "rating", "quality", "reward", "grade", "helpfulness", "correctness", "feedback", "user_feedback"),
    *("human_feedback", "helpful", "correct", "is_correct", "preferred", "overall_score", "response_quality", "stars"),
}
_NAMED = 40  # column names per sentence at most
_KEYS = 20  # keys of messages per sentence at most
_JUDGES = re.compile(
    r"(?:^|_)(?:rating|score|label|feedback|reward|grade|ignore|no_loss|train\w*|loss|masked|mask|weight)s?(?:$|_)"
)
"""Normalised keys of messages that may say how good a message is, or whether it is to be trained on."""


def column_findings(dataset: Dataset) -> list[Finding]:
    """All findings of this module, except `media` for image classification, which uses the pictures."""
    return [
        *unused_columns(dataset),
        *unused_keys(dataset),
        *grades_unused(dataset),
        *marked_questions(dataset),
        *rejected_answers(dataset),
        *(media(dataset) if dataset.want != "image" else []),
    ]


def unused_columns(dataset: Dataset) -> list[Finding]:
    """The columns of each file that are assigned to no role."""
    several = len(dataset.files) > 1
    return [_unused(part, several) for part in dataset.files if part.unused]


def _unused(part: Part, several: bool) -> Finding:
    # columns with much text or media first
    names = sorted(part.unused, key=lambda name: name not in part.has_substance)
    listed = ", ".join(map(str, names[:_NAMED])) + (", …" if len(names) > _NAMED else "")
    values = {"columns": listed, "name": part.name, "count": len(names)}
    if several:
        told = Sentence("{count:This column|These columns} of {name} {count:is|are} not used: {columns}.", **values)
    else:
        told = Sentence("{count:This column|These columns} {count:is|are} not used: {columns}.", **values)
    # media columns are covered by the finding of `media`
    texts = [str(name) for name in part.has_substance if name not in part.media]
    if not texts:
        return Finding("unused", "warning" if part.media else "info", told, len(names), [])
    sentence = Sentence(
        "{told} {columns} {count:holds|hold} more than short notes; to train on it, choose the column "
        "under Which column plays which role.",
        told=told,
        columns=", ".join(texts[:_NAMED]),
        count=len(texts),
    )
    return Finding("unused", "warning", sentence, len(names), [])


def unused_keys(dataset: Dataset) -> list[Finding]:
    """The keys of messages that are not read, by file; a warning if one may say what is to be trained on."""
    found = []
    for part in dataset.files:
        keys = part.unread_keys.most_common()
        if not keys:
            continue
        judging = [(key, count) for key, count in keys if _judges(key)]
        keys = [*judging, *(pair for pair in keys if pair not in judging)]
        listed = _counted(keys[:_KEYS])
        if len(keys) > _KEYS:
            listed = Sentence("{name}, {more}", name=listed, more="…")
        told = Sentence("Keys of messages in {name} that are not used: {keys}.", name=part.name, keys=listed)
        if judging:
            told = Sentence(
                "{told} {keys} {count:seems|seem} to say how good a message is or whether to train on it, which is "
                "not obeyed. Remove the rows or messages that are not to be trained on.",
                told=told,
                keys=", ".join(key[:40] for key, _ in judging[:_KEYS]),
                count=len(judging),
            )
        found.append(Finding("unused_keys", "warning" if judging else "info", told, len(keys), []))
    return found


def _judges(key: str) -> bool:
    name = normal(key.rpartition(".")[2])
    return name in _GRADES or bool(_JUDGES.search(name))


def _counted(keys: list[tuple[str, int]]) -> Sentence:
    """The first keys, each with the number of messages that have it."""
    (key, count), rest = keys[0], keys[1:]
    told = Sentence("{key} ({count} {count:message|messages})", key=key[:40], count=count)
    if key == "name":
        told = Sentence(
            "{key} ({count} {count:message|messages}, unless the chat template writes it)", key=key, count=count
        )
    return Sentence("{name}, {more}", name=told, more=_counted(rest)) if rest else told


def grades_unused(dataset: Dataset) -> list[Finding]:
    """Files for chat with an unused column that seems to say how good each answer is."""
    found = []
    for part in dataset.files if dataset.want == "messages" else []:
        names = [name for name in part.unused if normal(name) in _GRADES and _differs(part, name)]
        if names and part.mapping.shape != "label":
            sentence = Sentence(
                "{columns} of {name} {count:seems|seem} to say how good each answer is, which is not used: good and "
                "bad answers are trained on alike. Remove the rows with bad answers first.",
                columns=", ".join(map(str, names[:_NAMED])),
                name=part.name,
                count=len(names),
            )
            found.append(Finding("grades", "warning", sentence, len(names), []))
    return found


def _differs(part: Part, column: str) -> bool:
    """Whether the first rows have more than one value in `column`."""
    return len({as_text(row.values.get(column)) for row in part.preview} - {""}) > 1


def marked_questions(dataset: Dataset) -> list[Finding]:
    """Rows with a loss weight above 0 on turns other than the assistant's, which Chat trains on only if set to."""
    if dataset.want != "messages":
        return []
    looked = dataset.train[:: max(1, -(-len(dataset.train) // LOOKED_AT))]
    marked = [
        (record.number, record.file)
        for record in looked
        if any(turn.get("weight", 0) > 0 and turn["role"] != "assistant" for turn in record.value["messages"])
    ]
    if not marked:
        return []
    sentence = Sentence(
        "{count} of {checked} {checked:row|rows} looked at {count:marks|mark} words of a user, of a tool or of a "
        "system text to be trained on, but only answers are. To train on the others too, choose "
        "Questions and answers under Train on.",
        count=len(marked),
        checked=len(looked),
    )
    return [Finding("marked", "warning", sentence, len(marked), *places(marked))]


def rejected_answers(dataset: Dataset) -> list[Finding]:
    """Files with preferences or rankings that are used for chat, which trains on the preferred answers only."""
    found = []
    for part in dataset.files if dataset.want == "messages" else []:
        if part.mapping.shape in ("preference", "ranked"):
            roles = part.mapping.roles
            column = roles.get("rejected") or roles.get("answers")
            column = "', '".join((roles["chosen"], column)) if "better" in roles else column
            sentence = Sentence(
                "Chat trains only on the better answers of {name}; the worse ones in '{column}' are left aside. To "
                "train on both, choose Preferences.",
                name=part.name,
                column=column,
            )
            found.append(Finding("worse", "info", sentence, part.counts.used, []))
    return found


def media(dataset: Dataset) -> list[Finding]:
    """Images, audio and video, found by placeholders in the texts and by columns that hold media."""
    records = [once(dataset.train), dataset.validation]
    flagged = [own.marks("flags") & FLAGS["media"] > 0 for own in records]
    count, rows = sum(int(which.sum()) for which in flagged), sum(map(len, records))
    columns = list(dict.fromkeys(str(name) for part in dataset.files for name in part.media))
    if count:
        return [_marked(dataset, records, flagged, count, rows, columns)]
    if not columns:
        return []
    sentence = Sentence(
        "{count:Column|Columns} {columns} {count:holds|hold} pictures, sound or video, which cannot be trained on "
        "here: the model sees the words alone. Use these rows only if the words make "
        "sense without them.",
        columns=", ".join(columns[:_NAMED]),
        count=len(columns),
    )
    return [Finding("media", "warning", sentence, rows, [], actions=())]


def _marked(
    dataset: Dataset, records: list[Records], flagged: list[np.ndarray], count: int, rows: int, columns: list[str]
) -> Finding:
    """Finding on `count` of `rows` records with media placeholders; blocks the run if every training row has one."""
    first, which = next((own, which) for own, which in zip(records, flagged, strict=True) if which.any())
    lines, _, files = lines_of(dataset, first, which)
    marks = Counter(
        found[0]
        for record in Records(first.store, first.indices[which][:EXAMPLES])
        for text in texts_of(record.value)
        for found in MEDIA_MARKS.finditer(text)
    )
    values = {"marks": ", ".join(mark for mark, _ in marks.most_common(4)), "count": count, "rows": rows}
    if flagged[0].all():
        sentence = Sentence(
            "Every training row has a mark that stands for a picture, a sound or a video ({marks}, in {count} "
            "{count:row|rows}). These cannot be trained on here, so the model would learn to answer without what the "
            "question is about. Choose other data; if the words make sense alone, take the "
            "marks out.",
            **values,
        )
        return Finding("media", "block", sentence, count, lines, files, actions=("trim",))
    sentence = Sentence(
        "{count} of {rows} {rows:row|rows} {count:has|have} a mark that stands for a picture, a sound or a video "
        "({marks}). These cannot be trained on here; the model sees the words alone.",
        **values,
    )
    return Finding("media", "warning" if columns or 2 * count > rows else "info", sentence, count, lines, files)
