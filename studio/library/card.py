"""Generate the model card (README.md) of an adapter, in the format of the Hugging Face Hub, from its card in the store.

Contents: base model, task and data; code that loads the adapter with stock peft; metrics compared with the base model;
method and recipe; limitations. Local absolute paths are reduced to their last part. Does not access the store or the
disk.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from studio.methods import METHODS
from studio.models.resolve import is_hub_id

_METRICS = {
    "correct": ("Accuracy on validation rows", "base_correct", "{:.1%}"),
    "macro_f1": ("Macro F1", "base_macro_f1", "{:.3f}"),
    "exact_match": ("Exact match on validation questions", "base_exact_match", "{:.1%}"),
    "eval_loss": ("Loss on the validation set", "base_eval_loss", "{:.4f}"),
}
_PIPELINES = {
    "classification": "text-classification",
    "multitask": "text-classification",
    "image": "image-classification",
}
_STARTER = (
    "the folder `assets/starter` of Delta Studio, the program that made this adapter; it is part of its repository"
)
_ABSOLUTE = re.compile(r"(?:/|~|[A-Za-z]:[\\/]).*")


def public_name(base: str) -> str:
    """The name of the base model without local folders: a Hub id, "starter", "starter-vit" or a path's last part."""
    return (
        base
        if base in ("starter", "starter-vit") or is_hub_id(base)
        else (re.split(r"[\\/]", base.rstrip("\\/"))[-1] or "base")
    )


def public(value: Any) -> Any:
    """`value` (JSON-like) with every absolute path replaced by its last part."""
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items()}
    if isinstance(value, list):
        return [public(item) for item in value]
    return public_name(value) if isinstance(value, str) and _ABSOLUTE.fullmatch(value) else value


