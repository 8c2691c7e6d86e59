"""Check whether the model in a folder can be fine-tuned, from its config files and weight headers, without torch.

Each check is a function that returns None, or a sentence that names the file or key at fault. Checks of the weights
themselves (NaN) are in `studio.models.load`. Of the task only the required head is known here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from studio.models import layout
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.folders import read_json_object
from studio.models.model_types import WRITES_TOO, model_types
from studio.models.shape import read_config
from studio.models.stored_tensors import stored_tensors
from studio.words import Sentence, StudioError

_DEQUANTISED_ON_LOAD = ("mxfp4",)
"""Quantisation methods whose weights transformers itself converts to 16 bit while it loads them."""
_MEDIA = ("image", "video", "audio", "vision")
_CONFIGS = ("tokenizer_config.json", "generation_config.json")
_CHECKED = (".json", ".jinja", ".safetensors")


def folder_refusal(folder: Path, head: str, *, own_template: bool = True) -> Sentence | None:
    """Why the model in `folder` cannot be fine-tuned with `head` (a key of `load.HEADS`); None where no reason is
    known.

    own_template: whether the chat template of the folder is used. The result is cached as long as the folder's files
    do not change. `read_shape` must have succeeded before.
    """
    files = tuple(
        sorted(
            (path.name, path.stat().st_size, path.stat().st_mtime_ns)
            for path in Path(folder).iterdir()
            if path.name.endswith(_CHECKED) and path.is_file()
        )
    )
    return _refusal(Path(folder), head, own_template, files)


@lru_cache(maxsize=32)
def _refusal(folder: Path, head: str, own_template: bool, files: tuple) -> Sentence | None:
    """Run all checks. files: names, sizes and modification times of the folder's files, part of the cache key."""
    try:
        config = read_config(folder)
        found = (
            unknown_type(config) or unsupported_type(config, head) or already_quantised(config) or contradictory(config)
        )
        if found or head == "image_classification":
            return found
        stored = {name: size for name, (size, _) in stored_tensors(folder).items()}
        return (
            layout.refusal(config, stored, head=head == "causal_lm")
            or unreadable_config(folder)
            or unreadable_tokenizer(folder, config, stored, own_template)
        )
    except StudioError as error:
        return error.sentence


def unknown_type(config: dict) -> Sentence | None:
    """Check that config.json names a model type that transformers knows."""
    kind = config.get("model_type")
    if not kind:
        return Sentence(
            "config.json names no model type (model_type), so the model cannot be loaded; download the model again."
        )
    if not isinstance(kind, str) or kind not in model_types()["known"]:
        return Sentence(
            "config.json says that the model is of the type '{kind}' (model_type), which transformers {version} "
            "does not know; choose another model.",
            kind=str(kind)[:60],
            version=model_types()["transformers"],
        )
    return None


def unsupported_type(config: dict, head: str) -> Sentence | None:
    """Check that transformers has a class with this `head` for the model type."""
    kind, types = config["model_type"], model_types()
    if kind in types["encoder-decoder"] or config.get("is_encoder_decoder") is True:
        return Sentence(
            "'{kind}' (model_type in config.json) is an encoder-decoder, which the studio does not fine-tune; "
            "choose a decoder-only model, such as Qwen3 or Llama.",
            kind=kind,
        )
    if head == "causal_lm" and kind in types["encoder"] and config.get("is_decoder") is not True:
        return Sentence(
            "'{kind}' (model_type in config.json) is an encoder: each token attends to what follows, so it "
            "cannot generate text. Choose the task Classification, or a decoder-only model, "
            "such as Qwen3 or Llama.",
            kind=kind,
        )
    if kind in types[head] or head == "causal_lm" and kind in WRITES_TOO:
        return None
    if head == "causal_lm":
        return Sentence(
            "'{kind}' (model_type in config.json) is no causal language model in transformers, so it cannot "
            "generate text; choose another model, such as Qwen3 or Llama.",
            kind=kind,
        )
    return Sentence(
        "transformers has no classification model of the type '{kind}' (model_type in config.json); choose "
        "another model.",
        kind=kind,
    )


def already_quantised(config: dict) -> Sentence | None:
    """Check that the weights are not stored in a quantised format that cannot be trained here."""
    text = config.get("text_config")
    key = next((key for key in ("quantization_config", "compression_config") if config.get(key)), None)
    found = config[key] if key else text.get("quantization_config") if isinstance(text, dict) else None
    if not found:
        return None
    method = found.get("quant_method") if isinstance(found, dict) else None
    if method in _DEQUANTISED_ON_LOAD:
        return None
    return Sentence(
        "The weights are already quantised ({method}, {key} in config.json) and cannot be fine-tuned like this; "
        "choose the same model in 16 bit: QLoRA quantises it while it loads.",
        method=method or "?",
        key=f"{key or 'text_config.quantization_config'}.quant_method",
    )


_NUMBERS = {
    "experts": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    "chosen": ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts"),
    "heads": ("num_attention_heads", "n_head"),
    "key heads": ("num_key_value_heads", "num_kv_heads"),
    "width": ("hidden_size", "n_embd"),
    "head size": ("head_dim",),
    "layers": ("num_hidden_layers", "n_layer"),
    "places": ("max_position_embeddings", "n_positions"),
    "words": ("vocab_size",),
    "padding": ("pad_token_id",),
}
"""Quantity → the keys that config.json may use for it."""
_POSITIVE = ("heads", "key heads", "head size", "width", "places")


