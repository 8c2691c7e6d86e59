"""Any folder of a model: the Method tab gives the reason why it cannot be used before Start, naming the file or the
key, or the model trains, reloads and answers.
"""

import json
import shutil
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from studio.draft import DraftEditor
from studio.home import Home
from studio.jobs import client
from studio.models.folder_checks import folder_refusal
from studio.models.folders import files_to_download
from studio.models.shape import read_shape
from studio.store import Store
from studio.words import StudioError
from tests.models.families import DECODERS, ENCODER_DECODERS, ENCODERS, MULTIMODAL, make_model
from tests.models.model_folders import model_folder, sharded, tokenizer_folder

ROWS = {
    "chat": [
        {"messages": [{"role": "user", "content": f"q{at}"}, {"role": "assistant", "content": "a"}]} for at in range(4)
    ],
    "text": [{"text": f"some words {at}"} for at in range(4)],
    "preference": [{"prompt": f"q{at}", "chosen": "a", "rejected": "b"} for at in range(4)],
    "feedback": [{"prompt": f"q{at}", "answer": "a", "rating": at % 2 == 0} for at in range(4)],
    "classification": [{"text": f"t{at}", "label": "xy"[at % 2]} for at in range(6)],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, str]:
    """Task → a file of a few rows for it."""
    folder = tmp_path_factory.mktemp("data")
    for task, rows in ROWS.items():
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {task: str(folder / f"{task}.jsonl") for task in ROWS}


@pytest.fixture
def editor(tmp_path, monkeypatch) -> DraftEditor:
    monkeypatch.setattr(client, "ensure_supervisor", lambda home: False)
    home = Home(tmp_path / "home")
    return DraftEditor(home, Store(home.database))


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    """A tiny valid Llama; to be copied, not changed."""
    return make_model("llama", tmp_path_factory.mktemp("llama"))


def reason(editor: DraftEditor, data: dict[str, str], folder: Path, task: str = "chat") -> str:
    """Why the Method tab rejects the model in `folder`; "" where it can be started."""
    editor.use(data[task])
    editor.change(
        name=str(time.monotonic()),
        task={"name": task},
        model={"name": str(folder), "revision": None},
        method={"name": "lora"},
    )  # what was seen of the same draft is kept for a moment
    problems = editor.preflight().problems
    assert problems.keys() <= {"model"}, problems
    if problems:
        with pytest.raises(StudioError) as stopped:
            editor.start()
        assert str(stopped.value) == str(problems["model"])
    return str(problems.get("model", ""))


# ---- folders that are something else ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_is_for_classification_only(kind, editor, data, tmp_path):
    folder = make_model(kind, tmp_path / "m")
    for task in ("chat", "text", "preference", "feedback"):
        assert f"'{kind}' (model_type in config.json) is an encoder" in reason(editor, data, folder, task)
    assert reason(editor, data, folder, "classification") == ""


@pytest.mark.parametrize("kind", ENCODER_DECODERS)
def test_an_encoder_decoder(kind, editor, data, tmp_path):
    folder = make_model(kind, tmp_path / "m")
    for task in ("chat", "classification"):
        assert f"'{kind}' (model_type in config.json) is an encoder-decoder" in reason(editor, data, folder, task)


OTHER_KINDS = {
    "adapter_config.json": (
        {"base_model_name_or_path": "Qwen/Qwen3-0.6B", "peft_type": "LORA"},
        "holds an adapter (adapter_config.json).*(Qwen/Qwen3-0.6B)",
    ),
    "model_index.json": ({"_class_name": "StableDiffusionPipeline"}, "image generation pipeline (model_index.json)"),
    "modules.json": ([], "sentence-transformers (modules.json)"),
    "params.json": ({"dim": 4096}, "its publisher's own format (params.json)"),
    "model-q4.gguf": ("GGUF", "only as GGUF (model-q4.gguf)"),
    "notes.txt": ("", "no config.json"),
}


@pytest.mark.parametrize("file", OTHER_KINDS)
def test_a_folder_of_another_kind(file, editor, data, tmp_path):
    content, words = OTHER_KINDS[file]
    folder = tokenizer_folder(tmp_path / "m")
    (folder / file).write_text(json.dumps(content))
    found = reason(editor, data, folder)
    assert all(part in found for part in words.split(".*")), found


def test_an_adapter_beside_a_model_is_reported(editor, data, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "m")
    (folder / "adapter_config.json").write_text("{")
    assert "holds an adapter (adapter_config.json)" in reason(editor, data, folder)


