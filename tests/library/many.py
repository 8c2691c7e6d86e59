"""A library of many adapters for tests and measurements: rows with cards like those of real runs, and tiny folders."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
from safetensors.numpy import save

from studio.home import Home
from studio.methods import METHODS
from studio.recipe import Recipe
from studio.store import Store

_METHODS = ("lora", "dora", "ia3", "vera", "lokr")
_BASES = ("starter", "Qwen/Qwen3-0.6B", "meta-llama/Llama-3.2-1B", "/models/a local folder/my model")
_TAGS = ("good", "for review", "customer", "old")
LONG = "An adapter whose name is as long as a name can be, so that nothing on the page may break when it is shown on it"


def fill(home: Home, store: Store, count: int, seed: int = 0) -> list[str]:
    """Add `count` adapters to the library; returns their ids, oldest first. Every third has a run with curves."""
    draw = random.Random(seed)
    ids = []
    with store.transaction():
        for at in range(count):
            adapter = f"adapter-{at:04d}"
            folder = home.adapter(adapter)
            folder.mkdir()
            files = {"adapter_config.json": _config(8).encode(), "adapter_model.safetensors": _weights(at % 4)}
            for name, data in files.items():
                (folder / name).write_bytes(data)
            store.add_adapter(adapter, LONG if at % 10 == 1 else f"Adapter {at}", adapter, card(at, draw))
            if at % 3 == 0 or at > count - 3:
                for step in range(1, 31):
                    store.add_metrics(adapter, step, {"loss": 3 / (step + draw.random())})
            ids.append(adapter)
    return ids


def card(at: int, draw: random.Random) -> dict:
    """The card of a run number `at`, of a realistic size."""
    name = _METHODS[at % len(_METHODS)]
    method = METHODS[name]()
    base = _BASES[at % 7 % len(_BASES)]
    recipe = Recipe(method=method, model={"name": base}).to_dict()
    recipe["training"]["learning_rate"] = draw.choice([1e-4, 2e-4, 5e-4])
    exact = round(draw.random(), 4)
    return {
        "kind": "adapter",
        "method": name,
        "summary": method.summary(),
        "artefact_type": method.artefact_type,
        "base": base,
        "revision": None,
        "task": "chat" if at % 5 else "text",
        "data": f"data-{at % 12}.jsonl",
        "rows": 400,
        "metrics": {
            "exact_match": exact,
            "base_exact_match": 0.0,
            "eval_loss": round(2 - exact, 4),
            "base_eval_loss": 3.1,
            "intervals": {
                "exact_match": {"base": [0.0, 0.05], "fine_tuned": [max(0, exact - 0.1), min(1, exact + 0.1)]}
            },
        }
        if at % 4
        else {},
        "parameters": 10_000 + at,
        "seconds": 40.0,
        "recipe": recipe,
        "finished": "2026-11-27T12:00:00+00:00",
        "bytes": 1000 + at,
        "overrides_template": False,
        "tags": sorted({draw.choice(_TAGS) for _ in range(at % 3)}),
    }


def _config(rank: int) -> str:
    return f'{{"peft_type": "LORA", "r": {rank}, "lora_alpha": 16, "base_model_name_or_path": "starter"}}'


@cache
def _weights(seed: int) -> bytes:
    draw = np.random.default_rng(seed)
    tensors = {}
    for layer in range(4):
        place = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{place}.lora_A.weight"] = draw.normal(size=(8, 16)).astype(np.float32)
        tensors[f"{place}.lora_B.weight"] = draw.normal(size=(16, 8)).astype(np.float32)
    return save(tensors)
