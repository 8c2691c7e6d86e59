"""Prefix-Tuning: trainable keys and values, prepended to those of each attention layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from studio.methods.base import DEFAULT, Method, Setting
from studio.models.model_types import GEMMA4, model_types
from studio.models.shape import Shape
from studio.options import option
from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    import torch

KEYS = ("k_proj", "key", "qkv_proj", "c_attn", "query_key_value")  # last name components of layers that compute keys
# Model types that have such layers, but whose attention cannot be replaced through transformers' AttentionInterface; a
# test compares the list with transformers.
OWN_ATTENTION = (
    "big_bird",
    "bloom",
    "canine",
    "codegen",
    "convbert",
    "falcon",
    "gpt_neo",
    "gpt_neox_japanese",
    "gptj",
    "ibert",
    "layoutlmv2",
    "layoutlmv3",
    "lilt",
    "longformer",
    "luke",
    "megatron-bert",
    "mra",
    "mvp",
    "nystromformer",
    "openai-gpt",
    "perceiver",
    "reformer",
    "rembert",
    "roformer",
    "rwkv",
    "squeezebert",
    "tapas",
    "trocr",
    "xglm",
    "yoso",
)


def no_prefix(shape: Shape | None) -> Sentence | None:
    """Why a model of `shape` does not support prefixes; None if it does, judged by its model type alone."""
    if shape is None or shape.model_type not in (*OWN_ATTENTION, *GEMMA4):
        return None
    return Sentence(
        "{architecture} computes attention in a way of its own, into which no prefix can be put; choose LoRA.",
        architecture=shape.architecture,
    )


class PrefixTuning(Method):
    """Gives every layer a few trainable entries that each word can look at, as if an invisible text stood before the input.

    Equation: head = softmax(q·[P_K ; K]ᵀ/√d)·[P_V ; V], with P_K and P_V trained in each layer
    Paper: Li & Liang 2021, Prefix-Tuning: Optimizing Continuous Prompts for Generation, arXiv:2101.00190
    Good for: many tasks over one big model; learns more than prompt tuning, because it reaches every layer.
    Cost: the prefix takes room in the context and a little time at each token, also in use.
    Limits: cannot be merged; behind LoRA in PEFT's comparison on arithmetic (42 % against 48 %), and needs a good start: words, not random numbers.
    """

    title: ClassVar[str] = "Prefix-Tuning"
    family: ClassVar[str] = "additive"
    branch: ClassVar[str] = "soft prompt"
    order: ClassVar[int] = 22
    artefact_type: ClassVar[str] = "PREFIX_TUNING"
    learning_rate: ClassVar[float] = 1e-3

    name: Literal["prefix_tuning"] = option("prefix_tuning", "Method", "", hidden=True)
    virtual_tokens: int = option(
        20,
        "Virtual tokens",
        "Length of the prefix. 10–30 is usual for answers, 100–200 for long texts.",
        unit="tokens",
        ge=1,
        le=1024,
    )
    start: Literal["words", "text", "random", "adapter"] = option(
        "words",
        "Start from",
        "What the prefix is at the start: what the model makes of words is a far better start than random numbers.",
        labels={"words": "Random words", "text": "A text", "random": "Random numbers", "adapter": "A trained prefix"},
    )
    text: str = option(
        "",
        "Start text",
        "A sentence that describes the task, or an example; used when starting from a text.",
        max_length=8000,
    )
    adapter: str | None = option(
        None,
        "Trained prefix",
        "A prefix of the library to go on from; used when starting from a trained prefix.",
        adapters="PREFIX_TUNING",
    )
    reparameterise: bool = option(
        True,
        "Write it with a network",
        "A small network writes the prefix while learning, which learns faster and more steadily; only what it wrote "
        "is kept. Without it, raise the learning rate tenfold.",
    )
    width: int = option(128, "Network width", "Hidden size of that network.", ge=8, le=8192, advanced=True)

    def wrap(self, model, setting=DEFAULT):
        from peft import get_peft_model

        from studio.tuners import PrefixConfig
        from studio.tuners.prefix import prefix_layers

        start = self._start(model, setting)
        found = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
        wrapped = get_peft_model(
            model,
            PrefixConfig(
                task_type=setting.task_type,
                target_modules=[next(name for name in KEYS if name in found)],
                num_virtual_tokens=self.virtual_tokens,
                hidden=self.width if self.reparameterise else 0,
            ),
        )
        for layer, pairs in zip(prefix_layers(model), start, strict=True) if start is not None else ():
            layer.begin_with("default", pairs)
        return wrapped

    def _start(self, model: torch.nn.Module, setting: Setting) -> torch.Tensor | None:
        """Initial value of the prefix, [layers, tokens, 2, heads, head size]; None to initialise it randomly.

        Raises StudioError if the trained prefix to start from does not fit the model or the option `virtual_tokens`.
        """
        import torch

        from studio.models.chat_tokenizer import ChatTokenizer
        from studio.tuners.prefix import activations, from_stock

        if self.start == "random":
            return None
        if self.start == "adapter":
            if setting.adapter is None:
                raise StudioError("There is no library to take the trained prefix from; start from words instead.")
            try:
                found = from_stock(model, setting.adapter(self.adapter))
            except ValueError as error:
                raise StudioError(
                    "The trained prefix does not fit this model: {detail}. Choose another one, or start from words.",
                    detail=str(error),
                ) from error
            if found.shape[1] != self.virtual_tokens:
                raise StudioError(
                    "The trained prefix has {count} virtual tokens; set Virtual tokens to {count}.",
                    count=found.shape[1],
                )
            return found
        if self.start == "text":
            ids = ChatTokenizer(setting.base or Path(model.config._name_or_path)).encode(self.text).ids
            ids = torch.tensor((ids * self.virtual_tokens)[: self.virtual_tokens])  # a short text is repeated
        else:
            ids = torch.randint(
                model.get_input_embeddings().num_embeddings,
                (self.virtual_tokens,),
                generator=torch.Generator().manual_seed(setting.seed),
            )
        return activations(model, ids)

    def state(self, model):
        """With reparameterisation: the initial prefix, a frozen buffer to which the network's output is added."""
        return {name: buffer for name, buffer in model.named_buffers() if ".prefix_start." in name}

    def load_state(self, model, state):
        for name, buffer in model.named_buffers():
            if name in state:
                buffer.copy_(state[name])

    def save(self, model, folder):
        from studio.tuners.prefix import to_stock

        to_stock(model, folder)

    @property
    def virtual_token_count(self) -> int:
        """The length of the prefix: as with a stock PEFT prefix, the tokens' positions start after it."""
        return self.virtual_tokens

    def parameter_count(self, shape: Shape) -> int:
        """2·L·p·d for the prefixes (Li & Liang 2021, §4.2), with d the width of a key.

        With reparameterisation, the network's parameters instead (§4.3).
        """
        size = shape.key_value_heads * shape.head_dim
        if not self.reparameterise:
            return 2 * shape.layers * self.virtual_tokens * size
        return self.virtual_tokens * size + (size + 1) * self.width + shape.layers * 2 * size * (self.width + 1)

    def refusal(self, shape, task, quantisation):
        if self.start == "text" and not self.text.strip():
            return Sentence(
                "Start text is empty; write a sentence that describes the task, or start from random words."
            )
        if self.start == "adapter" and not self.adapter:
            return Sentence("No trained prefix is chosen; choose one, or start from random words.")
        if shape is not None and (
            shape.model_type in model_types()["encoder"]
            or sum(name.rsplit(".", 1)[-1] in KEYS for name in shape.linear_layers) != shape.layers
        ):
            return Sentence(
                "Prefixes do not know the attention of {architecture}; choose LoRA.", architecture=shape.architecture
            )
        return no_prefix(shape) or super().refusal(shape, task, quantisation)

    def summary(self) -> str:
        return f"{self.title} p={self.virtual_tokens}"
