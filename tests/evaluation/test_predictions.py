"""Figures, order, search, file and CSV of predictions."""

import csv
import io
import json
import subprocess
import sys

import pytest

from studio.evaluation import predictions
from studio.evaluation.predictions import Prediction, as_csv, read, sort_rows, summarise, write


def row(name: str, base: float, fine_tuned: float, exact: tuple[float, float] = (0, 0), **more) -> Prediction:
    return Prediction(
        f"question {name}",
        f"hoped {name}",
        f"base {name}",
        f"fine-tuned {name}",
        {"exact_match": exact, "token_f1": (base, fine_tuned)},
        **more,
    )


ROWS = [row("one", 0.2, 0.9), row("two", 0.1, 0.3), row("three", 0.5, 1.0, (0, 1)), row("four", 0.6, 0.4)]


def test_figures_of_both_models_with_intervals():
    found = summarise(ROWS)
    assert found["token_f1"] == pytest.approx(0.65) and found["base_token_f1"] == pytest.approx(0.35)
    assert found["exact_match"] == 0.25 and found["base_exact_match"] == 0
    for name in ("exact_match", "token_f1"):
        for who, value in (
            ("base", found[f"base_{name}"]),
            ("fine_tuned", found[name]),
            ("difference", found[name] - found[f"base_{name}"]),
        ):
            low, high = found["intervals"][name][who]
            assert low <= value <= high
    assert found["intervals"]["exact_match"]["base"][1] > 0.3  # none of four right may still be one of three
    assert summarise([]) == {}
    json.dumps(found)


def test_what_is_agreed_of_the_base_has_no_interval():
    """The reward accuracy before training is one half by definition, so the difference has the interval of the accuracy
    after training."""
    found = summarise([Prediction("q", "a", "", "", {"reward_accuracy": (0.5, float(at < 18))}) for at in range(20)])[
        "intervals"
    ]["reward_accuracy"]
    assert found["base"] is None and found["difference"] == pytest.approx([edge - 0.5 for edge in found["fine_tuned"]])
    same = summarise([Prediction("q", "a", "", "", {"margin": (1.5, 2.5)})] * 9)["intervals"]["margin"]
    assert same == {
        "base": None,
        "fine_tuned": None,
        "difference": None,
    }  # a margin has no bounds, and nothing was seen of how it varies


def names(rows) -> list[str]:
    return [item.prompt.split()[1] for item in rows]


def test_orders_and_search():
    assert names(sort_rows(ROWS)) == ["two", "four", "one", "three"]  # by exact match, then by words in common
    assert names(sort_rows(ROWS, "best")) == ["three", "one", "four", "two"]
    assert names(sort_rows(ROWS, "gained")) == ["three", "one", "two", "four"]
    assert names(sort_rows(ROWS, "lost")) == ["four", "two", "one", "three"]
    assert names(sort_rows(ROWS, "file")) == ["one", "two", "three", "four"]
    assert names(sort_rows(ROWS, "worst", "FINE-TUNED o")) == ["two", "four", "one", "three"]
    assert names(sort_rows(ROWS, "worst", "hoped four")) == ["four"]
    assert sort_rows([], "worst", "x") == []


def test_what_is_written_is_read_again(tmp_path):
    odd = [*ROWS, row("five", 0, 0, rejected='half a \ud83d character\n, "quotes"')]
    write(tmp_path, odd)
    assert read(tmp_path) == odd
    assert [path.name for path in tmp_path.iterdir()] == [predictions.FILE]
    assert read(tmp_path / "elsewhere") == []


def test_the_file_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "MOST_CHARACTERS", 100_000)
    write(tmp_path, [Prediction("p" * 50_000, "e" * 50_000, "b", "t", {"exact_match": (0, 1)})] * 100)
    assert (tmp_path / predictions.FILE).stat().st_size < 120_000
    kept = read(tmp_path)
    assert len(kept) == 100 and kept[0].prompt.endswith("p…") and kept[0].scores == {"exact_match": (0, 1)}


def test_csv_for_a_spreadsheet():
    text = as_csv(
        [row("one", 0.25, 1), Prediction("=1+1", "-3", "@x", "fine", {"exact_match": (0, 0), "token_f1": (0, 0)})]
    )
    head, first, second = csv.reader(io.StringIO(text))
    assert head == [
        "prompt",
        "expected",
        "base",
        "fine_tuned",
        "base_exact_match",
        "fine_tuned_exact_match",
        "base_token_f1",
        "fine_tuned_token_f1",
    ]
    assert first == ["question one", "hoped one", "base one", "fine-tuned one", "0", "0", "0.25", "1"]
    assert second[:4] == ["'=1+1", "'-3", "'@x", "fine"]
    assert next(csv.reader(io.StringIO(as_csv([row("one", 0, 0, rejected="worse")]))))[2] == "rejected"


def test_no_torch():
    code = "import sys, studio.evaluation.predictions, studio.evaluation.scores; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
