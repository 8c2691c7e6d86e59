"""The probes behind studio/methods/capabilities.json: each really does on the starter what its column says.

    python -m tests.methods.capabilities [--why] [METHOD …]      # writes the rows of these methods, or of all

A probe answers "yes" or the key of a reason in studio/methods/capabilities.py. --why also prints the errors behind
"raises".
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import convert_to_lora, get_peft_model, prepare_model_for_kbit_training, set_peft_model_state_dict
from peft.utils.hotswap import hotswap_adapter
from transformers import ViTConfig, ViTForImageClassification

from studio.home import STARTER
from studio.methods import METHODS
from studio.methods.capabilities import CAPABILITIES, FILE, YES
from studio.models.load import load_base
from studio.models.rope_scaling import apply_adapter
from studio.training.batches import flatten, pad
from studio.training.initial import load_adapter_weights
from tests.methods.method_cases import (
    TrainedAdapters,
    batches,
    labelled,
    logits,
    made,
    moved,
    other_batches,
    picture_needs,
    snapshot,
    teach,
    wrapped,
)

RANK = 64  # of the LoRA that a method's delta is turned into
LOST = 0.2  # share of the change of the logits that may be lost at that
# Share of the change of the logits by which it may differ between a quantised and a whole base (0.02–0.25 is usual).
MAX_DIFFERENCE = 0.5
SAME, SAME_GRADIENT = 1e-4, 1e-3  # largest difference of a logit; of a gradient, as a share of the largest


# What an error of the libraries means to a person.
_RAISED = {
    "nf4": "bits",
    "int8": "bits",
    "merge": "held",
    "hotswap": "type",
    "blend": "type",
    "convert": "shape",
    "continued": "start",
}
# Options where a method's own ones do not fit the little model for pictures, 64 wide.
_FOR_PICTURES: dict[str, dict] = {"c3a": {"block": 32}}


@cache
def bare(quantisation: str) -> torch.Tensor:
    """What the starter itself answers."""
    return logits(load_base(STARTER, quantisation=quantisation))


class Probes:
    """All probes of one method; what several need is made once. `folder` is the caller's to delete."""

    def __init__(self, name: str, adapters: TrainedAdapters, folder: Path):
        self.name, self.adapters, self.folder = name, adapters, folder
        self.method, self.setting = made(name, adapters)
        self.whole = self.method.artefact_type == "model"
        self.errors: dict[str, str] = {}

    def row(self) -> dict[str, str]:
        return {what: self.cell(what) for what in CAPABILITIES}

    def cell(self, what: str) -> str:
        """What the probe answers; where a library raises, what that means there. The error itself is kept in
        `errors`."""
        try:
            return getattr(self, what)()
        except Exception as error:
            self.errors[what] = f"{type(error).__name__}: {error}"[:300]
            if what == "image":
                return (
                    "wordless"
                    if self.method.virtual_token_count
                    else "length"
                    if self.name == "long_lora"
                    else "raises"
                )
            return _RAISED.get(what, "raises")  # no reason yet: find it out, and put it among the REASONS

    # ---- learning ---------------------------------------------------------------------------------------------

    def nf4(self) -> str:
        return self._quantised("nf4")

    def int8(self) -> str:
        return self._quantised("int8")

    def _quantised(self, kind: str) -> str:
        if self.whole:
            return "whole"
        if self.method.quantisation not in (None, kind):
            return "own"
        method, model, change = self._laid(
            prepare_model_for_kbit_training(load_base(STARTER, quantisation=kind), use_gradient_checkpointing=False)
        )
        if self.method.quantisation is None and change > 2 * self._laid(load_base(STARTER))[2] + 1:
            return "differs"  # HRA, say, takes the packed bytes of 8-bit weights for the weights
        teach(model, method, batches(2))
        logits(model)  # an evaluation, after which 4-bit layers may have lost their gradients
        before = snapshot(model)
        teach(model, method, batches(3))
        if moved(model, before) != set(labelled(model)):
            return "still"
        method.save(model, self._empty(kind))
        again = apply_adapter(load_base(STARTER, quantisation=kind), self.folder / kind)
        if (logits(again) - logits(model)).abs().max() >= 0.05:
            return "reload"
        return YES if self.method.quantisation or self._same_lesson(again, kind) else "differs"

    def _same_lesson(self, model: torch.nn.Module, kind: str) -> bool:
        """Whether what was trained over a quantised base changes the whole one in the same way. PEANuT, say, uses the
        packed bytes of 8-bit weights."""
        quantised, whole = (
            logits(laid)[:, -bare(which).shape[1] :] - bare(which)
            for laid, which in ((model, kind), (apply_adapter(load_base(STARTER), self.folder / kind), "none"))
        )
        return bool((whole - quantised).norm() <= MAX_DIFFERENCE * quantised.norm())

    def _laid(self, base: torch.nn.Module):
        """(method, model, by how much laying the method over `base` changes a logit before anything is trained)."""
        bare = logits(base)
        method, _, model = wrapped(self.name, self.adapters, base)
        return method, model, (logits(model)[:, -bare.shape[1] :] - bare).abs().max().item()

    def gradient_checkpointing(self) -> str:
        model = self._fine_tuned[0]
        plain = self._gradients(model)
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
        try:
            again = self._gradients(model)
        finally:
            model.gradient_checkpointing_disable()
        return (
            YES
            if all(
                (again[name] - plain[name]).abs().max() <= SAME_GRADIENT * plain[name].abs().max() + 1e-8
                for name in plain
            )
            else "differs"
        )

    def _gradients(self, model) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model.train().zero_grad()
        model(**batches(1)[0], use_cache=False).loss.backward()
        return {name: parameter.grad.clone() for name, parameter in labelled(model).items()}

    @torch.no_grad()
    def packing(self) -> str:
        model = self._fine_tuned[0].eval()
        rows = [
            {"input_ids": ids.tolist(), "labels": ids.tolist()}
            for ids, width in zip(batches(1)[0]["input_ids"], (12, 5, 9, 7), strict=True)
            for ids in [ids[:width]]
        ]
        packed, padded = self._loss(model, flatten(rows)), self._loss(model, pad(rows, 0))
        return YES if abs(packed - padded) <= SAME * padded else "differs"

    def _loss(self, model, batch: dict) -> float:
        virtual = getattr(self.method, "virtual_tokens", 0) if self.method.prompt_learning else 0
        labels = batch.pop("labels")
        found = model(**batch, use_cache=False).logits[:, virtual:]
        return F.cross_entropy(found[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum").item()

    # ---- other heads ------------------------------------------------------------------------------------------

    def classification(self) -> str:
        return self._headed(STARTER, "text_classification", {"input_ids": batches(1)[0]["input_ids"]})

    def image(self) -> str:
        torch.manual_seed(0)
        config = ViTConfig(
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            image_size=16,
            patch_size=8,
            num_labels=3,
        )
        ViTForImageClassification(config).save_pretrained(tiny := self._empty("vit"))
        return self._headed(
            tiny,
            "image_classification",
            {"pixel_values": torch.randn(4, 3, 16, 16)},
            _FOR_PICTURES.get(self.name, {}) | picture_needs(self.name, tiny, self._empty("bank")),
        )

    def _headed(self, folder: Path, head: str, given: dict, options: dict | None = None) -> str:
        """Does it learn under a head for classes, and does what is saved bring the head along?"""
        if self.method.words_only:
            return "words"

        def load(place):
            return load_base(
                place, quantisation=self.method.quantisation or "none", head=head, labels=["red", "green", "blue"]
            )

        batch = {**given, "labels": torch.tensor([0, 1, 2, 1])}
        method, _, model = wrapped(
            self.name,
            self.adapters,
            load(folder),
            task_type="SEQ_CLS",
            drawn=lambda count: [batch] * count,
            options=options,
        )
        before = snapshot(model)
        teach(model, method, [batch] * 4)
        if not any("score" in name or "classifier" in name for name in labelled(model)):
            return "head"
        if moved(model, before) != set(labelled(model)):
            return "still"
        saved = self._empty(head)
        if self.whole:
            model.save_pretrained(saved)
            again = load(saved)
        else:
            method.save(model, saved)
            fresh = load(folder)
            torch.nn.init.normal_(
                getattr(fresh, "score" if hasattr(fresh, "score") else "classifier").weight
            )  # another head than before
            again = apply_adapter(fresh, saved)
        return YES if (logits(again, **given) - logits(model, **given)).abs().max() < SAME else "reload"

    # ---- what becomes of the adapter --------------------------------------------------------------------------

    def merge(self) -> str:
        if self.whole:
            return "whole"
        model = self._fresh("one")
        if model.active_peft_config.is_prompt_learning:
            return "input"
        expected = logits(model)
        return (
            YES if (logits(model.merge_and_unload(safe_merge=True)) - expected).abs().max() < 10 * SAME else "differs"
        )

    def hotswap(self) -> str:
        if self.whole:
            return "whole"
        model, expected = self._fresh("one"), logits(self._fresh("two"))
        hotswap_adapter(model, str(self.folder / "two"), "default")
        return YES if (logits(model) - expected).abs().max() < SAME else "differs"

    def blend(self) -> str:
        if self.whole:
            return "whole"
        model = self._fresh("one")
        expected = logits(model)
        model.load_adapter(str(self.folder / "two"), adapter_name="two")
        way = {"combination_type": "linear"} if model.active_peft_config.peft_type == "LORA" else {}
        model.add_weighted_adapter(["default", "two"], [1.0, 0.0], "mix", **way)
        model.set_adapter("mix")
        return YES if (logits(model) - expected).abs().max() < SAME else "differs"

    def convert(self) -> str:
        if self.whole:
            return "whole"
        model = self._fresh("one")
        config = model.active_peft_config
        if config.is_prompt_learning:
            return "input"
        if config.peft_type == "LORA" and not config.use_dora:
            return "already"
        base, fine_tuned = bare("none"), logits(model)
        converted, weights = convert_to_lora(model, rank=RANK)
        lora = get_peft_model(load_base(STARTER), converted)
        set_peft_model_state_dict(lora, weights)
        return YES if (logits(lora) - fine_tuned).norm() <= LOST * (fine_tuned - base).norm() else "lossy"

    def continued(self) -> str:
        """Does the method, laid over the base anew with another seed and other data, take up the saved weights, start
        where they ended, and go on learning in all of them?"""
        if self.whole:
            return "whole"
        _ = self._fine_tuned
        base = load_base(STARTER, quantisation=self.method.quantisation or "none")
        expected = logits(apply_adapter(base, self.folder / "one"))
        method, model = self._laid_elsewhere()
        load_adapter_weights(model, self.folder / "one", self.name)
        found = logits(model)
        if found.shape != expected.shape or (found - expected).abs().max() >= SAME:
            return "start"
        before = snapshot(model)
        teach(model, method, other_batches(4))
        return YES if moved(model, before) == set(labelled(model)) else "still"

    def _laid_elsewhere(self):
        """(method, model): the method over the starter, as a run with another seed and other data lays it."""
        method, setting = made(self.name, self.adapters)
        base = load_base(STARTER, quantisation=method.quantisation or "none")
        torch.manual_seed(1)
        return method, method.wrap(base, replace(setting, seed=1, batches=other_batches))

    @cached_property
    def _fine_tuned(self):
        """The model after a few steps; its artefact lies in one/, and in two/ that of some steps more."""
        method, _, model = wrapped(self.name, self.adapters)
        teach(model, method, batches(3))
        if not self.whole:
            method.save(model, self._empty("one"))
            teach(model, method, batches(5)[3:])
            method.save(model, self._empty("two"))
        return model, method

    def _fresh(self, which: str):
        """The artefact over a new base in 32 bit, as any merge or exchange begins."""
        _ = self._fine_tuned
        return apply_adapter(load_base(STARTER), self.folder / which)

    def _empty(self, name: str) -> Path:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir()
        return self.folder / name


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.methods.capabilities", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="METHOD", help="default: all")
    parser.add_argument("--why", action="store_true", help="print the errors behind 'raises'")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    with tempfile.TemporaryDirectory(prefix="capabilities-") as folder:
        adapters = TrainedAdapters(Path(folder) / "home")
        for name in options.names or METHODS:
            (place := Path(folder) / name).mkdir()
            probes = Probes(name, adapters, place)
            table[name] = probes.row()
            print(name, *(f"{what}={value}" for what, value in table[name].items()))
            for what, error in probes.errors.items() if options.why else ():
                print(f"    {what}: {error}")
            shutil.rmtree(place)
            FILE.write_text(
                "{\n"
                + ",\n".join(f" {json.dumps(key)}: {json.dumps(table[key])}" for key in METHODS if key in table)
                + "\n}\n",
                encoding="utf-8",
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
