"""A stranger: a program that loads an artefact with stock peft and transformers, and keeps the logits.

Its argument is a request, {"base", "folder", "whole", "quantisation", "ids", "answer", "studio"}: the logits come into
the file `answer`; `studio` is where studio.tuners is, for what only the studio's types can be, or null. Run by
tests/methods/stock_peft.py.
"""

import json
import sys
from pathlib import Path


def loaded(request: dict):
    """The artefact as a model, as its card's own lines of Python load it."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

    if request["whole"]:
        return AutoModelForCausalLM.from_pretrained(request["folder"], dtype=torch.float32)
    more = {}
    if request["quantisation"] == "nf4":
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
    rope = Path(request["folder"], "rope.json")
    if rope.exists():
        config, words = AutoConfig.from_pretrained(request["base"]), json.loads(rope.read_text())
        config.rope_parameters, config.max_position_embeddings = (
            words["rope_parameters"],
            words["max_position_embeddings"],
        )
        more["config"] = config
    base = AutoModelForCausalLM.from_pretrained(request["base"], dtype=torch.float32, **more)
    for module in base.modules():  # else some CPUs calculate 4-bit layers in another way, a little less exact
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return PeftModel.from_pretrained(base, request["folder"])


def main() -> None:
    import torch

    request = json.loads(sys.argv[1])
    if request["studio"]:
        sys.path.append(request["studio"])
        import studio.tuners  # noqa: F401
    else:
        sys.modules["studio"] = None  # whatever would import it fails
    with torch.no_grad():
        found = loaded(request).eval()(input_ids=torch.tensor(request["ids"])).logits
    torch.save(found.float(), request["answer"])


if __name__ == "__main__":
    main()
