"""AdaLoRA: LoRA that allocates its rank budget to the layers by importance."""

from __future__ import annotations

import warnings
from typing import ClassVar, Literal

from pydantic import model_validator

from studio.methods.base import DEFAULT, Method, no_target
from studio.methods.targets import peft_targets
from studio.models.shape import Shape
from studio.options import InvalidOption, SearchRange, option

_NAME = "default"  # peft's name of the adapter being trained
_AVERAGES = ("exp_avg_ipt", "exp_avg_unc")


class AdaLoRA(Method):
    """LoRA that starts with more rank than it may keep and, while learning, takes it away where it matters least.

    Equation: h = W₀x + (α/r₀)·P·Λ·Q·x + γ·(‖PᵀP − I‖ + ‖QQᵀ − I‖) in the loss; the least important entries of Λ are set to 0
    Paper: Zhang et al. 2023, AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning, arXiv:2303.10512
    Good for: a fixed budget of rank that should go to the layers that need it; it also shows which layers those are.
    Cost: learns r₀ instead of r while it runs, and some time at each step for the importances and the penalty.
    Limits: needs some hundred steps to tell the layers apart (37 % in PEFT's own comparison, where LoRA had 48 %);
    a run that ends early or keeps its best checkpoint may end above its budget.
    """

    title: ClassVar[str] = "AdaLoRA"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 16
    artefact_type: ClassVar[str] = "ADALORA"
    learning_rate: ClassVar[float] = 1e-3

    name: Literal["adalora"] = option("adalora", "Method", "", hidden=True)
    rank: int = option(
        8,
        "Rank budget r",
        "Rank that each layer has on average at the end; some layers end with more, some with none.",
        ge=1,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    start_rank: int = option(
        12,
        "Starting rank r₀",
        "Rank that every layer has at the start; one and a half times the budget is usual.",
        ge=2,
        le=1024,
    )
    alpha: float = option(
        32,
        "Alpha α",
        "Strength of the delta: it is scaled by α/r₀.",
        gt=0,
        le=4096,
        search=SearchRange(factor=4, log=True),
    )
    dropout: float = option(
        0.0,
        "Dropout",
        "Share of the delta's inputs switched off at random while learning; 0.05–0.1 helps with little data.",
        ge=0,
        lt=1,
        search=SearchRange(0, 0.2),
    )
    targets: str = option(
        "all-linear",
        "Target modules",
        "Which layers get a delta: all-linear, attention, or names like q_proj,v_proj.",
        min_length=1,
        advanced=True,
    )
    before: float = option(
        0.1,
        "Before pruning",
        "Share of the run in which all ranks learn, before the first is taken away.",
        unit="of the run",
        ge=0,
        le=0.8,
        advanced=True,
    )
    after: float = option(
        0.3,
        "After pruning",
        "Share of the run in which the ranks that are left learn on undisturbed.",
        unit="of the run",
        ge=0,
        le=0.8,
        advanced=True,
    )
    every: int = option(
        1,
        "Prune every",
        "Steps between two looks at which ranks matter least.",
        unit="steps",
        ge=1,
        le=10_000,
        advanced=True,
    )
    orthogonality: float = option(
        0.1,
        "Orthogonality γ",
        "Weight of the penalty that keeps the directions of a delta apart from each other.",
        ge=0,
        le=10,
        advanced=True,
    )

    @model_validator(mode="after")
    def _fits(self):
        if self.start_rank <= self.rank:
            raise InvalidOption(
                "The starting rank ({start}) must be higher than the rank budget ({budget}), or there is nothing to "
                "take away.",
                start=self.start_rank,
                budget=self.rank,
            )
        if self.before + self.after > 0.9:
            raise InvalidOption(
                "'Before pruning' and 'After pruning' take {share:.0%} of the run together; leave at least 10 % for "
                "the pruning itself.",
                share=self.before + self.after,
            )
        return self

    def wrap(self, model, setting=DEFAULT):
        from peft import AdaLoraConfig, get_peft_model

        config = AdaLoraConfig(
            task_type=setting.task_type,
            target_r=self.rank,
            init_r=self.start_rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=peft_targets(self.targets, setting),
            total_step=setting.total_steps,
            tinit=int(self.before * setting.total_steps),
            tfinal=int(self.after * setting.total_steps),
            deltaT=self.every,
            orth_reg_weight=self.orthogonality,
        )
        return get_peft_model(model, config)

    def callbacks(self, setting=DEFAULT):
        from transformers import TrainerCallback

        class Allocate(TrainerCallback):
            """Let peft prune ranks: without this call AdaLoRA never prunes under Trainer, and gives no warning."""

            def on_optimizer_step(self, args, state, control, model=None, **kwargs):
                # The gradients are still available here. peft counts steps from 1 and prunes for the last time when it
                # reaches total − final.
                model.base_model.update_and_allocate(state.global_step + 1)

        return [Allocate()]

    def penalty(self, model):
        """Orthogonality regularisation: γ times the mean of ‖PᵀP − I‖ and ‖QQᵀ − I‖ over all matrices.

        peft adds the same term when the model computes its own loss.
        """
        import torch

        if not self.orthogonality:
            return None
        apart = []
        for name, matrix in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                product = matrix @ matrix.T if ".lora_A." in name else matrix.T @ matrix
                apart.append(
                    torch.linalg.norm(product - torch.eye(len(product), dtype=product.dtype, device=product.device))
                )
        return self.orthogonality * torch.stack(apart).mean()

    def state(self, model):
        """The moving averages of sensitivity and uncertainty, and the masks of the remaining ranks."""
        import torch

        allocator, pattern = model.base_model.rankallocator, model.peft_config[_NAME].rank_pattern or {}
        averages = {
            f"{which}:{name}": tensor for which in _AVERAGES for name, tensor in getattr(allocator, which).items()
        }
        return averages | {f"kept:{name}": torch.tensor(kept) for name, kept in pattern.items()}

    def load_state(self, model, state):
        allocator, device = model.base_model.rankallocator, next(model.parameters()).device
        found: dict[str, dict] = {which: {} for which in (*_AVERAGES, "kept")}
        for key, tensor in state.items():
            which, _, name = key.partition(":")
            found[which][name] = tensor.to(device)
        for which in _AVERAGES:
            setattr(allocator, which, found[which])
        # Recomputed at each step; but for names missing from it, peft would restart the averages at zero.
        allocator.ipt = dict(found[_AVERAGES[0]])
        model.peft_config[_NAME].rank_pattern = {name: kept.tolist() for name, kept in found["kept"].items()} or None

    def save(self, model, folder):
        """Save with the rank pattern of the parameters.

        It differs from the last pattern of the allocator after early stopping and when the best checkpoint is loaded.
        """
        pattern = {
            name: (tensor != 0).flatten().tolist()
            for name, tensor in model.base_model.model.named_parameters()
            if ".lora_E." in name
        }
        model.peft_config[_NAME].rank_pattern = pattern
        with warnings.catch_warnings():  # peft takes layers pruned to rank 0 for ungathered shards
            warnings.filterwarnings("ignore", message=".*have invalid shape")
            super().save(model, folder)

    def parameter_count(self, shape: Shape) -> int:
        """Σ r₀·(input + output + 1) over the target layers (Zhang 2023, §3.1); after pruning, r of r₀ remain."""
        return sum(self.start_rank * (rows + columns + 1) for rows, columns in shape.targets(self.targets).values())

    def refusal(self, shape, task, quantisation):
        return no_target(shape, self.targets) or super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} r={self.start_rank}→{self.rank}"
