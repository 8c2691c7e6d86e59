"""Prompt ensembling: several soft prompts over one frozen model whose predictions are combined (Lester 2021,
arXiv:2104.08691, §6).

Each row of a batch is repeated once per member, with that member's virtual tokens before it. In evaluation the members'
outputs are combined into one row: the logarithm of the members' mean probability of each next token, or of their
votes. In training the members' rows stay separate, one member after the other, so that each prompt is trained
independently. `to_stock` writes each member as a stock PROMPT_TUNING adapter. Independent of how the prompts are
initialised and of the tokenizer.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import PeftConfig, PromptTuningConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import _prepare_prompt_learning_config
from safetensors.torch import save_file
from torch import nn

from studio.tuners.layer_tuner import LayerTuner


@dataclass
class PromptEnsembleConfig(PeftConfig):
    """Configuration of a prompt ensemble. target_modules: the input embedding. combine: "average" or "vote", see
    `combined`.
    """

    target_modules: list[str] | None = field(default=None, metadata={"help": "Name of the input embedding."})
    exclude_modules: list[str] | None = field(default=None, metadata={"help": "Names of layers to leave alone."})
    members: int = field(default=5, metadata={"help": "How many prompts."})
    num_virtual_tokens: int = field(default=20, metadata={"help": "Length of each prompt."})
    combine: str = field(
        default="average", metadata={"help": "average: mean of the probabilities; vote: most members' first choice."}
    )

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = "PROMPT_ENSEMBLE"


class PromptEnsembleLayer(nn.Module, BaseTunerLayer):
    """The model's input embedding, whose output is unchanged, with the prompts of each adapter: members × tokens ×
    hidden size.
    """

    adapter_layer_names = ("prompt_ensemble_members",)
    other_param_names = ("settings",)

    def __init__(self, base_layer: nn.Module):
        super().__init__()
        self.base_layer = base_layer
        self.prompt_ensemble_members = nn.ParameterDict()
        self.settings: dict[str, PromptEnsembleConfig] = {}

    def update_layer(self, adapter_name: str, config: PromptEnsembleConfig) -> None:
        self.settings[adapter_name] = config
        self.prompt_ensemble_members[adapter_name] = nn.Parameter(
            torch.randn(config.members, config.num_virtual_tokens, self.weight.shape[1])
        )
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def in_use(self) -> str | None:
        """Name of the adapter in use, or None. Ensembles cannot be stacked: the last active adapter is used."""
        names = [] if self.disable_adapters else [name for name in self.active_adapters if name in self.settings]
        return names[-1] if names else None

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.base_layer(ids)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError(
            "Prompts stand before the input, so no weight of the base model can hold them: they cannot be merged."
        )

    def unmerge(self) -> None:
        """Do nothing: `merge` always raises."""


class PromptEnsembleModel(LayerTuner):
    """The peft tuner that prepends an ensemble of prompts to the input of a causal model, by hooks on the model and on
    its decoder.
    """

    prefix = "prompt_ensemble_"
    tuner_layer_cls = PromptEnsembleLayer

    def inject_adapter(self, model, adapter_name, *args, **kwargs):
        """Call peft's `inject_adapter`, which runs for the first adapter and each later one; install the hooks after
        the first.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*tied layer is part of the adapter"
            )  # harmless: the weight of the embedding is never changed
            super().inject_adapter(model, adapter_name, *args, **kwargs)
        if not hasattr(self, "hooks"):
            hooks = _Hooks(model.get_input_embeddings())
            decoder = model.get_decoder()
            self.hooks = [
                model.register_forward_pre_hook(hooks.labels_for_each, with_kwargs=True),
                decoder.register_forward_pre_hook(hooks.expand, with_kwargs=True),
                decoder.register_forward_hook(hooks.without_prompts, with_kwargs=True),
                model.register_forward_hook(hooks.combine, with_kwargs=True),
            ]

    def forward(self, *args, **kwargs):
        """Call the model itself: peft's implementation calls `model.forward` directly, which skips hooks."""
        return self.model(*args, **kwargs)

    def unload(self) -> nn.Module:
        for hook in self.hooks:
            hook.remove()
        return super().unload()