def contradictory(config: dict) -> Sentence | None:
    """Check that the numbers in config.json are consistent. Missing and non-integer values are ignored."""
    text = config["text_config"] if isinstance(config.get("text_config"), dict) else config
    given = {what: (key, text[key]) for what, keys in _NUMBERS.items() for key in keys if type(text.get(key)) is int}
    for key, value in (given[what] for what in _POSITIVE if what in given):
        if value < 1:
            return Sentence(
                "config.json says {key} is {value}, but it must be a whole number of at least 1; "
                "download the model again.",
                key=key,
                value=value,
            )
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and "layers" in given and len(kinds) != given["layers"][1]:
        return Sentence(
            "config.json says {key} = {value}, but layer_types names {count} layers; download the model again.",
            key=given["layers"][0],
            value=given["layers"][1],
            count=len(kinds),
        )
    if conflict := _pair(given, "chosen", "experts", lambda chosen, experts: 1 <= chosen <= experts or experts < 1):
        return Sentence(
            "config.json says {one} = {left}, but {other} = {right}: a token goes through at least one of the experts, "
            "and at most through all; download the model again.",
            **conflict,
        )
    if conflict := _pair(given, "padding", "words", lambda number, words: number < words):
        return Sentence(
            "config.json says {one} = {left}, but {other} = {right}, so there is no such token; "
            "download the model again.",
            **conflict,
        )
    divided = _pair(given, "heads", "key heads", _divides)
    if not divided and "head size" not in given and _shares_width(config.get("model_type")):
        divided = _pair(given, "width", "heads", _divides)
    if divided:
        return Sentence(
            "config.json says {one} = {left} and {other} = {right}, but the first must be a multiple of the second; "
            "download the model again.",
            **divided,
        )
    return None


def _pair(given: dict[str, tuple[str, int]], first: str, second: str, fits: Callable[[int, int], bool]) -> dict | None:
    """The keys and values of two quantities for an error message; None if `fits` holds or one of them is not given."""
    if first not in given or second not in given or fits(given[first][1], given[second][1]):
        return None
    return {"one": given[first][0], "left": given[first][1], "other": given[second][0], "right": given[second][1]}


def _divides(whole: int, part: int) -> bool:
    return whole % part == 0


def _shares_width(kind) -> bool:
    """Whether models of the type have head size = hidden size / heads if config.json does not give it."""
    known = layout.LAYOUTS.get(kind)
    return known.head_dim is None if known else kind in model_types()["encoder"]


def unreadable_config(folder: Path) -> Sentence | None:
    """Check that the other config files are valid JSON with valid values."""
    tokens, generation = (read_json_object(folder / name) for name in _CONFIGS)
    for key in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = tokens.get(key)
        if token is not None and not isinstance(token.get("content") if isinstance(token, dict) else token, str):
            return Sentence(
                "{file} in '{folder}': {key} is {value}, which is no token; download the model again.",
                file=_CONFIGS[0],
                folder=folder,
                key=key,
                value=repr(token)[:40],
            )
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        ids = generation.get(key)
        if ids is not None and not all(type(number) is int for number in (ids if isinstance(ids, list) else [ids])):
            return Sentence(
                "{file} in '{folder}': {key} is {value}, which is no token id; download the model again.",
                file=_CONFIGS[1],
                folder=folder,
                key=key,
                value=repr(ids)[:40],
            )
    return None


def unreadable_tokenizer(folder: Path, config: dict, stored: layout.Sizes, own_template: bool) -> Sentence | None:
    """Check that tokenizer and chat template can be read, and that the embedding has a row for every token."""
    tokenizer = ChatTokenizer(folder)
    if own_template:
        tokenizer.check_own_template()
    rows = _embedding_rows(config, stored)
    if rows is None or tokenizer.vocab_size <= rows:
        return None
    excess = [
        text
        for text, number in tokenizer.tokens_from_id(rows).items()
        if not any(word in text.lower() for word in _MEDIA)
    ]
    # Tokenizers of text-only variants (Gemma 3 1B) keep image tokens, which never occur in text.
    if not excess:
        return None
    return Sentence(
        "tokenizer.json has {count} tokens, but the embedding has {rows} rows, so the model has no embedding for "
        "'{token}'; download the model again, or resize its embedding.",
        count=tokenizer.vocab_size,
        rows=rows,
        token=excess[0],
    )


def _embedding_rows(config: dict, stored: layout.Sizes) -> int | None:
    """Number of rows of the embedding; None if unknown."""
    ends = (
        "embed_tokens.weight",
        "wte.weight",
        "word_embeddings.weight",
        "embed_in.weight",
        "embeddings.weight",
        "tok_embeddings.weight",
    )
    found = [
        size[0]
        for name, size in stored.items()
        if f".{name}".endswith(tuple(f".{end}" for end in ends)) and len(size) == 2
    ]
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    return found[0] if len(found) == 1 else text["vocab_size"] if type(text.get("vocab_size")) is int else None
