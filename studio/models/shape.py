"""The shape of a model, read from config.json and the headers of its safetensors files, without loading a weight.

`Shape` is the basis of the methods' parameter counts and of the forecast. Uses no torch.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from studio.models.folders import require_model_folder
from studio.models.model_types import model_types
from studio.models.stored_tensors import tensors_in_memory
from studio.words import StudioError

ATTENTION = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "qkv_proj",
    "query",
    "key",
    "value",
    "c_attn",
    "query_key_value",
    "out_proj",
)
# Tensors of layers that get no adapter: embeddings, norms, the head, and layers between it and the blocks.
_NOT_ADAPTED = (
    "embed",
    "wte",
    "wpe",
    "lm_head",
    "score",
    "classifier",
    "norm",
    "ln_",
    "pooler",
    "predictions",
    "vocab_transform",
    "vocab_projector",
)
# Modules of a mixture of experts. Their parent is the MLP, which transformers loads as a few large tensors, not as
# linear layers.
_ROUTED = ("experts", "router")
# Layer names that peft treats as experts in a mixture-of-experts model, wherever they are.
_TAKEN_FOR_EXPERTS = ("gate", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3")
# Prefixes of the tensors in multimodal models that do not process text: image and audio encoders, and MTP heads.
_NOT_TEXT = (
    "model.visual.",
    "model.vision_embedder.",
    "mtp.",
    "vision_model.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
    "multi_modal_projector.",
    "model.audio_tower.",
    "model.embed_vision.",
    "model.embed_audio.",
)
DEFAULTS = {
    "gemma3": {
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
    },
    "gpt_oss": {"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 131072},
    "llama4": {"num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 131072},
}
"""Model type → transformers' defaults for keys that config.json may omit, as that of Gemma 3 4B does."""
_TRANSPOSED = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")


@dataclass(frozen=True)
class Shape:
    """Sizes and tensors of a model.

    tensors: name in memory → shape, as stored: (output, input) for a linear layer, (input, output) if `transposed`.
    bytes: size of all tensors on disk. context: in tokens; for an image model the number of patches of a picture plus
    the class token. patch: side of a patch in pixels, 0 if there are none or it is unknown. active_expert_share: share
    of the experts that process a token; 1 without experts. stored_as: "mxfp4" if the experts are stored in 4 bits (with
    an 8-bit scale per 32 weights) and dequantised on loading, else ""; `tensors` has the dequantised shapes.
    """

    architecture: str
    model_type: str
    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    intermediate: int
    vocab_size: int
    context: int
    tied: bool
    bytes: int
    tensors: dict[str, tuple[int, ...]] = field(repr=False)
    patch: int = 0
    active_expert_share: float = 1.0
    stored_as: str = ""

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.tensors.values())

    @property
    def modality(self) -> str:
        """ "text" or "image": an image model has patch embeddings and no vocabulary."""
        return "image" if not self.vocab_size and any("patch_embed" in name for name in self.tensors) else "text"

    @property
    def has_learned_positions(self) -> bool:
        """Whether positions are looked up in a learned embedding table, so that the context cannot be exceeded."""
        return any(
            name.rpartition(".")[0].endswith(("wpe", "embed_positions", "embeddings.position_embeddings"))
            for name in self.tensors
        )

    @property
    def is_multimodal(self) -> bool:
        """Whether this is the text part of a multimodal model."""
        return any(name.startswith("model.language_model.") for name in self.tensors)

    @property
    def transposed(self) -> bool:
        """Whether the linear layers are Conv1D layers of transformers, which store their weights transposed."""
        return self.model_type in _TRANSPOSED

    @property
    def experts(self) -> set[str]:
        """Names of the modules that hold the experts of a mixture of experts ("mlp"); empty for dense models."""
        paths = [name.split(".") for name in self.tensors]
        found = [path[path.index(word) - 1 :] for path in paths for word in _ROUTED if word in path[1:]]
        # In Gemma 4 the parent of the experts is the block itself, whose name is its number.
        return {parent if not parent.isdigit() else word for parent, word, *_ in found}

    @property
    def fused(self) -> set[str]:
        """Names of the linear layers in state space mixers whose weights the kernels use directly, so that an adapter
        on them has no effect. Mixers (Mamba and related) are recognised by a tensor D next to A_log.
        """
        mixers = {
            name.rpartition(".")[0]
            for name in self.tensors
            if name.endswith(".A_log") and f"{name.removesuffix('A_log')}D" in self.tensors
        }
        return {
            f"{mixer}.{layer}"
            for mixer in mixers
            for layer in ("x_proj", "dt_proj", "out_proj")
            if f"{mixer}.{layer}.weight" in self.tensors
        }

    @property
    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """Name → (input, output) features of every linear layer in the blocks (peft's "all-linear"), without expert
        modules and without the `fused` layers.
        """
        routed, fused = self.experts, self.fused
        return {
            name.removesuffix(".weight"): shape if self.transposed else (shape[1], shape[0])
            for name, shape in self.tensors.items()
            if name.endswith(".weight")
            and len(shape) == 2
            and not any(word in name.lower() for word in _NOT_ADAPTED)
            and name.removesuffix(".weight") not in fused
            and not (routed and (routed & set(name.split(".")) or name.split(".")[-2] in _TAKEN_FOR_EXPERTS))
        }

    @property
    def active_weights(self) -> float:
        """Number of weights in the matrices of the blocks that are used for each token."""
        routed = self.experts
        inside = sum(math.prod(size) for name, size in self.tensors.items() if routed & set(name.split(".")))
        return sum(rows * columns for rows, columns in self.linear_layers.values()) + self.active_expert_share * inside

    def targets(self, which: str) -> dict[str, tuple[int, int]]:
        """The linear layers selected by `which`: "all-linear", "attention", or comma-separated last names
        ("q_proj,v_proj").
        """
        names = target_names(which)
        return {
            name: size for name, size in self.linear_layers.items() if names is None or name.rsplit(".", 1)[-1] in names
        }