class _Hooks:
    """Forward hooks that apply while an adapter of `layer` is in use: a batch of B rows becomes K·B rows for K members,
    all rows of the first member first.
    """

    def __init__(self, layer: PromptEnsembleLayer):
        self.layer = layer

    def _config(self) -> PromptEnsembleConfig | None:
        name = self.layer.in_use()
        return self.layer.settings[name] if name else None

    def labels_for_each(self, model, args, kwargs):
        if (config := self._config()) is None or kwargs.get("labels") is None:
            return None
        return args, {**kwargs, "labels": kwargs["labels"].repeat(config.members, 1)}

    def expand(self, decoder, args, kwargs):
        """Repeat the rows for each member; where the cache is empty, also prepend the member's prompt.

        args: empty, or the input ids only.
        """
        if (config := self._config()) is None:
            return None
        kwargs = {**dict(zip(("input_ids",), args, strict=True)), **kwargs} if args else dict(kwargs)
        count, tokens, cache = config.members, config.num_virtual_tokens, kwargs.get("past_key_values")
        given = kwargs["inputs_embeds"] if kwargs.get("inputs_embeds") is not None else self.layer(kwargs["input_ids"])
        rows, device = len(given), given.device
        embedded = given.repeat(count, 1, 1)
        if self._begins(cache):
            prompts = self.layer.prompt_ensemble_members[self.layer.in_use()].to(given.dtype).repeat_interleave(rows, 0)
            embedded = torch.cat([prompts, embedded], 1)
        mask, positions = kwargs.get("attention_mask"), kwargs.get("position_ids")
        if mask is not None:
            kwargs["attention_mask"] = torch.cat([mask.new_ones(rows, tokens), mask], 1).repeat(count, 1)
        if positions is not None:
            positions = positions.expand(rows, -1) + tokens
            first = torch.arange(tokens, device=device).expand(rows, -1)
            kwargs["position_ids"] = (torch.cat([first, positions], 1) if self._begins(cache) else positions).repeat(
                count, 1
            )
        return (), {**kwargs, "input_ids": None, "inputs_embeds": embedded}

    @staticmethod
    def _begins(cache) -> bool:
        return cache is None or cache.get_seq_length() == 0

    def without_prompts(self, decoder, args, kwargs, output):
        """Drop the hidden states of the virtual tokens, so that `logits_to_keep` needs no offset for the prompts."""
        if (config := self._config()) is None:
            return None
        cache, length = kwargs.get("past_key_values"), kwargs["inputs_embeds"].shape[1]
        if cache is None or cache.get_seq_length() == length:
            output.last_hidden_state = output.last_hidden_state[:, config.num_virtual_tokens :]
        return output

    def combine(self, model, args, kwargs, output):
        """In evaluation, combine the members' logits; if labels are given, the loss is that of the combined logits."""
        if (config := self._config()) is None or model.training:
            return None
        output.logits = combined(output.logits.unflatten(0, (config.members, -1)), config.combine)
        if (labels := kwargs.get("labels")) is not None:
            output.loss = model.loss_function(
                logits=output.logits, labels=labels[: len(output.logits)], vocab_size=output.logits.shape[-1]
            )
        return output


def combined(logits: torch.Tensor, how: str) -> torch.Tensor:
    """Combine the members' logits, members × … × vocabulary, into log-probabilities, … × vocabulary, in float32.

    how: "average" gives the logarithm of the mean probability. "vote" counts one vote per member for its most probable
    token and adds the mean probability, which is below one vote for any token and so only breaks ties.
    """
    count = len(logits)
    mean = logits.float().log_softmax(-1).logsumexp(0) - math.log(count)
    if how == "average":
        return mean
    votes = torch.zeros_like(mean).scatter_add_(
        -1, (best := logits.argmax(-1).movedim(0, -1)), torch.ones_like(best, dtype=mean.dtype)
    )
    return torch.log(votes + mean.exp()) - math.log(count + 1)


def to_stock(model, folder: Path, adapter_name: str = "default") -> None:
    """Write each member of `model` (a PeftModel over a `PromptEnsembleModel`) as a stock PROMPT_TUNING adapter into
    folder/member1, folder/member2, …
    """
    own, base = model.peft_config[adapter_name], model.get_base_model()
    prompts = base.get_input_embeddings().prompt_ensemble_members[adapter_name].detach().float().cpu()
    for index, prompt in enumerate(prompts, 1):
        (place := folder / f"member{index}").mkdir(parents=True)
        config = PromptTuningConfig(
            task_type=own.task_type,
            num_virtual_tokens=len(prompt),
            num_transformer_submodules=1,
            prompt_tuning_init="RANDOM",
            inference_mode=True,
            base_model_name_or_path=own.base_model_name_or_path,
        )
        save_file({"prompt_embeddings": prompt.contiguous()}, place / "adapter_model.safetensors")
        _prepare_prompt_learning_config(config, base.config).save_pretrained(str(place))
