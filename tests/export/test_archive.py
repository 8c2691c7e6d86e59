"""What leaves: zips that stock peft loads in a fresh process, model cards whose code runs, merged models."""

from __future__ import annotations

import json
import re
import zipfile

import pytest
import yaml

from studio.export.archive import zip_adapter
from studio.library import adapter_store
from studio.library import card as cards
from studio.words import StudioError
from tests.export.conftest import run_export
from tests.fresh import fresh_python

QUESTION = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def shelved(home, store, models):
    base = str(models / "base")
    recipe = {"name": "r", "model": {"name": base}, "data": {"path": str(home.uploads / "secret name.jsonl")}}
    for kind, method in (("lora", "lora"), ("ia3", "ia3"), ("prompt", "prompt_tuning")):
        card = {
            "kind": "adapter",
            "method": method,
            "summary": f"{kind} r=4",
            "artefact_type": kind.upper(),
            "base": base,
            "task": "chat",
            "data": "captain.jsonl",
            "rows": 40,
            "metrics": {"exact_match": 0.875, "base_exact_match": 0.05, "eval_loss": 0.5},
            "parameters": 12345,
            "seconds": 40.2,
            "recipe": recipe,
        }
        adapter_store.add(home, store, source=models / kind, name=f"My {kind}: 船长 / v1", run_id=kind, card=card)
    return base


def greedy(base, adapter):
    from peft import PeftModel

    from studio.chat.generation import generate_answers
    from studio.models.chat_tokenizer import ChatTokenizer
    from studio.models.load import load_base

    model = load_base(base)
    return generate_answers(
        PeftModel.from_pretrained(model, adapter) if adapter else model, ChatTokenizer(base), [QUESTION], 64
    )[0]


