"""What the suite and the probes work with: each method laid over the starter, a little batch, and a few honest steps.

A method that builds on other adapters says in `NEEDS` which; they are fine-tuned once and belong to the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from studio.home import STARTER
from studio.library import adapter_store
from studio.methods import METHODS, Method, Setting
from studio.models.load import load_base
from tests.training.runs import Runs, few

IDS = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3]])
# Methods that promise no base model at step 0, because what they put before the input cannot be nothing, or their
# shared vectors cannot.
STARTS_ELSEWHERE = {
    "fusion",
    "hybrid",
    "intrinsic_prompt",
    "loftq",
    "long_lora",
    "mam",
    "p_tuning",
    "p_tuning_v2",
    "prefix_tuning",
    "prompt_ensemble",
    "prompt_tuning",
    "s4",
    "unilora",
    "unipelt",
    "vblora",
}
# long_lora moves the positions; fusion's bank talks at once; loftq starts nearer to the whole model than its 4-bit
# base is


class TrainedAdapters:
    """Adapters that some methods build on, each fine-tuned once in `folder`."""

    def __init__(self, folder: Path):
        self.runs = Runs(folder)
        self._fine_tuned: dict[str, str] = {}

    def adapter(self, method: dict | str, data: str = "captain") -> str:
        """The id of an adapter fine-tuned with `method` on the sample `data`."""
        key = f"{method} {data}"
        if key not in self._fine_tuned:
            self._fine_tuned[key] = self.runs.start(method, data=few(data), learning_rate=5e-3)
        return self._fine_tuned[key]

    def folder(self, adapter: str) -> Path:
        return adapter_store.find(self.runs.home, self.runs.store, adapter)[0]


# Method → the options that it cannot do without, made with the trained adapters.
NEEDS: dict[str, Callable[[TrainedAdapters], dict]] = {
    "intrinsic_prompt": lambda adapters: {
        "prompts": [adapters.adapter("prompt_tuning"), adapters.adapter({"name": "prompt_tuning", "start": "random"})]
    },
    "fusion": lambda adapters: {"adapters": [adapters.adapter("adapter"), adapters.adapter("adapter", "extract")]},
}


def picture_needs(name: str, base: Path, folder: Path) -> dict:
    """Options that the method `name` cannot do without on the model for pictures in `base`; what it builds on is
    fine-tuned in `folder`."""
    if name != "fusion":
        return {}
    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = METHODS["adapter"]().wrap(
            load_base(base, head="image_classification", labels=["red", "green", "blue"]), Setting(task_type="SEQ_CLS")
        )
        pictures = {
            "pixel_values": torch.randn(4, 3, *[model.config.image_size] * 2),
            "labels": torch.tensor([0, 1, 2, 1]),
        }
        teach(model, METHODS["adapter"](), [pictures] * 2)
        model.save_pretrained(folder / str(seed))
        made.append(str(folder / str(seed)))
    return {"adapters": made}


def batches(count: int) -> list[dict]:
    """`count` batches of 4 rows of 12 tokens, the same ones each time."""
    drawn = torch.randint(4, 3000, (count, 4, 12), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": ids, "labels": ids.clone()} for ids in drawn]


def other_batches(count: int) -> list[dict]:
    """As `batches`, of other tokens."""
    return [{key: (ids + 1500) % 3000 + 4 for key, ids in batch.items()} for batch in batches(count)]


def made(name: str, adapters: TrainedAdapters | None = None) -> tuple[Method, Setting]:
    """The method `name` with options that work, and a setting as a run would give it."""
    options = NEEDS[name](adapters) if name in NEEDS else {}
    return METHODS[name](**options), Setting(
        total_steps=8, seed=0, base=STARTER, batches=batches, adapter=adapters.folder if adapters else None
    )


def wrapped(
    name: str,
    adapters: TrainedAdapters | None = None,
    base: torch.nn.Module | None = None,
    task_type: str = "CAUSAL_LM",
    drawn: Callable[[int], list[dict]] = batches,
    options: dict | None = None,
):
    """(method, setting, model): the method laid over `base`, or over the starter as the method wants it; with
    `options`, whose adapters are folders, over a model for pictures."""
    method, setting = (
        made(name, adapters)
        if options is None
        else (METHODS[name](**options), replace(made("lora")[1], base=Path(base.config._name_or_path), adapter=Path))
    )
    setting = replace(setting, task_type=task_type, batches=drawn)
    base = base if base is not None else load_base(STARTER, quantisation=method.quantisation or "none")
    torch.manual_seed(0)
    return method, setting, method.wrap(base, setting)


def labelled(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def moved(model: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of the parameters that are no longer as in `before`."""
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter.detach(), before[name])}


def teach(model: torch.nn.Module, method: Method, given: list[dict]) -> None:
    """An AdamW step on each of `given` (arguments of the model's forward, labels among them)."""
    optimizer = torch.optim.AdamW(labelled(model).values(), lr=min(0.03, 10 * method.learning_rate), weight_decay=0.0)
    model.train()
    for batch in given:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    model.eval()


@torch.no_grad()
def logits(model: torch.nn.Module, **given) -> torch.Tensor:
    return model.eval()(**(given or {"input_ids": IDS})).logits.float()