def model_card(name: str, card: dict) -> str:
    """README.md of the adapter called `name`, or of a merged model where the card's `kind` is "model"."""
    whole = card.get("kind") == "model"
    parts = [
        (
            f"---\n{yaml.safe_dump(_front_matter(card, whole), sort_keys=False, allow_unicode=True)}---\n\n"
            f"# {_plain(name)}"
        ),
        _what(card, whole),
        "## How to use it",
        _usage(card, whole),
        "## How well it does",
        _results(card),
        "## How it was made",
        _made(card),
        *(["## Notes", _notes(card["notes"])] if card.get("notes") else []),
        "## Limits",
        _limits(card, whole),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(card: dict, whole: bool) -> dict:
    base = card.get("base", "")
    front: dict[str, Any] = {
        "library_name": "transformers" if whole else "peft",
        "pipeline_tag": _PIPELINES.get(card.get("task"), "text-generation"),
    }
    if is_hub_id(base):  # the Hub rejects any other value
        front["base_model"] = base
        front["base_model_relation"] = "finetune" if whole else "adapter"
    front["tags"] = [tag for tag in ("delta-studio", card.get("method"), card.get("task")) if tag]
    return front


def _what(card: dict, whole: bool) -> str:
    base, rows = public_name(card.get("base", "")), card.get("rows")
    data = f" from {_plain(card['data'])}" if card.get("data") else ""
    examples = f" ({rows} example{'' if rows == 1 else 's'})" if rows else ""
    thing = "A whole model" if whole else f"An adapter ({card.get('artefact_type', 'peft')})"
    verb = {
        "chat": "answer in conversations",
        "text": "continue text",
        "classification": "classify texts",
        "multitask": "classify texts by several label sets",
        "image": "classify pictures",
    }.get(card.get("task", ""), card.get("task", ""))
    return (
        f"{thing} that teaches **{_plain(base)}** to {verb}{data}{examples}, "
        f"made with {card.get('summary') or card.get('method')} in Delta Studio."
    )


def _usage(card: dict, whole: bool) -> str:
    if "labels" in card:
        return _class_usage(card, whole)
    base, auto = card.get("base", ""), card.get("loader", "AutoModelForCausalLM")
    place = public_name(base) if is_hub_id(base) else f"path/to/{public_name(base)}"
    revision = f', revision="{card["revision"]}"' if card.get("revision") and is_hub_id(base) else ""
    if whole:
        code = [
            f"from transformers import {auto}, AutoTokenizer",
            "",
            f'model = {auto}.from_pretrained("path/to/this/folder")',
            'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
        ]
    else:
        rope = card.get("rope")
        longer = (
            [
                f'config = AutoConfig.from_pretrained("{place}"{revision})',
                f"config.rope_parameters = {rope['rope_parameters']}  # adapter_config.json does not hold it",
                f"config.max_position_embeddings = {rope['max_position_embeddings']}",
            ]
            if rope
            else []
        )
        code = [
            "from peft import PeftModel",
            f"from transformers import {'AutoConfig, ' if rope else ''}{auto}, AutoTokenizer",
            "",
            *(
                ["import studio.tuners  # of Delta Studio: makes peft know this type of adapter", ""]
                if _own_type(card)
                else []
            ),
            *longer,
            f'base = {auto}.from_pretrained("{place}"{revision}{", config=config" if rope else ""})',
            'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
            f'tokenizer = AutoTokenizer.from_pretrained("{place}"{revision})',
        ]
    if card.get("overrides_template") and not whole:
        code.append('tokenizer.chat_template = open("path/to/this/folder/chat_template.jinja").read()')
    if card.get("task") == "chat":
        code += [
            (
                'text = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], '
                "tokenize=False, add_generation_prompt=True)"
            ),
            'inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)',
        ]
    else:
        code += ['inputs = tokenizer("Once upon a time", return_tensors="pt")']
    code += [
        "answer = model.generate(**inputs, max_new_tokens=64, do_sample=False)",
        'print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
    ]
    where = (
        ""
        if whole or is_hub_id(base)
        else (
            "\n\nThe base model is "
            f"{_STARTER if base == 'starter' else 'a local model called `' + _plain(public_name(base)) + '`'}."
        )
    )
    alone = (
        ""
        if whole or card.get("artefact_type") != "PROMPT_ENSEMBLE"
        else (
            "\n\nEach of its prompts is a stock PROMPT_TUNING adapter too, in the folders `member1`, `member2`, "
            "and so on: peft alone loads one with "
            '`PeftModel.from_pretrained(base, "path/to/this/folder/member1")`, without `studio.tuners`. '
            "It then answers for itself; together they answer better."
        )
    )
    return "```python\n" + "\n".join(code) + "\n```" + where + alone


def _class_usage(card: dict, whole: bool) -> str:
    """Code that loads a classifier; the base has no head for its classes, so the class names have to be given."""
    base, pictures = card.get("base", ""), card.get("task") == "image"
    place = (
        '"path/to/this/folder"'
        if whole
        else f'"{public_name(base) if is_hub_id(base) else f"path/to/{public_name(base)}"}"'
    )
    if card.get("revision") and is_hub_id(base) and not whole:
        place += f', revision="{card["revision"]}"'
    model, reader = (
        ("AutoModelForImageClassification", "AutoImageProcessor")
        if pictures
        else ("AutoModelForSequenceClassification", "AutoTokenizer")
    )
    names = "" if whole else ", id2label=dict(enumerate(labels)), ignore_mismatched_sizes=True"
    code = [
        "import torch",
        *([] if whole else ["from peft import PeftModel"]),
        *(["from PIL import Image"] if pictures else []),
        f"from transformers import {model}, {reader}",
        "",
    ]
    if not whole and _own_type(card):
        code += ["import studio.tuners  # of Delta Studio: makes peft know this type of adapter", ""]
    code += [
        f"labels = {json.dumps(card['labels'], ensure_ascii=False)}",
        f"model = {model}.from_pretrained({place}{names}, dtype=torch.float32)",
    ]
    code += [] if whole else ['model = PeftModel.from_pretrained(model, "path/to/this/folder")']
    turn = "sigmoid()" if card.get("multi_label") else "softmax(-1)"
    if pictures:
        code += [
            f'reader = {reader}.from_pretrained({place}, backend="pil")',
            'inputs = reader(Image.open("picture.png").convert("RGB"), return_tensors="pt")',
        ]
    else:
        code += [
            f"reader = {reader}.from_pretrained({place})",
            'inputs = reader("A text to classify.", return_tensors="pt")',
        ]
    if sets := card.get("sets"):
        code += [
            f"sets = {json.dumps(sets, ensure_ascii=False)}",
            "with torch.no_grad():",
            "    heads = model.eval()(**inputs).logits[0].split([len(names) for names in sets.values()])",
            "for (name, names), logits in zip(sets.items(), heads):",
            "    print(name, dict(zip(names, logits.softmax(-1).tolist())))",
        ]
    else:
        code += [
            "with torch.no_grad():",
            f"    probabilities = model.eval()(**inputs).logits[0].{turn}",
            "print(dict(zip(labels, probabilities.tolist())))",
        ]
    own = {"starter": _STARTER, "starter-vit": _STARTER.replace("assets/starter", "assets/starter_vit")}
    where = (
        ""
        if whole or is_hub_id(base)
        else f"\n\nThe base model is {own.get(base, f'a local model called `{_plain(public_name(base))}`')}."
    )
    one = (
        ""
        if pictures
        else "\n\nAsk about one text at a time, or set `model.config.pad_token_id` to the tokenizer's before you pad."
    )
    return "```python\n" + "\n".join(code) + "\n```" + where + one


def _own_type(card: dict) -> bool:
    """Whether the adapter's type is defined in `studio.tuners`, so that stock peft cannot load it."""
    method = METHODS.get(card.get("method", ""))
    return method is not None and not method.stock


def _results(card: dict) -> str:
    metrics = card.get("metrics") or {}
    lines = [
        f"| {title} | {_number(metrics.get(base), form)} | {_number(metrics[key], form)} |"
        for key, (title, base, form) in _METRICS.items()
        if metrics.get(key) is not None
    ]
    if not lines:
        return "It was not measured: the run had no validation set, or no evaluation."
    head = "| | base model | with this adapter |\n|---|---|---|\n"
    measured = "\n\nMeasured on rows of the same data that it was not fine-tuned with"
    if "classes" in metrics:
        lines += [
            f"| Accuracy of “{_plain(one['set'])}” | {one['base_accuracy']:.1%} | {one['accuracy']:.1%} |"
            for one in metrics["classes"].get("sets", ())
        ]
        return (
            head.replace("base model", f"always “{_plain(metrics['classes']['always'])}”")
            + "\n".join(lines)
            + f"{measured}. The base model has no head for these classes, so the commonest label stands in its place."
        )
    return head + "\n".join(lines) + f"{measured}, greedy answers."


def _number(value: float | None, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else "not measured"


def _made(card: dict) -> str:
    facts = [
        ("Method", card.get("summary") or card.get("method")),
        ("Trainable parameters", f"{card['parameters']:,}" if card.get("parameters") else None),
        ("Time", f"{card['seconds']:.0f} s" if card.get("seconds") else None),
        ("Finished", card.get("finished")),
        *_lineage(card),
        ("Imported from", _plain(card["imported_from"]) if card.get("imported_from") else None),
    ]
    lines = "\n".join(f"- {key}: {value}" for key, value in facts if value)
    if not card.get("recipe"):
        return lines
    recipe = yaml.safe_dump(public(card["recipe"]), sort_keys=False, allow_unicode=True)
    return f"{lines}\n\n<details><summary>The whole recipe</summary>\n\n```yaml\n{recipe}```\n\n</details>"


def _lineage(card: dict) -> list[tuple[str, str]]:
    """("Continued from", names of the adapters), for each relation in which the card names parents."""
    named: dict[str, list[str]] = {}
    for entry in card.get("parents") or ():
        named.setdefault(str(entry.get("relation", "made")), []).append(_plain(entry.get("name", "?")))
    return [(f"{relation.capitalize()} from", ", ".join(names)) for relation, names in named.items()]


def _notes(text: str) -> str:
    """Notes as plain paragraphs: each line stays a line, and none is taken for Markdown or HTML."""
    return "  \n".join(_plain(line) for line in text.splitlines())


def _limits(card: dict, whole: bool) -> str:
    rows = card.get("rows")
    lines = [
        "- It knows what its base model knows, with the base's mistakes and prejudices, "
        "plus the manner of the examples."
    ]
    if rows and rows < 1000:
        few, covered = ("1 example teaches", "it does") if rows == 1 else (f"{rows} examples teach", "they do")
        lines.append(
            f"- {few} a manner or a format, hardly new knowledge; expect it to fail on what {covered} not cover."
        )
    lines.append(
        "- The figures above come from the data it was fine-tuned with; on other data it may do worse than the base. "
        "Try it on yours before you rely on it."
    )
    if not whole and _own_type(card):
        lines.append(
            f"- Its type, {card.get('artefact_type')}, is Delta Studio's own: peft alone does not know it and raises a "
            "KeyError. Run the code above in Delta Studio's folder, where `studio.tuners` is."
        )
    if not whole and card.get("rope"):
        lines.append(
            f"- It was fine-tuned with a context of {card['rope']['max_position_embeddings']} tokens: without the "
            "RoPE scaling of the code above, which `rope.json` holds too, its answers are noise."
        )
    if not whole:
        lines.append("- It fits this base model only; over any other one its answers are noise.")
    lines.append("- The licences of the base model and of the data hold for this too; neither is known here.")
    return "\n".join(lines)


def _plain(text: Any) -> str:
    """User-supplied text on one line, with the special characters of Markdown and HTML escaped."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(text).split()))
