"""Diff pruning: a sparse difference to the weights, selected by trainable gates."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.base import DEFAULT, Method, no_target
from studio.methods.targets import target_layers
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence


class DiffPruning(Method):
    """Learns a change for every weight together with a gate that may shut it off; only the few strongest changes are kept.

    Equation: W = W₀ + z ⊙ w, with z hard-concrete gates; loss + λ·E[share of open gates]; in the end the strongest t % stay
    Paper: Guo et al. 2021, Parameter-Efficient Transfer Learning with Diff Pruning, arXiv:2012.07463
    Good for: small files that change single weights anywhere, nearly as good as full fine-tuning; many tasks over one base.
    Cost: in training more memory than full fine-tuning, two parameters for each weight; the file holds the kept ones only, and merged it costs nothing in use.
    Limits: needs a learning rate ten times LoRA's and enough steps to tell the weights apart; on large models the memory is too much, choose LoRA there.
    """

    title: ClassVar[str] = "Diff pruning"
    family: ClassVar[str] = "selective"
    branch: ClassVar[str] = "unstructured mask"
    order: ClassVar[int] = 45
    artefact_type: ClassVar[str] = "SHIRA"
    learning_rate: ClassVar[float] = 2e-2

    name: Literal["diff_pruning"] = option("diff_pruning", "Method", "", hidden=True)
    kept: float = option(
        1.0,
        "Kept weights t",
        "How many of the weights may differ from the base in the end; the paper keeps 0.5 %.",
        unit="%",
        gt=0,
        le=20,
    )
    groups: Literal["none", "row", "matrix"] = option(
        "none",
        "Groups",
        "Numbers of one group share a second gate, so that whole groups can be shut off together (structured diff "
        "pruning).",
        labels={"none": "None (unstructured)", "row": "One for each row", "matrix": "One for each matrix"},
    )
    sparsity: float = option(
        10.0,
        "Price λ of open gates",
        "How strongly open gates are punished; more shuts them sooner.",
        ge=0,
        le=1000,
        advanced=True,
    )
    gate_rate: float = option(
        0.1,
        "Learning rate of the gates",
        "Gates learn much faster than weights; the paper uses 0.1.",
        gt=0,
        le=10,
        advanced=True,
    )
    settled: float = option(
        0.8,
        "Settled part",
        "Share of the run, at its end, in which the choice stands and only the kept weights go on learning.",
        unit="of the run",
        ge=0,
        le=0.9,
        advanced=True,
    )
    targets: str = option(
        "all-linear",
        "Target modules",
        "Which layers get a delta: all-linear, attention, or names like q_proj,v_proj.",
        min_length=1,
        advanced=True,
    )

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model

        from studio.tuners import DiffPruningConfig

        found = list(target_layers(model, self.targets, setting))
        return get_peft_model(
            model,
            DiffPruningConfig(
                task_type=setting.task_type, target_modules=found, kept=self.kept / 100, groups=self.groups
            ),
        )

    def optimizer(self, model, cls, arguments):
        labelled = {key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad}
        gates = [parameter for key, parameter in labelled.items() if ".diff_gate." in key or ".diff_group." in key]
        others = [
            parameter for key, parameter in labelled.items() if ".diff_gate." not in key and ".diff_group." not in key
        ]
        return cls([{"params": others}, {"params": gates, "lr": self.gate_rate, "weight_decay": 0.0}], **arguments)

    def callbacks(self, setting=DEFAULT):
        from transformers import TrainerCallback

        begin = round((1 - self.settled) * setting.total_steps)

        class Settle(TrainerCallback):
            """Fix the gates for the last steps of the run.

            `fix_gates` leaves fixed gates unchanged, so it may be called at each step and after a resume.
            """

            def on_step_begin(self, args, state, control, model=None, **kwargs):
                if state.global_step >= begin:
                    model.base_model.fix_gates("default")

        return [Settle()]

    def penalty(self, model):
        """λ times the expected fraction of open gates (Guo 2021, equation 3, there with the number of open gates)."""
        layers = list(model.base_model.layers().values())
        if not self.sparsity or layers[0].settled:
            return None
        return (
            self.sparsity
            * sum(layer.open_count("default") for layer in layers)
            / sum(layer.diff_gate["default"].numel() for layer in layers)
        )

    def save(self, model, folder):
        from studio.tuners.diff_pruning import save_as_shira

        save_as_shira(model, folder)

    def parameter_count(self, shape: Shape) -> int:
        """A difference and a gate for each weight, and a gate for each group (Guo 2021, §3.1 and §3.2).

        Only t % of the differences are saved.
        """
        groups = {"none": lambda rows: 0, "row": lambda rows: rows, "matrix": lambda rows: 1}[self.groups]
        return sum(2 * columns * rows + groups(rows) for columns, rows in shape.targets(self.targets).values())

    def refusal(self, shape, task, quantisation):
        if shape is not None and shape.transposed:
            return Sentence(
                "{method} does not fit {architecture}, whose layers are stored the other way round; choose LoRA.",
                method=Sentence(self.title),
                architecture=shape.architecture,
            )
        return no_target(shape, self.targets) or super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} t={self.kept:g} %"
