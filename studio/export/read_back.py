"""A program that loads an export with stock tools and calculates its logits; it imports nothing of the studio.

`python -P studio/export/read_back.py [own]` prints "ready", then reads a request a line (JSON, see `answer`) and prints
"ok" or "failed: …" for each. "own" allows `import studio.tuners`, for adapter types that peft lacks.
"""

import json
import sys
from pathlib import Path


def answer(request: dict) -> None:
    """Load what `request` describes and write its logits, fp32, one array an input, to the file "out" (npz).

    Keys: "kind" (adapter, model, gguf or gguf_lora), "folder", "file" (of a GGUF), "base" (folder of the base model),
    "auto" (class of transformers), "labels" (names of classes or null), "rope" (factor of the RoPE scaling is in the
    folder's rope.json if there), "inputs" (npz: "KEY:NUMBER" → array).
    """
    import numpy as np
    import torch

    model = {"adapter": _adapter, "model": _model, "gguf": _gguf, "gguf_lora": _gguf_lora}[request["kind"]](request)
    model.eval()
    logits = {}
    with np.load(request["inputs"]) as inputs, torch.no_grad():
        for name in inputs.files:
            key, _, number = name.partition(":")
            logits[number] = model(**{key: torch.from_numpy(inputs[name])}).logits.float().numpy()
    np.savez(request["out"], **logits)


def _classes(request: dict) -> dict:
    if request.get("labels") is None:
        return {}
    return {"id2label": dict(enumerate(request["labels"])), "ignore_mismatched_sizes": True}


def _load(request: dict, folder: str, **more):
    import torch
    import transformers

    auto = getattr(transformers, request["auto"])
    return auto.from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, **more)


def _model(request: dict):
    return _load(request, request["folder"])


def _adapter(request: dict):
    from peft import PeftModel
    from transformers import AutoConfig

    more = _classes(request)
    rope = Path(request["folder"], "rope.json")
    if rope.exists():
        scaling = json.loads(rope.read_text(encoding="utf-8"))
        more["config"] = config = AutoConfig.from_pretrained(request["base"])
        config.rope_parameters = scaling["rope_parameters"]
        config.max_position_embeddings = scaling["max_position_embeddings"]
    return PeftModel.from_pretrained(_load(request, request["base"], **more), request["folder"])


def _gguf(request: dict):
    """transformers' own reader of GGUF files, with the config that the model had before it was written."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(request["config"])
    if config.model_type == "mistral":  # llama.cpp's llama, and transformers' reader knows it by that name alone
        given = {**config.to_dict(), "model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        config = transformers.LlamaConfig.from_dict(given)
    return getattr(transformers, request["auto"]).from_pretrained(
        request["folder"], gguf_file=request["file"], config=config, dtype=torch.float32
    )


def _gguf_lora(request: dict):
    """The base with W + alpha / rank · B A added to its weights, as llama.cpp applies the file."""
    import torch
    from gguf import MODEL_ARCH_NAMES, GGUFReader, dequantize, get_tensor_name_map
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor

    model = _load(request, request["base"])
    reader = GGUFReader(str(Path(request["folder"], request["file"])))
    architecture = reader.fields["general.architecture"].contents()
    alpha = reader.fields["adapter.lora.alpha"].contents()
    tensors = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    key = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture)
    config = model.config.get_text_config()
    names = get_tensor_name_map(key, config.num_hidden_layers)
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=config.to_dict())
    unused = set(tensors)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            mapped = names.get_name(name.replace("language_model.", ""), try_suffixes=(".weight",))
            if mapped is None or f"{mapped}.lora_a" not in tensors:
                continue
            a, b = tensors[f"{mapped}.lora_a"], tensors[f"{mapped}.lora_b"]
            unused -= {f"{mapped}.lora_a", f"{mapped}.lora_b"}
            delta = processor.process((alpha / b.shape[1]) * (b @ a), name=mapped).weights
            weight += torch.from_numpy(delta)
    if unused:
        raise ValueError(f"no layer of the base takes {sorted(unused)[0]}")
    return model


def main() -> None:
    """Answer requests until the input ends."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if "own" in sys.argv:
        import studio.tuners  # noqa: F401  registers the types with peft
    else:
        sys.modules["studio"] = None  # whatever would import it fails
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            answer(json.loads(line))
            print("ok", flush=True)
        except Exception as error:  # told to whoever asked, which fails with it
            print(f"failed: {type(error).__name__}: {error}".replace("\n", " ")[:500], flush=True)


if __name__ == "__main__":
    main()