def test_only_gguf_beside_a_config(editor, data, tmp_path):
    folder = model_folder(tmp_path / "m", weights=False)
    (folder / "m.gguf").write_bytes(b"GGUF")
    assert "only as GGUF (m.gguf)" in reason(editor, data, folder)


# ---- broken files -------------------------------------------------------------------------------------------------

CONFIGS = [
    ({"model_type": "brand_new"}, "'brand_new' (model_type), which transformers 5.23 does not know"),
    ({"model_type": None}, "names no model type (model_type)"),
    ({"model_type": 7}, "'7' (model_type)"),
    ({"model_type": "clip"}, "'clip' (model_type in config.json) is no causal language model"),
    ({"is_encoder_decoder": True}, "encoder-decoder"),
    *(
        (
            {"quantization_config": {"quant_method": method}},
            f"already quantised ({method}, quantization_config.quant_method in config.json)",
        )
        for method in ("awq", "gptq", "compressed-tensors", "fp8", "bitsandbytes")
    ),
    ({"compression_config": {"format": "int"}}, "compression_config"),
    ({"quantization_config": "awq"}, "already quantised (?"),
    ({"num_hidden_layers": 3}, "lack the tensor model.layers.2.self_attn.q_proj.weight"),
    ({"num_hidden_layers": 1}, "2 layers, but config.json says num_hidden_layers = 1"),
    (
        {"vocab_size": 400},
        "model.embed_tokens.weight is 320 × 32 in the weights, but 400 × 32 by config.json (vocab_size",
    ),
    ({"hidden_size": 64}, "(vocab_size, hidden_size)"),
    ({"intermediate_size": 96}, "mlp.gate_proj.weight"),
    ({"num_key_value_heads": 4}, "self_attn.k_proj.weight"),
    ({"vocab_size": "many"}, "vocab_size is 'many'"),
]


@pytest.mark.parametrize(
    ("change", "words"), CONFIGS, ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else ""
)
def test_a_config_that_does_not_fit(change, words, editor, data, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "m")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert words in reason(editor, data, folder)


CONTRADICTIONS = [
    (
        "llama",
        {"num_attention_heads": 6, "num_key_value_heads": 4, "head_dim": 8},
        ("num_attention_heads = 6", "num_key_value_heads = 4", "multiple"),
    ),
    (
        "llama",
        {"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": None},
        ("hidden_size = 32", "num_attention_heads = 5", "multiple"),
    ),
    ("bert", {"num_attention_heads": 5}, ("hidden_size = 32", "num_attention_heads = 5", "multiple")),
    ("llama", {"max_position_embeddings": 0}, ("max_position_embeddings is 0",)),
    ("gpt2", {"n_positions": 0}, ("n_positions is 0",)),
    ("llama", {"num_key_value_heads": 0}, ("num_key_value_heads is 0",)),
    ("llama", {"head_dim": -8}, ("head_dim is -8",)),
    ("llama", {"num_attention_heads": 0}, ("num_attention_heads is 0",)),
    ("llama", {"pad_token_id": 320}, ("pad_token_id = 320", "vocab_size = 320")),
    ("olmo3", {"layer_types": ["full_attention"]}, ("num_hidden_layers = 2", "layer_types names 1 layers")),
    ("qwen3_moe", {"num_experts_per_tok": 5}, ("num_experts_per_tok = 5", "num_local_experts = 4")),
    ("gpt_oss", {"num_experts_per_tok": 5}, ("num_experts_per_tok = 5", "num_local_experts = 4")),
    ("mixtral", {"num_experts_per_tok": 0}, ("num_experts_per_tok = 0", "num_local_experts = 4")),
    ("llama4", {"text_config": {"num_experts_per_tok": 9}}, ("num_experts_per_tok = 9", "num_local_experts = 4")),
    ("gemma3", {"text_config": {"num_key_value_heads": 3}}, ("num_attention_heads = 4", "num_key_value_heads = 3")),
]


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    CONTRADICTIONS,
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_a_config_that_contradicts_itself(kind, change, words, editor, data, tmp_path):
    folder = make_model(kind, tmp_path / "m")
    task = "classification" if kind == "bert" else "chat"
    assert reason(editor, data, folder, task) == ""
    path = folder / "config.json"
    whole = json.loads(path.read_text())
    inner = change.get("text_config")
    path.write_text(
        json.dumps({**whole, "text_config": {**whole["text_config"], **inner}} if inner else {**whole, **change})
    )
    found = reason(editor, data, folder, task)
    assert all(word in found for word in words), found


