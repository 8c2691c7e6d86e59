"""Why the model in a folder cannot be fine-tuned a task, found in its small files and the headers of its weights: before Start, without torch.

One function for each thing that can be wrong; each returns a sentence that names the file or the key, or None. What only the weights
themselves can tell (NaN), `studio.models.load` looks at. It knows nothing about tasks but the head that they put on a model.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from studio.models import layout
from studio.models.chat_tokenizer import ChatTokenizer, read_json_object
from studio.models.model_types import model_types
from studio.models.shape import read_config, stored_tensors
from studio.words import Sentence, StudioError

_DEQUANTISED_ON_LOAD = ("mxfp4",)
"""Forms of quantised weights that transformers itself turns back to 16 bit while it loads them."""
_MEDIA = ("image", "video", "audio", "vision")
_CONFIGS = ("tokenizer_config.json", "generation_config.json")
_CHECKED = (".json", ".jinja", ".safetensors")


def folder_refusal(folder: Path, head: str, *, own_template: bool = True) -> Sentence | None:
    """Why the model in `folder` cannot be fine-tuned with `head` (a key of `load.HEADS`) on top; None where nothing is known to stand in the way.

    own_template: whether the chat template of the folder is used. Answers at once while the folder's files stay as they are. `read_shape` has
    been asked before.
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
    """files: names, sizes and times of the folder's files, of which the answer is remembered."""
    try:
        config = read_config(folder)
        found = unknown_type(config) or unsupported_type(config, head) or already_quantised(config)
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
    """config.json names no model type, or one that transformers does not know."""
    kind = config.get("model_type")
    if not kind:
        return Sentence(
            "config.json does not say of which type the model is (model_type), so nobody can load it; download the model again."
        )
    if not isinstance(kind, str) or kind not in model_types()["known"]:
        return Sentence(
            "config.json says that the model is of the type '{kind}' (model_type), which transformers {version} does not know; choose another model.",
            kind=str(kind)[:60],
            version=model_types()["transformers"],
        )
    return None


def unsupported_type(config: dict, head: str) -> Sentence | None:
    """The type is known, but its models cannot do what `head` stands for."""
    kind, types = config["model_type"], model_types()
    if kind in types["encoder-decoder"] or config.get("is_encoder_decoder") is True:
        return Sentence(
            "'{kind}' (model_type in config.json) is an encoder-decoder, which the studio does not fine-tune; choose a model that only writes on, such as Qwen3 or Llama.",
            kind=kind,
        )
    if head == "causal_lm" and kind in types["encoder"] and config.get("is_decoder") is not True:
        return Sentence(
            "'{kind}' (model_type in config.json) is an encoder: each of its tokens sees what follows, so it cannot write. Choose the task Classification, or a model that writes, "
            "such as Qwen3 or Llama.",
            kind=kind,
        )
    if kind in types[head]:
        return None
    if head == "causal_lm":
        return Sentence(
            "'{kind}' (model_type in config.json) is no language model for transformers, so it cannot write; choose another model, such as Qwen3 or Llama.",
            kind=kind,
        )
    return Sentence(
        "transformers has no model of the type '{kind}' (model_type in config.json) that tells classes apart; choose another model.",
        kind=kind,
    )


def already_quantised(config: dict) -> Sentence | None:
    """The weights are stored in fewer bits, in a form that cannot be trained here."""
    text = config.get("text_config")
    key = next((key for key in ("quantization_config", "compression_config") if config.get(key)), None)
    found = config[key] if key else text.get("quantization_config") if isinstance(text, dict) else None
    if not found:
        return None
    method = found.get("quant_method") if isinstance(found, dict) else None
    if method in _DEQUANTISED_ON_LOAD:
        return None
    return Sentence(
        "The weights are already quantised ({method}, {key} in config.json) and cannot be fine-tuned so; choose the same model in 16 bit: QLoRA quantises it while it loads.",
        method=method or "?",
        key=f"{key or 'text_config.quantization_config'}.quant_method",
    )


def unreadable_config(folder: Path) -> Sentence | None:
    """A small file beside the weights is not valid JSON, or says what it cannot mean."""
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
                "{file} in '{folder}': {key} is {value}, which is no number of a token; download the model again.",
                file=_CONFIGS[1],
                folder=folder,
                key=key,
                value=repr(ids)[:40],
            )
    return None


def unreadable_tokenizer(folder: Path, config: dict, stored: layout.Sizes, own_template: bool) -> Sentence | None:
    """tokenizer.json or the chat template is broken, or knows more tokens than the model."""
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
    # Models that lost their eyes (Gemma 3 with 1 B) keep the mark of a picture in their tokenizer; no text holds it.
    if not excess:
        return None
    return Sentence(
        "tokenizer.json has {count} tokens, but the embedding has {rows} rows, so the model has nothing for '{token}'; download the model again, or resize its embedding.",
        count=tokenizer.vocab_size,
        rows=rows,
        token=excess[0],
    )


def _embedding_rows(config: dict, stored: layout.Sizes) -> int | None:
    """Of the embedding; None where nobody can tell."""
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
