"""The model card: README.md of an adapter, in the form that the Hugging Face hub reads, made from its card in the store.

It says what was done, how well it went beside the base model, how to load it with stock peft, and what it cannot be trusted
with. Paths of this machine never get into it. It knows nothing about the store or the disk.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from studio.methods import METHODS
from studio.models.resolve import is_hub_id

_METRICS = {
    "exact_match": ("Exact match on held-out questions", "base_exact_match", "{:.1%}"),
    "eval_loss": ("Loss on the held-out part", "base_eval_loss", "{:.4f}"),
}
_STARTER = "the folder `assets/starter` of Delta Studio, the program that made this adapter; it is part of its repository"
_ABSOLUTE = re.compile(r"(?:/|~|[A-Za-z]:[\\/]).*")


def public_name(base: str) -> str:
    """The base model as other people know it: a hub id, "starter", or the last part of a local path."""
    return base if base == "starter" or is_hub_id(base) else (re.split(r"[\\/]", base.rstrip("\\/"))[-1] or "base")


def public(value: Any) -> Any:
    """`value` (JSON-like) with every absolute path replaced by its last part."""
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items()}
    if isinstance(value, list):
        return [public(item) for item in value]
    return public_name(value) if isinstance(value, str) and _ABSOLUTE.fullmatch(value) else value


def model_card(name: str, card: dict) -> str:
    """README.md for the adapter called `name`."""
    whole = card.get("kind") == "model"
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(card, whole), sort_keys=False, allow_unicode=True)}---\n\n# {_plain(name)}",
        _what(card, whole), "## How to use it", _usage(card, whole), "## How well it does", _results(card), "## How it was made", _made(card), "## Limits", _limits(card, whole),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(card: dict, whole: bool) -> dict:
    base = card.get("base", "")
    front: dict[str, Any] = {"library_name": "transformers" if whole else "peft", "pipeline_tag": "text-generation"}
    if is_hub_id(base):  # the hub refuses names that it does not know
        front["base_model"] = base
        front["base_model_relation"] = "finetune" if whole else "adapter"
    front["tags"] = [tag for tag in ("delta-studio", card.get("method"), card.get("task")) if tag]
    return front


def _what(card: dict, whole: bool) -> str:
    base, rows = public_name(card.get("base", "")), card.get("rows")
    data = f" from {_plain(card['data'])}" if card.get("data") else ""
    examples = f" ({rows} examples)" if rows else ""
    thing = "A whole model" if whole else f"An adapter ({card.get('ships_as', 'peft')})"
    verb = {"chat": "answer in conversations", "text": "continue text"}.get(card.get("task", ""), card.get("task", ""))
    return f"{thing} that teaches **{_plain(base)}** to {verb}{data}{examples}, made with {card.get('summary') or card.get('method')} in Delta Studio."


def _usage(card: dict, whole: bool) -> str:
    base = card.get("base", "")
    place = public_name(base) if is_hub_id(base) else f"path/to/{public_name(base)}"
    revision = f', revision="{card["revision"]}"' if card.get("revision") and is_hub_id(base) else ""
    if whole:
        code = [
            "from transformers import AutoModelForCausalLM, AutoTokenizer", "",
            'model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")', 'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
        ]
    else:
        rope = card.get("rope")
        longer = [
            f'config = AutoConfig.from_pretrained("{place}"{revision})', f"config.rope_parameters = {rope['rope_parameters']}  # adapter_config.json does not hold it",
            f"config.max_position_embeddings = {rope['max_position_embeddings']}",
        ] if rope else []
        code = [
            "from peft import PeftModel", f"from transformers import {'AutoConfig, ' if rope else ''}AutoModelForCausalLM, AutoTokenizer", "",
            *(["import studio.tuners  # of Delta Studio: makes peft know this type of adapter", ""] if _own_type(card) else []),
            *longer, f'base = AutoModelForCausalLM.from_pretrained("{place}"{revision}{", config=config" if rope else ""})', 'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
            f'tokenizer = AutoTokenizer.from_pretrained("{place}"{revision})',
        ]
    if card.get("lent_template") and not whole:
        code.append('tokenizer.chat_template = open("path/to/this/folder/chat_template.jinja").read()')
    if card.get("task") == "chat":
        code += [
            'text = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True)',
            'inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)',
        ]
    else:
        code += ['inputs = tokenizer("Once upon a time", return_tensors="pt")']
    code += ["answer = model.generate(**inputs, max_new_tokens=64, do_sample=False)", 'print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))']
    where = "" if whole or is_hub_id(base) else f"\n\nThe base model is {_STARTER if base == 'starter' else 'a local model called `' + _plain(public_name(base)) + '`'}."
    return "```python\n" + "\n".join(code) + "\n```" + where


def _own_type(card: dict) -> bool:
    """Whether stock peft cannot load it."""
    method = METHODS.get(card.get("method", ""))
    return method is not None and not method.stock


def _results(card: dict) -> str:
    metrics = card.get("metrics") or {}
    lines = [
        f"| {title} | {_number(metrics.get(base), form)} | {_number(metrics[key], form)} |"
        for key, (title, base, form) in _METRICS.items() if metrics.get(key) is not None
    ]
    if not lines:
        return "It was not measured: the run had no held-out part, or no evaluation."
    head = "| | base model | with this adapter |\n|---|---|---|\n"
    return head + "\n".join(lines) + "\n\nMeasured on rows of the same data that it was not taught with, greedy answers."


def _number(value: float | None, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else "not measured"


def _made(card: dict) -> str:
    facts = [
        ("Method", card.get("summary") or card.get("method")),
        ("Numbers learnt", f"{card['parameters']:,}" if card.get("parameters") else None),
        ("Time", f"{card['seconds']:.0f} s" if card.get("seconds") else None),
        ("Finished", card.get("finished")),
    ]
    lines = "\n".join(f"- {key}: {value}" for key, value in facts if value)
    if not card.get("recipe"):
        return lines
    recipe = yaml.safe_dump(public(card["recipe"]), sort_keys=False, allow_unicode=True)
    return f"{lines}\n\n<details><summary>The whole recipe</summary>\n\n```yaml\n{recipe}```\n\n</details>"


def _limits(card: dict, whole: bool) -> str:
    rows = card.get("rows")
    lines = ["- It knows what its base model knows, with the base's mistakes and prejudices, plus the manner of the examples."]
    if rows and rows < 1000:
        lines.append(f"- {rows} examples teach a manner or a format, hardly new knowledge; expect it to fail on what they do not cover.")
    lines.append("- The figures above come from the data it was taught with; on other data it may do worse than the base. Try it on yours before you rely on it.")
    if not whole and _own_type(card):
        lines.append(f"- Its type, {card.get('ships_as')}, is Delta Studio's own: peft alone does not know it and raises a KeyError. Run the code above in Delta Studio's folder, where `studio.tuners` is.")
    if not whole and card.get("rope"):
        lines.append(f"- It was taught with a context of {card['rope']['max_position_embeddings']} tokens: without the RoPE scaling of the code above, which `rope.json` holds too, its answers are noise.")
    if not whole:
        lines.append("- It fits this base model only; over any other one its answers are noise.")
    lines.append("- The licences of the base model and of the data hold for this too; neither is known here.")
    return "\n".join(lines)


def _plain(text: Any) -> str:
    """Text from people, made harmless for Markdown and HTML."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(text).split()))
