"""Write a Space for one adapter: app.py, requirements.txt, README.md and the adapter's files. Used in workers only.

The folder runs here (`python app.py`) and as a Gradio Space on the Hub, with stock peft and transformers.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import yaml

from studio.export import adapter_zip, hub
from studio.export.merge import COMPANION_FILES
from studio.export.source import Source
from studio.export.work import Work
from studio.library.card import public_name
from studio.models.resolve import is_hub_id
from studio.words import StudioError

_TRAVELS = 2_000_000_000  # bytes of a local base model that may be put into the folder
_PACKAGES = ("torch", "transformers", "peft", "safetensors")
_APP = '''"""A page to talk with {name!r}, an adapter made in Delta Studio."""

import threading
from pathlib import Path

import gradio as gr
import torch
from transformers import {auto}, AutoTokenizer, TextIteratorStreamer

HERE = Path(__file__).parent
BASE = {base}
device = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = AutoTokenizer.from_pretrained(BASE{revision})
{load}
model = model.to(device).eval()
template = HERE / "adapter" / "chat_template.jinja"
if template.exists():
    tokenizer.chat_template = template.read_text(encoding="utf-8")


def prompt(message, history):
    if not {chat}:
        return tokenizer(message, return_tensors="pt")
    turns = [{{"role": turn["role"], "content": _text(turn["content"])}} for turn in history]
    turns.append({{"role": "user", "content": message}})
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, return_tensors="pt", add_special_tokens=False)


def _text(content):
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))


def answer(message, history):
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    inputs = prompt(message, history).to(device)
    settings = {{**inputs, "max_new_tokens": 256, "do_sample": False, "streamer": streamer}}
    threading.Thread(target=model.generate, kwargs=settings, daemon=True).start()
    said = ""
    for piece in streamer:
        said += piece
        yield said


demo = gr.ChatInterface(answer, title={name!r}, description={description!r}, api_name="chat")

if __name__ == "__main__":
    demo.launch()
'''
_LOAD_ADAPTER = (
    "from peft import PeftModel  # noqa: E402\n\n"
    "model = {auto}.from_pretrained(BASE{revision}, dtype=torch.float32)\n"
    'model = PeftModel.from_pretrained(model, HERE / "adapter")'
)
_LOAD_MODEL = "model = {auto}.from_pretrained(BASE, dtype=torch.float32)"


def write(work: Work) -> None:
    """Write the Space's folder and, where a repository is named, publish it."""
    options, source = work.options, work.source
    api = None
    if options.repository:
        hub.check_repository(options.repository)
        api = hub.api_with_token(work)
    files = work.folder / "space"
    files.mkdir()
    adapter_zip.write(work)
    hub.unpack(work.folder, files / "adapter")
    base = _base(source, files)
    (files / "app.py").write_text(app_source(source, base), encoding="utf-8")
    needed = [f"{name}>={version(name).partition('+')[0]}" for name in _PACKAGES]
    (files / "requirements.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")
    (files / "README.md").write_text(_readme(source), encoding="utf-8")
    if api:
        hub.upload(work, api, files, "space")
    shutil.make_archive(str(work.folder / "space"), "zip", files)


def _base(source: Source, files: Path) -> str:
    """The Python expression for the base model; a local one is copied to the folder."""
    if source.whole:
        return 'HERE / "adapter"'
    name = source.card["base"]
    if is_hub_id(name):
        return repr(name)
    size = sum(path.stat().st_size for path in source.base_folder.glob("*.safetensors"))
    if size > _TRAVELS:
        raise StudioError(
            "The base model '{name}' is a local folder of {size} GB, too large to travel with a Space; use one from "
            "the Hub.",
            name=public_name(name),
            size=round(size / 1e9, 1),
        )
    (files / "base").mkdir()
    for pattern in ("config.json", "*.safetensors", "*.safetensors.index.json", *COMPANION_FILES):
        for path in source.base_folder.glob(pattern):
            shutil.copyfile(path, files / "base" / path.name)
    return 'HERE / "base"'


def app_source(source: Source, base: str) -> str:
    """app.py of the Space. base: the Python expression for the base model."""
    auto = source.card.get("loader", "AutoModelForCausalLM")
    named = is_hub_id(source.card.get("base", "")) and source.card.get("revision") and not source.whole
    revision = f", revision={source.card['revision']!r}" if named else ""
    load = _LOAD_MODEL if source.whole else _LOAD_ADAPTER
    return _APP.format(
        name=source.name,
        auto=auto,
        base=base,
        revision=revision,
        load=load.format(auto=auto, revision=revision),
        chat=source.card.get("task") == "chat",
        description=f"{source.card.get('summary', '')} over {public_name(source.card.get('base', ''))}",
    )


def _readme(source: Source) -> str:
    front = {
        "title": source.name[:60],
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "app_file": "app.py",
        "pinned": False,
        "suggested_hardware": "cpu-basic",
    }
    base = source.card.get("base", "")
    if is_hub_id(base):
        front["models"] = [base]
    text = "Run it here: `pip install -r requirements.txt gradio`, then `python app.py`."
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n# {source.name}\n\n{text}\n"