def target_names(which: str) -> tuple[str, ...] | None:
    """Last names of the layers selected by `which` (see `Shape.targets`); None means all layers."""
    if which == "all-linear":
        return None
    return ATTENTION if which == "attention" else tuple(part.strip() for part in which.split(",") if part.strip())


def read_shape(folder: str | Path) -> Shape:
    """Read the shape of the model in `folder`. Raises `StudioError` if that is not a complete and safe model folder."""
    folder = Path(folder)
    config = read_config(folder)
    try:
        tensors, size, packed = tensors_in_memory(folder)
        return replace(_shape(config, _language_part(tensors, config), size), stored_as="mxfp4" if packed else "")
    except (TypeError, ValueError, AttributeError, LookupError, ZeroDivisionError) as error:
        raise StudioError(
            "config.json in '{folder}' does not describe a model ({detail}); download the model again.",
            folder=folder,
            detail=error,
        ) from error


def _shape(config: dict, tensors: dict[str, tuple[int, ...]], size: int) -> Shape:
    text = {**DEFAULTS.get(config.get("model_type"), {}), **(config.get("text_config") or config)}
    hidden = text.get("hidden_size") or text.get("n_embd") or 0
    heads = text.get("num_attention_heads") or text.get("n_head") or 1
    return Shape(
        architecture=(config.get("architectures") or ["?"])[0],
        model_type=config.get("model_type", "?"),
        hidden=hidden,
        layers=text.get("num_hidden_layers") or text.get("n_layer") or 0,
        heads=heads,
        key_value_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim") or hidden // heads,
        intermediate=text.get("intermediate_size") or 4 * hidden,
        vocab_size=text.get("vocab_size", 0),
        context=text.get("max_position_embeddings") or text.get("n_positions") or _patch_count(config, tensors) or 2048,
        tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
        bytes=size,
        tensors=tensors,
        patch=_side(config.get("patch_size")),
        active_expert_share=_active_expert_share(text),
    )


def _language_part(tensors: dict[str, tuple[int, ...]], config: dict) -> dict[str, tuple[int, ...]]:
    """`tensors` without those that `load.load_base` does not keep: the image and audio parts of multimodal models
    (Qwen3.5, Llama 4, Gemma 3, Mistral 3), and multi-token prediction heads.
    """
    if not any(".linear_attn." in name or name.startswith("model.language_model.") for name in tensors) and not any(
        name.startswith("vision_model.") for name in tensors
    ):
        return tensors
    text = config.get("text_config") or {}
    idle = ["layer_scalar"]  # a constant of Gemma 4
    # Gemma 4 also stores key and value weights for layers that share those of another layer.
    idle += (
        [
            f".{at}.self_attn.{name}.weight"
            for at in range(
                text.get("num_hidden_layers", 0) - text.get("num_kv_shared_layers", 0), text.get("num_hidden_layers", 0)
            )
            for name in ("k_proj", "v_proj", "k_norm", "v_norm")
        ]
        if text.get("num_kv_shared_layers")
        else []
    )
    return {
        name: size
        for name, size in tensors.items()
        if not name.startswith(_NOT_TEXT) and not name.endswith(tuple(idle))
    }


def _active_expert_share(config: dict) -> float:
    """Share of the experts that each token is routed to, from the various config keys; 1 without experts."""
    count, chosen = (
        next((config[key] for key in keys if config.get(key)), 0)
        for keys in (
            ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
            ("num_experts_per_tok", "num_experts_per_token", "moe_k"),
        )
    )
    return min(1.0, chosen / count) if count and chosen else 1.0


def _patch_count(config: dict, tensors: dict[str, tuple[int, ...]]) -> int | None:
    """Number of patches of an image model, class token included: from its position embeddings, else from its config."""
    by_config = (
        (_side(config.get("image_size")) // side) ** 2 + 1 if (side := _side(config.get("patch_size"))) else None
    )
    return next(
        (
            shape[1]
            for name, shape in tensors.items()
            if name.endswith("embeddings.position_embeddings") and len(shape) == 3
        ),
        by_config,
    )


def _side(size) -> int:
    """Side of a square in pixels, from a number, pair of numbers or {"height": …} in a config; 0 if there is none."""
    if isinstance(size, dict):
        size = size.get("height")
    return int(size[0] if isinstance(size, list) and size else size or 0)


def read_config(folder: Path) -> dict:
    """Read config.json. Raises StudioError if `folder` holds no model, or one that needs its own code."""
    path = folder / "config.json"
    if not folder.is_dir():
        raise StudioError("There is no folder '{folder}'; check the path, or choose the starter model.", folder=folder)
    require_model_folder(folder)
    if not path.exists():
        raise StudioError(
            "The folder '{folder}' has no config.json, so it is not a model; choose the folder that holds config.json.",
            folder=folder,
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudioError(
            "config.json in '{folder}' is not valid JSON ({detail}); download the model again.",
            folder=folder,
            detail=error,
        ) from error
    if not isinstance(found, dict):
        raise StudioError(
            "config.json in '{folder}' does not describe a model ({detail}); download the model again.",
            folder=folder,
            detail=str(found)[:40],
        )
    # For known types transformers uses its own code, even with auto_map.
    if "auto_map" in found and found.get("model_type") not in model_types()["known"]:
        raise StudioError(
            "The model in '{folder}' needs its own code (trust_remote_code); the studio runs no remote code. "
            "Choose a model that transformers knows.",
            folder=folder,
        )
    return found
