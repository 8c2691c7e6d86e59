"""Tuners (torch modules) of the methods that peft lacks. Importing this package registers them with peft.

`studio.models.load.load_base` imports it, so the studio's own adapters can be loaded onto any base model that it
returned. Independent of the methods' cards and options.
"""

from studio.tuners.bitfit import BitFitConfig, BitFitModel
from studio.tuners.bottleneck import BottleneckConfig, BottleneckModel
from studio.tuners.diff_pruning import DiffPruningConfig, DiffPruningModel
from studio.tuners.ensemble import PromptEnsembleConfig, PromptEnsembleModel
from studio.tuners.fusion import FusionConfig, FusionModel
from studio.tuners.hybrid import HybridConfig, HybridModel
from studio.tuners.prefix import PrefixConfig, PrefixModel
from studio.tuners.register import register

register("bottleneck", BottleneckConfig, BottleneckModel)
register("bitfit", BitFitConfig, BitFitModel)
register("prefix", PrefixConfig, PrefixModel)
register("prompt_ensemble", PromptEnsembleConfig, PromptEnsembleModel)
register("diff", DiffPruningConfig, DiffPruningModel)
register("fusion", FusionConfig, FusionModel)
register("hybrid", HybridConfig, HybridModel)

__all__ = [
    "BitFitConfig",
    "BitFitModel",
    "BottleneckConfig",
    "BottleneckModel",
    "DiffPruningConfig",
    "DiffPruningModel",
    "FusionConfig",
    "FusionModel",
    "HybridConfig",
    "HybridModel",
    "PrefixConfig",
    "PrefixModel",
    "PromptEnsembleConfig",
    "PromptEnsembleModel",
]