TEXTS = {"empty": "", "torn": '{"a": ', "a list": "[1, 2]", "a number": "7", "nothing": "null", "Latin-1": b"\xe9\xff"}
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


@pytest.mark.parametrize("how", TEXTS)
@pytest.mark.parametrize("file", FILES)
def test_a_broken_file_is_named(file, how, editor, data, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "m")
    (folder / file).write_bytes(TEXTS[how] if isinstance(TEXTS[how], bytes) else TEXTS[how].encode())
    found = reason(editor, data, folder)
    assert file in found and not any(other in found for other in FILES if other not in file and file not in other), (
        found
    )


VALUES = [
    ("config.json", {}, "model_type"),
    ("tokenizer_config.json", {"eos_token": 5}, "eos_token is 5"),
    ("tokenizer_config.json", {"chat_template": 3}, "chat_template is 3"),
    ("tokenizer_config.json", {"chat_template": [3]}, "chat_template is [3]"),
    ("tokenizer_config.json", {"chat_template": "{% for %}"}, "The chat template in tokenizer_config.json"),
    ("tokenizer_config.json", {"chat_template": "{{ x | nonsense }}"}, "nonsense"),
    ("generation_config.json", {"eos_token_id": "end"}, "eos_token_id is 'end'"),
]


@pytest.mark.parametrize(("file", "content", "words"), VALUES)
def test_an_invalid_config_value_is_named(file, content, words, editor, data, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "m")
    (folder / file).write_text(json.dumps(content))
    found = reason(editor, data, folder)
    assert words in found and (file in found), found


def test_a_broken_template_blocks_only_where_it_is_used(editor, data, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "m")
    (folder / "chat_template.jinja").write_text("{% if %}")
    assert "The chat template in chat_template.jinja" in reason(editor, data, folder)
    assert reason(editor, data, folder, "text") == ""
    editor.use(data["chat"])
    editor.change(task={"name": "chat"}, model={"name": str(folder), "revision": None, "template": "chatml"})
    assert editor.preflight().problems == {}


def test_a_template_beside_the_processor(editor, data, llama, tmp_path):
    """Where models that read pictures too may have it; it counts only where the tokenizer has none."""
    from studio.models.chat_tokenizer import ChatTokenizer

    folder = shutil.copytree(llama, tmp_path / "m")
    assert ChatTokenizer(folder).own_template is None
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "{{ messages[0].content }}"}))
    assert ChatTokenizer(folder).own_template == "{{ messages[0].content }}"
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "{% if %}"}))
    assert "The chat template in chat_template.json" in reason(editor, data, folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", "chat_template": "{{ 1 }}"}))
    assert ChatTokenizer(folder).own_template == "{{ 1 }}"


def test_a_folder_without_a_tokenizer(editor, data, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer.json" in reason(editor, data, folder)


def test_more_tokens_than_the_embedding_has_rows(editor, data, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "m")
    path = folder / "tokenizer.json"
    whole = json.loads(path.read_text())
    marks = [
        {
            "id": 320,
            "content": "<|new|>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    ]
    fill = [{**marks[0], "id": at, "content": f"<|{at}|>"} for at in range(258, 320)]
    path.write_text(json.dumps({**whole, "added_tokens": [*whole["added_tokens"], *fill, *marks]}))
    assert (
        "tokenizer.json has 321 tokens, but the embedding has 320 rows, so the model has no embedding for '<|new|>'"
        in reason(editor, data, folder)
    )
    path.write_text(
        json.dumps(
            {**whole, "added_tokens": [*whole["added_tokens"], *fill, {**marks[0], "content": "<image_soft_token>"}]}
        )
    )
    assert reason(editor, data, folder) == ""  # as in Gemma 3 with 1 B


# ---- weights ------------------------------------------------------------------------------------------------------


def test_an_index_that_names_a_missing_tensor(editor, data, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "m")
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(whole, folder / "part.safetensors")
    assert "'part.safetensors', but neither model.safetensors nor" in reason(editor, data, folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys([*whole, "model.extra"], "part.safetensors")}))
    assert "model.safetensors.index.json" in reason(editor, data, folder) and "the tensor model.extra" in reason(
        editor, data, folder
    )
    for broken in ("[", "[]", json.dumps({"weight_map": {"a": 3}})):
        index.write_text(broken)
        assert "model.safetensors.index.json" in reason(editor, data, folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(whole, "part.safetensors")}))
    assert reason(editor, data, folder) == ""


