"""A stranger: a process that loads an artefact with stock peft and transformers, and tells the logits.

    # own: imports studio.tuners first, for what only the studio's types can be
    python tests/methods/stock_peft_process.py [own]

Reads a request a line, {"base", "folder", "whole", "quantisation", "ids", "answer"}, and writes the logits to the file
`answer`.
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

    torch.set_num_threads(1)
    if "own" in sys.argv:
        import studio.tuners  # noqa: F401
    else:
        sys.modules["studio"] = None  # whatever would import it fails
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with torch.no_grad():
                found = loaded(request).eval()(input_ids=torch.tensor(request["ids"])).logits
            torch.save(found.float(), request["answer"])
            print("ok", flush=True)
        except Exception as error:  # told to the test, which fails with it
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
