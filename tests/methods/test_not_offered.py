"""Whatever the installed peft can do is either offered or stands in studio/methods/NOT_OFFERED.md with the reason why
not."""

import dataclasses
import re

from peft import LoraConfig, PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "studio" / "methods"
SOURCE = "\n".join(
    path.read_text(encoding="utf-8") for folder in (FOLDER, FOLDER.parent / "tuners") for path in folder.glob("*.py")
)
LISTED = set(
    re.findall(r"^\| ([A-Za-z_]+) \|", (FOLDER / "NOT_OFFERED.md").read_text(encoding="utf-8"), re.MULTILINE)
) - {"PeftType"}
# What any LoRA has; every other field of a LoraConfig is a variant.
PLAIN = {
    "r",
    "target_modules",
    "exclude_modules",
    "lora_alpha",
    "lora_dropout",
    "fan_in_fan_out",
    "bias",
    "lora_bias",
    "use_rslora",
    "modules_to_save",
    "init_lora_weights",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "megatron_config",
    "megatron_core",
    "loftq_config",
    "qalora_group_size",
    "runtime_config",
    "target_parameters",
    "trainable_token_indices",
    "ensure_weight_tying",
}


def test_each_type_and_each_variant_of_lora_is_offered_or_listed():
    configs = {
        kind.value: config
        for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()
        if config.__module__.startswith("peft.")
    }
    variants = (
        {field.name for field in dataclasses.fields(LoraConfig)}
        - {field.name for field in dataclasses.fields(PeftConfig)}
        - PLAIN
    )
    offered = {kind for kind, config in configs.items() if re.search(rf"\b{config.__name__}\(", SOURCE)} | {
        name for name in variants if re.search(rf"\b{name}=", SOURCE)
    }
    assert len(offered) > 30
    assert (configs.keys() | variants) - offered - LISTED == set(), (
        "try these: offer them, or say in NOT_OFFERED.md why not"
    )
    assert LISTED - (configs.keys() | variants) == set(), "peft has these no more: take them off NOT_OFFERED.md"
    assert LISTED & offered == set(), "these are offered: take them off NOT_OFFERED.md"