def test_other_safetensors_are_ignored(tmp_path):
    plain, folder = read_shape(sharded(tmp_path / "a")), sharded(tmp_path / "b")
    shutil.copy(folder / "model-1.safetensors", folder / "consolidated.safetensors")
    shutil.copy(folder / "model-1.safetensors", folder / "zusatz.safetensors")
    assert read_shape(folder) == plain
    one = model_folder(tmp_path / "c")
    shutil.copy(one / "model.safetensors", one / "consolidated.safetensors")
    assert read_shape(one).bytes == read_shape(model_folder(tmp_path / "d")).bytes
    names = [
        "config.json",
        "consolidated.safetensors",
        "m-1.safetensors",
        "m-2.safetensors",
        "model.safetensors.index.json",
        "tokenizer.model",
        "onnx/model.safetensors",
        "onnx/config.json",
        "pytorch_model.bin",
        "modeling.py",
        "LICENSE.txt",
        "chat_template.jinja",
        "model.fp16.safetensors",
    ]
    kept = {
        "config.json",
        "m-1.safetensors",
        "m-2.safetensors",
        "model.safetensors.index.json",
        "tokenizer.model",
        "LICENSE.txt",
        "chat_template.jinja",
    }
    assert set(files_to_download(names, {"a": "m-1.safetensors", "b": "m-2.safetensors"})) == kept
    assert set(files_to_download([*names, "model.safetensors"], None)) == kept - {
        "m-1.safetensors",
        "m-2.safetensors",
    } | {"model.safetensors"}


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_not_finite(value, llama, tmp_path):
    from studio.models.load import load_base

    folder = shutil.copytree(llama, tmp_path / "m")
    whole = load_file(folder / "model.safetensors")
    whole["model.layers.1.mlp.up_proj.weight"][3, 4] = float(value)
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StudioError, match=r"The tensor model\.layers\.1\.mlp\.up_proj\.weight .* NaN or infinite"):
        load_base(folder)


def test_errors_while_loading_are_reported(llama, tmp_path):
    """For a family that is not in the table of tensors."""
    from studio.models.load import load_base

    folder = make_model("gpt_neox", tmp_path / "m")
    whole = load_file(folder / "model.safetensors")
    del whole["gpt_neox.layers.1.attention.dense.bias"]
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        StudioError, match=r"lack 1 of the model's tensors.*gpt_neox\.layers\.1\.attention\.dense\.bias"
    ):
        load_base(folder)


def test_a_sharded_folder_is_checked_quickly(tmp_path):
    folder = make_model("llama", tmp_path / "m", max_shard_size="10KB")
    assert len(list(folder.glob("*.safetensors"))) > 5
    began = time.perf_counter()
    read_shape(folder)
    assert folder_refusal(folder, "causal_lm") is None
    assert time.perf_counter() - began < 0.05


# ---- the others train, reload and answer --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    from tests.training.runs import Runs

    return Runs(tmp_path_factory.mktemp("home"))


SHORT = {
    "max_steps": 1,
    "batch_size": 2,
    "evaluations": 1,
    "evaluation_rows": 1,
    "answer_length": 2,
    "save_steps": 50,
    "max_length": 32,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*DECODERS, *MULTIMODAL])
def test_a_decoder_trains_reloads_and_answers(kind, editor, data, runs, tmp_path):
    from studio.chat.generation import generate_answers
    from studio.library import adapter_store
    from studio.models.chat_tokenizer import ChatTokenizer
    from studio.models.load import load_base
    from studio.models.rope_scaling import apply_adapter

    folder = make_model(kind, tmp_path / "m")
    assert reason(editor, data, folder) == ""
    run = runs.start("lora", data={"source": data["chat"]}, model={"name": str(folder)}, **SHORT)
    adapter = runs.store.run(run)
    assert adapter["state"] == "done"
    made = next(row for row in adapter_store.listing(runs.store, base=str(folder)))
    artefact, card, _ = adapter_store.find(runs.home, runs.store, made["id"])
    assert card["loader"] == ("AutoModelForImageTextToText" if kind.startswith("mistral3") else "AutoModelForCausalLM")
    model = apply_adapter(load_base(folder), artefact)
    (answer,) = generate_answers(model, ChatTokenizer(folder), [ROWS["chat"][0]["messages"][:1]], 4)
    assert isinstance(answer, str)
