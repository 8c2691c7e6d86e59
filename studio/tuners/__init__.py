"""The torch modules of methods that peft lacks, registered with peft: importing this package is what makes peft know them.

`studio.models.load.load_base` imports it, so whoever has a base model in memory can load the studio's own adapters over it.
It knows nothing about methods' cards and options.
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
