"""The export targets: what can be written, with which options, and why an adapter does not fit.

A target is declared here once; the panel, the job and the tests read it. The module that writes it is imported only in
the worker.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from studio.export.gguf_architectures import architecture_refusal
from studio.export.gguf_tokenizer import tokenizer_refusal
from studio.export.lora_checks import lora_refusal
from studio.export.source import Source
from studio.methods import METHODS
from studio.options import Options, check, option
from studio.words import Sentence, StudioError

DTYPES = {"fp32": "32 bit (fp32)", "bf16": "16 bit (bf16)", "fp16": "16 bit (fp16)"}
_FORMAT_LABELS = {
    "F32": "F32: exact, largest",
    "F16": "F16: 16 bit, nearly exact",
    "BF16": "BF16: 16 bit, as most models are trained",
    "Q8_0": "Q8_0: 8.5 bits a weight, hardly any loss",
    "Q5_1": "Q5_1: 6 bits a weight",
    "Q5_0": "Q5_0: 5.5 bits a weight",
    "Q4_1": "Q4_1: 5 bits a weight",
    "Q4_0": "Q4_0: 4.5 bits a weight, coarse",
}
_FORMAT_HELP = (
    "How each weight is stored. Q-formats store blocks of 32 weights with a common scale; in coarse ones the "
    "embeddings and the output layer stay Q8_0. The k-quants (Q4_K_M) need "
    "llama.cpp's own llama-quantize, which takes the F16 file."
)
_MODELFILE = "Modelfile for Ollama"
_MODELFILE_HELP = "Writes a Modelfile beside it: prompt template, stop words and parameters, for `ollama create`."
_PRIVATE_HELP = "Only you, and whom you invite, can see it. The Hub can make it public later."
REPOSITORY = r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$"


class ZipOptions(Options):
    """Nothing to choose: an adapter is stored as it is."""


class MergedOptions(Options):
    """A merged model as safetensors."""

    dtype: Literal["fp32", "bf16", "fp16"] = option(
        "fp32",
        "Precision of the weights",
        "16 bit halves the files. It is never merged into 4 bit: the base is loaded again in full precision.",
        labels=DTYPES,
    )
    shard_gb: float = option(
        5.0, "Largest file", "A larger model is split into several files.", unit="GB", ge=0.01, le=100, advanced=True
    )
    place: Literal["library", "folder"] = option(
        "library",
        "Where to",
        "A card of its own can be used in Chat at once; a download stays in the list below.",
        labels={"library": "Into the library, as a model of its own", "folder": "As files to download"},
    )


class GgufOptions(Options):
    """A GGUF file of the merged model."""

    format: Literal["F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"] = option(
        "Q8_0", "Format", _FORMAT_HELP, labels=_FORMAT_LABELS
    )
    modelfile: bool = option(True, _MODELFILE, _MODELFILE_HELP)


class GgufLoraOptions(Options):
    """A GGUF file of the LoRA alone."""

    format: Literal["F32", "F16"] = option(
        "F16",
        "Format of the LoRA",
        "How each number of the two matrices is stored.",
        labels={key: _FORMAT_LABELS[key] for key in ("F32", "F16")},
    )
    base: Literal["none", "F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"] = option(
        "none",
        "Base model as GGUF too",
        "A LoRA file works over its base model only. Write the base once, and use it for all its LoRAs.",
        labels={"none": "No, it is there already", **_FORMAT_LABELS},
    )
    modelfile: bool = option(True, _MODELFILE, _MODELFILE_HELP)
    ollama_base: str = option(
        "./base.gguf",
        "Base model in the Modelfile",
        "What FROM names if the base is not written here: a GGUF file, or a model that Ollama has.",
        pattern=r"^\S+$",
        max_length=200,
        advanced=True,
    )


class HubOptions(Options):
    """A repository on the Hugging Face Hub. The token is no option: it is handed to the worker and never stored."""

    repository: str = option(
        "", "Repository", "Owner and name, such as ann/captain. It is made if it does not exist.", max_length=193
    )
    what: Literal["adapter", "merged"] = option(
        "adapter",
        "What to publish",
        "An adapter is small and names its base model; a merged model works alone.",
        labels={"adapter": "The adapter", "merged": "The merged model"},
    )
    private: bool = option(True, "Private", _PRIVATE_HELP)
    dtype: Literal["fp32", "bf16", "fp16"] = option(
        "bf16", "Precision of a merged model", "16 bit halves the files.", labels=DTYPES, advanced=True
    )
    replace: bool = option(
        False,
        "Add to a repository with other content",
        "Files of the same name are replaced there; its history keeps them.",
        advanced=True,
    )


class SpaceOptions(Options):
    """A Space: a page on the Hub where anyone can try the adapter."""

    repository: str = option(
        "",
        "Space on the Hub",
        "Owner and name, such as ann/captain-demo. Empty: only the folder is made, to run here or upload yourself.",
        max_length=193,
    )
    private: bool = option(True, "Private", _PRIVATE_HELP)
    replace: bool = option(
        False,
        "Add to a repository with other content",
        "Files of the same name are replaced there; its history keeps them.",
        advanced=True,
    )


@dataclass(frozen=True)
class Target:
    """A kind of export. title, explanation, needs: shown on the page. order of the registry is the page's.

    refuses(source): why an adapter does not fit, or None. writer: "module:function" that writes it, given a `Work`.
    publishes: whether it can go to the Hub, for which a token may be given.
    """

    key: str
    title: str
    explanation: str
    needs: str
    options: type[Options]
    writer: str
    refuses: Callable[[Source], Sentence | None]
    publishes: bool = False

    def refusal(self, source: Source) -> Sentence | None:
        """Why `source` cannot be exported so; None if it can. Damaged files are a reason too."""
        try:
            if not source.whole and not source.base_present:
                return Sentence(
                    "The base model '{base}' is not on this machine; download it first, since every export is "
                    "compared with the adapter over its base.",
                    base=source.card.get("base", ""),
                )
            return self.refuses(source)
        except StudioError as error:
            return error.sentence

    def write(self, work) -> None:
        """Write the export of the `Work`. In workers only."""
        module, _, name = self.writer.partition(":")
        getattr(importlib.import_module(module), name)(work)


def merge_refusal(card: dict) -> Sentence | None:
    """The reason why an adapter cannot be merged into its base model; None if it can."""
    if card.get("kind") == "model":
        return Sentence("This is a whole model already; there is nothing to merge.")
    cls = METHODS.get(card.get("method", ""))
    if cls is None:
        return None
    options = (card.get("recipe") or {}).get("method")
    made = check(cls, options)[0] if isinstance(options, dict) else None
    return (made or cls()).merge_refusal()


def _zip_refusal(source: Source) -> Sentence | None:
    if not source.whole:
        source.tensors  # noqa: B018  raises the sentence for a damaged file
    return None


def _merged_refusal(source: Source) -> Sentence | None:
    return merge_refusal(source.card) or _zip_refusal(source)


def _gguf_refusal(source: Source) -> Sentence | None:
    if not source.writes_text:
        return Sentence("llama.cpp generates text; this adapter classifies.")
    refused = None if source.whole else merge_refusal(source.card)
    return refused or architecture_refusal(source.model_config) or tokenizer_refusal(source.model_folder)


def _gguf_lora_refusal(source: Source) -> Sentence | None:
    if source.whole:
        return Sentence("This is a whole model, not a LoRA. Export it as GGUF instead.")
    if not source.writes_text:
        return Sentence("llama.cpp generates text; this adapter classifies.")
    return lora_refusal(source) or architecture_refusal(source.model_config) or tokenizer_refusal(source.model_folder)


def _space_refusal(source: Source) -> Sentence | None:
    if not source.writes_text:
        return Sentence("The Space answers messages; this adapter classifies.")
    if source.own_type:
        return Sentence("This adapter's type is Delta Studio's own, and a Space has stock peft alone.")
    if (source.folder / "rope.json").exists():
        return Sentence("The adapter needs a longer context of its base model, which the Space's page does not set.")
    return _zip_refusal(source)


TARGETS = {
    target.key: target
    for target in (
        Target(
            "zip",
            "Adapter (zip)",
            "The adapter's files as peft saves them, with a README that shows how to load it.",
            "The base model is needed again wherever it is used.",
            ZipOptions,
            "studio.export.adapter_zip:write",
            _zip_refusal,
        ),
        Target(
            "merged",
            "Merged model (safetensors)",
            "Base and adapter in one model, for transformers, vLLM, SGLang and whatever loads models of the Hub.",
            "As much disk space and memory as the base model in 32 bit.",
            MergedOptions,
            "studio.export.merge:write",
            _merged_refusal,
        ),
        Target(
            "gguf",
            "Merged model (GGUF)",
            "One file for llama.cpp, Ollama, LM Studio and their kin.",
            "As much disk space and memory as the base model in 32 bit.",
            GgufOptions,
            "studio.export.gguf_model:write",
            _gguf_refusal,
        ),
        Target(
            "gguf_lora",
            "LoRA alone (GGUF)",
            "A small file that llama.cpp (--lora) and Ollama (ADAPTER) lay over the base model's GGUF.",
            "A GGUF file of exactly this base model.",
            GgufLoraOptions,
            "studio.export.gguf_lora:write",
            _gguf_lora_refusal,
        ),
        Target(
            "hub",
            "Hugging Face Hub",
            "Uploads the adapter or the merged model with a model card: recipe, data, figures and curve.",
            "An account on the Hub and a token that may write.",
            HubOptions,
            "studio.export.hub:write",
            _zip_refusal,
            publishes=True,
        ),
        Target(
            "space",
            "Space (demo page)",
            "A folder with a small chat page for this adapter, which runs here or as a Space on the Hub.",
            "A base model from the Hub, or one small enough to travel along.",
            SpaceOptions,
            "studio.export.space:write",
            _space_refusal,
            publishes=True,
        ),
    )
}
"""Key → target, in the page's order."""


def require_target(key: str) -> Target:
    """The target called `key`. Raises StudioError if there is none."""
    if key not in TARGETS:
        raise StudioError("There is no export called '{name}'; choose one of {all}.", name=key, all=", ".join(TARGETS))
    return TARGETS[key]
