"""`LayerTuner`, the base of the studio's peft tuners that wrap each target module in a layer of their own."""

from __future__ import annotations

from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner
from torch import nn


class LayerTuner(BaseTuner):
    """A peft tuner that wraps each target module in one layer of `tuner_layer_cls`, which holds all adapters."""

    target_module_mapping: dict = {}

    def _create_and_replace(self, peft_config, adapter_name, target, target_name, parent, current_key):
        layer = target if isinstance(target, self.tuner_layer_cls) else self.tuner_layer_cls(target)
        self.add_to_layer(layer, peft_config, adapter_name, current_key)
        if layer is not target:
            if adapter_name not in self.active_adapters:
                layer.requires_grad_(False)
            self._replace_module(parent, target_name, layer, target)

    def add_to_layer(self, layer: nn.Module, peft_config: PeftConfig, adapter_name: str, current_key: str) -> None:
        """Add the parameters of one adapter to the layer of the target module that is named `current_key`."""
        layer.update_layer(adapter_name, peft_config)
