"""PSOFT: rotate and scale the principal subspace of each weight."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.lora import write_lora
from studio.methods.saved_buffers import KeepsBuffers
from studio.methods.targets import Targeted
from studio.models.shape import Shape
from studio.options import SearchRange, option


class PSOFT(KeepsBuffers, Targeted):
    """Takes the strongest directions of each weight and learns only how to turn them among themselves and how to stretch them.

    Equation: W₀ ≈ B·A, the r strongest directions; ΔW = B·(diag(β)·R·diag(α) − I)·A, with R a rotation that is trained, and α and β too
    Paper: Wu et al. 2025, Efficient Orthogonal Fine-Tuning with Principal Subspace Adaptation, arXiv:2505.11235
    Good for: keeping what the model knows, as OFT does, with far less memory and time; small files.
    Cost: r·(r − 1)/2 + 2·r parameters a layer, whatever its width; a decomposition of every weight before the first step.
    Limits: not on 4- or 8-bit bases, whose weights cannot be decomposed; wants a higher learning rate than LoRA. Saved as a LoRA of rank r,
    because PSOFT's own file leaves the directions to be found again, and other machines find other signs.
    """

    title: ClassVar[str] = "PSOFT"
    family: ClassVar[str] = "reparameterised"
    order: ClassVar[int] = 53
    artefact_type: ClassVar[str] = "LORA"
    learning_rate: ClassVar[float] = 1e-3
    found: ClassVar[str] = "_psoft_"

    name: Literal["psoft"] = option("psoft", "Method", "", hidden=True)
    rank: int = option(
        32,
        "Rank r",
        "How many of the strongest directions are turned. More learns more; 32 to 128 is usual.",
        ge=2,
        le=512,
        search=SearchRange(2, 64, log=True),
    )
    rotation: bool = option(
        True,
        "Rotation only",
        "Turn the directions without bending them; off, any r × r matrix is trained, with twice the numbers.",
    )
    stretch: bool = option(
        True,
        "Stretch too",
        "Also learn how much each direction is stretched before and after it is turned.",
        advanced=True,
    )

    def config(self, setting):
        from peft import PsoftConfig

        return PsoftConfig(
            **self.placed(setting),
            r=self.rank,
            psoft_alpha=self.rank,
            psoft_orth=self.rotation,
            psoft_mag_a=self.stretch,
            psoft_mag_b=self.stretch,
        )

    def save(self, model, folder):
        """Save as stock LoRA of rank r, with A as found and B multiplied by R − I, scaling included."""
        import torch
        from peft import LoraConfig, get_peft_model_state_dict

        # What remains is a classification head, if there is one.
        tensors = {name: tensor for name, tensor in get_peft_model_state_dict(model).items() if ".psoft_" not in name}
        names = []
        for name, layer in model.base_model.model.named_modules():
            if "default" in getattr(layer, "psoft_R", ()):
                a, b = layer._get_psoft_ab_cache_buffers("default")
                turned = layer.psoft_R["default"].get_matrix().detach() - torch.eye(self.rank, device=a.device)
                tensors[f"base_model.model.{name}.lora_A.weight"], tensors[f"base_model.model.{name}.lora_B.weight"] = (
                    a,
                    b @ turned,
                )
                names.append(name)
        config = model.peft_config["default"]
        write_lora(
            LoraConfig(
                task_type=config.task_type,
                target_modules=names,
                r=self.rank,
                lora_alpha=self.rank,
                base_model_name_or_path=config.base_model_name_or_path,
                modules_to_save=config.modules_to_save,
            ),
            tensors,
            folder,
        )

    def parameter_count(self, shape: Shape) -> int:
        """r·(r − 1)/2 for the rotation (r² for a free matrix) and 2·r for the scaling of each layer (Wu 2025, §4)."""
        turned = self.rank * (self.rank - 1) // 2 if self.rotation else self.rank**2
        return len(self.sizes(shape)) * (turned + 2 * self.rank * self.stretch)

    def refusal(self, shape, task, quantisation):
        return self.rank_refusal(shape, "rank", 1) or super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} r={self.rank}"
