"""Small inputs of each kind that people bring, and the reading that each must get: shape, roles, records, labelled
tokens, findings.

A case is a folder with `case.yaml` and its input file. Keys of `case.yaml`, all but `input` optional:

    input: file name                task: options of the task, {name: chat} if not given
    template: a lent chat template  folder: files of the model folder that differ from the starter's, name → text
    shape, roles: what is proposed  record: keys and values that the first training record has
    records: how many are used      skipped: kind → rows that are not used
    labelled: the labelled parts of the first training record, in order, over all its examples, special tokens included
    weights: the loss weight of each of those parts
    not_labelled: texts that stand in no labelled part  prompt: text before the first labelled part
    findings: kind → level          unused: columns that the page names as not used
    unused_keys: key of messages that the page names as not used → messages that have it
    refused: words of the sentence with which the data is refused
"""

from __future__ import annotations

import json
import shutil
from itertools import groupby
from pathlib import Path

import pytest
import yaml

from studio.data.dataset import load
from studio.data.read import open_source
from studio.data.report import report
from studio.data.shape import propose
from studio.data.token_report import count_tokens, with_tokens
from studio.home import STARTER
from studio.models.chat_tokenizer import ChatTokenizer
from studio.recipe import recipe_from
from studio.tasks import IGNORED
from studio.words import StudioError

HERE = Path(__file__).parent
KEYS = {
    *("input", "task", "template", "folder", "shape", "roles", "record", "records", "skipped", "refused"),
    *("labelled", "weights", "not_labelled", "prompt", "findings", "unused", "unused_keys"),
}
CASES = sorted(path.parent.name for path in HERE.glob("*/case.yaml"))


def model_folder(case: dict, folder: Path) -> Path:
    """The starter's tokenizer with what the case says is different."""
    folder.mkdir()
    for name in (
        "tokenizer.json",
        "tokenizer_config.json",
        "config.json",
        "generation_config.json",
        "chat_template.jinja",
    ):
        shutil.copyfile(STARTER / name, folder / name)
    for name, text in case.get("folder", {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def labelled_parts(examples, tokenizer: ChatTokenizer) -> list[tuple[str, float, str]]:
    """(text, loss weight, text before it) of each run of labelled tokens of one weight."""
    found = []
    for example in (row for part in examples for row in part.sequences):
        weights = example.weights or [1.0] * len(example.ids)
        keys = [0.0 if label == IGNORED else weight for label, weight in zip(example.labels, weights, strict=True)]
        at = 0
        for weight, run in groupby(keys):
            length = len(list(run))
            if weight:
                found.append(
                    (
                        tokenizer.decode(example.ids[at : at + length], keep_special_tokens=True),
                        weight,
                        tokenizer.decode(example.ids[:at], keep_special_tokens=True),
                    )
                )
            at += length
    return found


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, tmp_path: Path):
    case = yaml.safe_load((HERE / name / "case.yaml").read_text(encoding="utf-8"))
    assert not case.keys() - KEYS  # a key that nothing reads would check nothing
    path = HERE / name / case["input"]
    recipe = recipe_from(
        {
            "task": case.get("task", {"name": "chat"}),
            "model": {"template": case.get("template", "own")},
            "data": {"source": str(path), "validation_fraction": 0},
            "training": {"max_length": 100_000},
        }
    )
    if "shape" in case or "roles" in case:
        mapping = propose(open_source(path)).mapping
        assert (mapping.shape, mapping.roles) == (case.get("shape", mapping.shape), case.get("roles", mapping.roles))
    if "refused" in case:
        with pytest.raises(StudioError) as refusal:
            load(recipe.data, want=recipe.task.record_kind)
        assert case["refused"] in str(refusal.value)
        return
    dataset = load(recipe.data, want=recipe.task.record_kind, separator=recipe.task.label_separator)
    record = dataset.train[0].value
    tokenizer = ChatTokenizer(model_folder(case, tmp_path / "model"), recipe.model.template)
    for key, value in case.get("record", {}).items():
        assert record[key] == value, json.dumps(record[key], ensure_ascii=False)
    if "records" in case:
        assert dataset.counts.used == case["records"]
    assert dataset.counts.skipped == case.get("skipped", {})
    if "labelled" in case:
        parts = labelled_parts(recipe.task.encode(record, tokenizer, 100_000), tokenizer)
        assert [text for text, _, _ in parts] == case["labelled"]
        assert [weight for _, weight, _ in parts] == case.get("weights", [1.0] * len(parts))
        assert not [text for text in case.get("not_labelled", []) if any(text in part for part, _, _ in parts)]
        if "prompt" in case:
            assert case["prompt"] in parts[0][2]
    tokens = count_tokens(
        dataset,
        lambda value: recipe.task.token_counts(value, tokenizer),
        unseen=lambda value: recipe.task.drops_content(value, tokenizer),
    )
    found = {finding.kind: finding for finding in with_tokens(report(dataset), tokens, 100_000).findings}
    for kind, level in case.get("findings", {}).items():
        assert kind in found and found[kind].level == level, {
            kind: str(finding.sentence) for kind, finding in found.items()
        }
    if "unused" in case:
        assert [column for part in dataset.files for column in part.unused] == case["unused"]
    if "unused_keys" in case:
        assert dataset.files[0].unread_keys == case["unused_keys"]
