"""Write a tokenizer.json as GGUF metadata: byte-level BPE, or BPE made from SentencePiece (Llama 2, Mistral, Gemma).

llama.cpp tokenises by itself: a byte-level BPE with the regular expression that `tokenizer.ggml.pre` names, a
SentencePiece one by the scores of its pieces. Whatever cannot be told to it is refused.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.models.chat_tokenizer import ChatTokenizer, read_json_object
from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    from gguf import GGUFWriter

_SPACE = "\u2581"  # SentencePiece's mark of a space
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_PRE = {
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": (
        "llama-bpe"
    ),
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": "qwen2",
    "": "gpt-2",  # ByteLevel with its own expression
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
        r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ): "tekken",
}
"""Regular expression of a byte-level BPE → its name in llama.cpp."""
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""gguf.TokenType."""


def tokenizer_refusal(folder: Path) -> Sentence | None:
    """Why the tokenizer in `folder` cannot be written as GGUF; None if it can."""
    described = read_json_object(folder / "tokenizer.json")
    if not described:
        return Sentence("The base model has no tokenizer.json, which GGUF needs.")
    if described["model"].get("type") != "BPE":
        return Sentence(
            "GGUF is written for BPE tokenizers; this base model has a {type} one.", type=described["model"].get("type")
        )
    if _is_sentencepiece(described) or pre_tokenizer(described):
        return None
    return Sentence("llama.cpp has no name for the way in which this base model's tokenizer splits text into words.")


def _is_sentencepiece(described: dict) -> bool:
    return bool(described["model"].get("byte_fallback"))


def pre_tokenizer(described: dict) -> str | None:
    """llama.cpp's name of the way in which a byte-level BPE splits text; None if it has none."""
    pre = described.get("pre_tokenizer") or {}
    steps = pre.get("pretokenizers", [pre])
    if not any(step.get("type") == "ByteLevel" for step in steps):
        return None
    patterns = [step["pattern"].get("Regex", "") for step in steps if step.get("type") == "Split"]
    splits_itself = any(step.get("type") == "ByteLevel" and step.get("use_regex", True) for step in steps)
    if len(patterns) > 1 or (patterns and splits_itself):
        return None
    return _PRE.get(patterns[0]) if patterns else _PRE[""]


def add_tokenizer(writer: GGUFWriter, tokenizer: ChatTokenizer, vocab_size: int) -> None:
    """Write the vocabulary, special tokens and chat template. vocab_size: rows of the embedding, in tokens."""
    folder = tokenizer.folder
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    pieces, types = _pieces(described, vocab_size, folder)
    if _is_sentencepiece(described):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(pieces)
        writer.add_token_scores(_scores(described, len(pieces)))
        writer.add_token_types(types)
        writer.add_add_space_prefix(_adds_space(described))
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre_tokenizer(described))
        writer.add_token_list(pieces)
        writer.add_token_types(types)
        writer.add_token_merges([_merge(pair) for pair in described["model"]["merges"]])
    _add_special(writer, tokenizer, described)
    writer.add_chat_template(chat_template(tokenizer))


def chat_template(tokenizer: ChatTokenizer) -> str:
    """The Jinja template without `{% generation %}`, which programs other than transformers do not know."""
    return _GENERATION.sub("", tokenizer.template)


def _pieces(described: dict, vocab_size: int, folder: Path) -> tuple[list[str], list[int]]:
    """(text of each token id, its type); ids that the tokenizer does not use are filled up."""
    pieces, types = [f"[PAD{at}]" for at in range(vocab_size)], [UNUSED] * vocab_size
    words = {**described["model"]["vocab"]}
    added = {token["id"]: token for token in described.get("added_tokens", ())}
    if max([*words.values(), *added], default=0) >= vocab_size:
        raise StudioError(
            "The tokenizer in '{folder}' has more tokens than the model has embeddings; train on another base model.",
            folder=folder,
        )
    unknown = described["model"].get("unk_token")
    for text, at in words.items():
        byte = _is_sentencepiece(described) and _BYTE.fullmatch(text)
        pieces[at], types[at] = text, BYTE if byte else UNKNOWN if text == unknown else NORMAL
    for at, token in added.items():
        text = token["content"]
        if not token.get("special") and _is_sentencepiece(described):
            text = text.replace(" ", _SPACE)
        pieces[at] = text
        if text != unknown:
            types[at] = CONTROL if token.get("special") else USER_DEFINED
    return pieces, types


def _scores(described: dict, count: int) -> list[float]:
    """SentencePiece's scores, by which llama.cpp merges: the earlier a merge in the list, the higher its score."""
    words, scores = described["model"]["vocab"], [-1e9] * count
    for rank, pair in enumerate(described["model"]["merges"]):
        left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
        at = words[left + right]
        if scores[at] == -1e9:  # several pairs make one piece: the first counts
            scores[at] = -float(rank)
    return scores


def _adds_space(described: dict) -> bool:
    """Whether a space is put before a text, as Llama 2 and Mistral do and Gemma does not."""
    normalizer = described.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    pre = described.get("pre_tokenizer") or {}
    return any(step.get("type") == "Prepend" for step in steps) or (
        pre.get("type") == "Metaspace" and pre.get("prepend_scheme", "always") != "never"
    )


def _merge(pair: Any) -> str:
    """A merge as one text. A space inside a part is written as byte-level BPE writes spaces."""
    return pair if isinstance(pair, str) else " ".join(part.replace(" ", "\u0120") for part in pair)


def _add_special(writer: GGUFWriter, tokenizer: ChatTokenizer, described: dict) -> None:
    config = read_json_object(tokenizer.folder / "tokenizer_config.json")
    ids = described["model"]["vocab"] | {token["content"]: token["id"] for token in described.get("added_tokens", ())}

    def token_id(key: str) -> int | None:
        token = config.get(key)
        return ids.get(token["content"] if isinstance(token, dict) else token)

    eos = tokenizer.eos_ids
    for found, add in (
        (token_id("bos_token"), writer.add_bos_token_id),
        (token_id("eos_token") if token_id("eos_token") is not None else (eos or [None])[0], writer.add_eos_token_id),
        (token_id("unk_token"), writer.add_unk_token_id),
        (token_id("pad_token"), writer.add_pad_token_id),
    ):
        if found is not None:
            add(found)
    end = tokenizer.answer_end[0].strip()
    if end in ids:
        writer.add_eot_token_id(ids[end])
    writer.add_add_bos_token(tokenizer.adds_bos)
    writer.add_add_eos_token(False)