@pytest.mark.slow
def test_the_zip_answers_the_same_in_a_fresh_process_by_the_code_of_its_card(home, store, models, shelved, tmp_path):
    programs, expected = [], []
    for kind in ("lora", "ia3", "prompt"):
        path = zip_adapter(home, store, kind, tmp_path)
        again = path.read_bytes()
        assert zip_adapter(home, store, kind, tmp_path).read_bytes() == again  # the same bytes each time
        with zipfile.ZipFile(path) as archive:
            assert sorted(archive.namelist()) == [
                "README.md",
                "adapter_config.json",
                "adapter_model.safetensors",
                "recipe.yaml",
            ]
            archive.extractall(tmp_path / kind)
        code = re.search(r"```python\n(.*?)```", (tmp_path / kind / "README.md").read_text(), re.S)[1]
        programs.append(
            code.replace('"path/to/base"', repr(shelved))
            .replace('"path/to/this/folder"', repr(str(tmp_path / kind)))
            .replace("print(", "out.append(")
        )
        expected.append(greedy(models / "base", models / kind))
    program = (
        "import json, sys\nout = []\n"
        + "\n".join(programs)
        + "\nassert not any(name.startswith('studio') for name in sys.modules)\nprint(json.dumps(out))"
    )
    ran = fresh_python(program, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == expected
    assert len(set(expected)) == 3


def test_a_lent_chat_template_travels_along(home, store, tmp_path):
    from studio.models.templates import template
    from tests.chat.tiny_models import make_adapter, make_model

    base = make_model(tmp_path / "bare", template=None)
    adapter = make_adapter(base, tmp_path / "adapter", "lora")
    (adapter / "chat_template.jinja").write_text(template("chatml"))
    adapter_store.add(
        home,
        store,
        source=adapter,
        name="lent",
        run_id="lent",
        card={"base": str(base), "task": "chat", "method": "lora"},
    )
    with zipfile.ZipFile(zip_adapter(home, store, "lent", tmp_path)) as archive:
        archive.extractall(tmp_path / "out")
    code = re.search(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.S)[1]
    code = (
        code.replace('"path/to/bare"', repr(str(base)))
        .replace("path/to/this/folder", str(tmp_path / "out"))
        .replace("print(", "said.append(")
    )
    exec(code, {"said": (text := [])})
    # the code of the card does not know where lent ChatML ends; up to there it is the Chat tab's answer
    assert text[0].startswith(greedy(base, adapter))


def test_nothing_of_this_machine_leaks(home, store, models, shelved, tmp_path):
    path = zip_adapter(home, store, "lora", tmp_path)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert str(models).encode() not in content and str(home.root).encode() not in content, name
        assert json.loads(archive.read("adapter_config.json"))["base_model_name_or_path"] == "base"
        assert yaml.safe_load(archive.read("recipe.yaml"))["data"]["path"] == "secret name.jsonl"
    assert str(home.root) not in (home.adapter("lora") / "README.md").read_text()
    assert path.parent == tmp_path and "/" not in path.name
    with pytest.raises(StudioError):
        zip_adapter(home, store, "../lora", tmp_path)
    with pytest.raises(StudioError):
        zip_adapter(home, store, "nowhere", tmp_path)
    assert [item.name for item in tmp_path.iterdir() if item.suffix == ".half"] == []


def test_the_model_card():
    card = {
        "base": "Qwen/Qwen3-0.6B",
        "method": "lora",
        "summary": "LoRA r=8",
        "artefact_type": "LORA",
        "task": "text",
        "data": "a|b <script>",
        "rows": 12,
        "metrics": {"exact_match": 0.9, "base_exact_match": 0.1},
    }
    text = cards.model_card("x: # y", card)
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["base_model"] == "Qwen/Qwen3-0.6B" and front["library_name"] == "peft" and "license" not in front
    assert "10.0% | 90.0%" in text and "<script>" not in text and 'from_pretrained("Qwen/Qwen3-0.6B")' in text
    assert "AutoModelForCausalLM.from_pretrained(" in text
    seeing = cards.model_card(
        "x", {**card, "base": "mistralai/Ministral-3-3B-Instruct-2512-BF16", "loader": "AutoModelForImageTextToText"}
    )
    assert (
        "import AutoModelForImageTextToText, AutoTokenizer" in seeing
        and 'base = AutoModelForImageTextToText.from_pretrained("mistralai/Ministral' in seeing
    )
    starter = cards.model_card("s", {**card, "base": "starter", "metrics": {}})
    assert (
        "base_model" not in yaml.safe_load(starter.split("---\n")[1])
        and "assets/starter" in starter
        and "not measured" in starter
    )
    assert cards.public_name("/home/me/models/tiny/") == "tiny" and cards.public_name("C:\\models\\tiny") == "tiny"
    assert cards.public({"a": ["/x/y", 3, "plain/text"]}) == {"a": ["y", 3, "plain/text"]}
    for bare in ({}, {"kind": "model", "task": "chat"}):
        assert cards.model_card("bare", bare).startswith("---\n")


@pytest.mark.slow
def test_merged_models_answer_like_their_adapter_and_load_anywhere(
    home, store, models, shelved, shared_reader, tmp_path
):
    for kind in ("lora", "ia3"):
        result = run_export(home, store, kind, "merged")
        assert result["adapter"] == f"{kind}-merged" and result["proofs"][0]["difference"] <= 1e-4
        folder, card, name = adapter_store.find(home, store, result["adapter"])
        assert card["kind"] == "model" and name.endswith("(merged)") and "merged" in card["summary"]
        assert greedy(folder, None) == greedy(models / "base", models / kind)
        assert card["parents"] == [{"id": kind, "name": f"My {kind}: 船长 / v1", "relation": "merged"}]
    assert run_export(home, store, "lora", "merged", dtype="bf16")["adapter"] == "lora-merged"
    assert len(store.adapters()) == 5
    path = zip_adapter(home, store, "ia3-merged", tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"} <= set(
            archive.namelist()
        )
        assert "studio.json" not in archive.namelist() and str(home.root).encode() not in archive.read("config.json")
    assert not list((home.root / "adapters").glob(".half*"))
