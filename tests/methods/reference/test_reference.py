"""The studio teaches as plain peft and transformers do: the same losses, step by step, with the same data, order and
seed."""

import pytest
import torch

from studio.home import STARTER
from studio.methods import METHODS
from tests.methods.reference import plain
from tests.training.runs import QUIET, Runs, few

pytestmark = pytest.mark.slow
RATES = {"lora": 2e-3, "qlora": 2e-3, "prompt_tuning": 3e-2, "adalora": 1e-2}
OPTIONS = {"prompt_tuning": {"start": "random", "virtual_tokens": 20}}


def collate(rows: list[dict]) -> dict:
    """Padded on the right, with the attention mask that everybody else uses."""
    width = max(len(row["input_ids"]) for row in rows)

    def padded(key: str, value: int) -> torch.Tensor:
        return torch.tensor([row[key] + [value] * (width - len(row[key])) for row in rows])

    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows])
    return {"input_ids": padded("input_ids", 0), "labels": padded("labels", -100), "attention_mask": mask}


@pytest.mark.parametrize("method", plain.CONFIGS)
def test_twenty_steps_have_the_same_losses(method, tmp_path, monkeypatch):
    from studio.training import worker

    torch.set_num_threads(1)
    seen, build = {}, worker.build
    monkeypatch.setattr(worker, "build", lambda *args: seen.setdefault("trainer", build(*args)))
    runs = Runs(tmp_path / "home")
    run = runs.start(
        {"name": method, **OPTIONS.get(method, {})},
        data=few("captain", 64),
        max_steps=20,
        learning_rate=RATES[method],
        group_by_length=False,
        **QUIET,
        save_steps=1000,
    )
    rows = [{"input_ids": item.ids, "labels": item.labels} for item in seen["trainer"].train_dataset.encoded]
    expected = plain.losses(method, str(STARTER), rows, collate, str(tmp_path), RATES[method])
    found = runs.losses(run)
    assert METHODS[method].artefact_type == plain.CONFIGS[method].peft_type.value
    assert len(expected) == 20 and expected[-1] < expected[0]
    assert max(abs(found[step + 1] - loss) for step, loss in enumerate(expected)) < 1e-5, list(
        zip(found.values(), expected, strict=True)
    )
