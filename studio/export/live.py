"""The adapter as it is in the library, loaded over its base model in fp32, and its logits on fixed prompts.

Used in workers only. Every export is compared with these logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.export.source import Source
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer
from studio.models.rope_scaling import apply_adapter

if TYPE_CHECKING:
    import numpy as np
    import torch

PROMPTS = (
    "The quick brown fox jumps over the lazy dog. 12 + 30 =",
    "Who are you, and what can you do for me?",
    "从前有一座山。",
)
_LONGEST = 64  # tokens of a prompt


def load(source: Source) -> torch.nn.Module:
    """The model of `source` in fp32 on the CPU, the adapter over its base unmerged, in eval mode.

    The base is never loaded in 4 bit (FACTS 14). Raises StudioError if a part is missing, damaged or does not fit.
    """
    from studio.models.load import load_base

    labels = source.card.get("labels")
    model = load_base(
        source.model_folder, quantisation="none", precision="fp32", device="cpu", head=source.head, labels=labels
    )
    if not source.whole:
        model = _apply(source, model)
    if source.head == "text_classification":
        model.config.get_text_config().pad_token_id = ChatTokenizer(source.model_folder).pad_id
    return model.eval()


def _apply(source: Source, model: torch.nn.Module) -> torch.nn.Module:
    from safetensors import SafetensorError

    from studio.words import StudioError

    source.tensors  # noqa: B018  raises the sentence for a damaged file
    try:
        return apply_adapter(model, source.folder)
    except (RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StudioError(
            "'{name}' does not fit the base model '{base}' ({detail}); it was made for another one.",
            name=source.name,
            base=source.card.get("base", ""),
            detail=str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__,
        ) from error


def inputs(source: Source, model: torch.nn.Module) -> list[dict[str, Any]]:
    """The fixed inputs of the comparison, as arguments of the model's forward: token ids, or one picture."""
    import torch

    if source.head == "image_classification":
        size = model.config.image_size
        return [{"pixel_values": torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size)}]
    tokenizer = ChatTokenizer(source.model_folder).for_adapter(None if source.whole else source.folder)
    found = []
    for prompt in PROMPTS:
        text = prompt
        if source.writes_text and source.card.get("task") == "chat":
            text = _rendered(tokenizer, prompt)
        ids = tokenizer.encode(text).ids[:_LONGEST] or [0]
        found.append({"input_ids": torch.tensor([ids])})
    return found


def _rendered(tokenizer: ChatTokenizer, prompt: str) -> str:
    try:
        return tokenizer.render([{"role": "user", "content": prompt}], add_generation_prompt=True)
    except ChatTemplateError:
        return prompt


def logits(model: torch.nn.Module, given: list[dict[str, Any]]) -> list[np.ndarray]:
    """The model's logits for each of `given`, fp32."""
    import torch

    with torch.no_grad():
        return [model(**each).logits.float().numpy() for each in given]
