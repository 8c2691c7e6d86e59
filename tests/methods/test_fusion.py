"""AdapterFusion: a self-contained file, a bank that stays frozen, sentences where adapters do not fit, and the paper's
claim on a small scale."""

import json
import shutil

import pytest
import torch
from peft import PeftModel

from studio.home import SAMPLES, STARTER
from studio.library import adapter_store
from studio.methods import METHODS, Setting
from studio.models.load import load_base
from studio.models.shape import read_shape
from studio.tuners.fusion import fusion_layers
from studio.words import StudioError

IDS = torch.tensor([[5, 17, 42, 8, 99, 120, 7, 3]])


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(IDS).logits


@pytest.fixture
def bank(tmp_path):
    """make(name, **options of the adapter) → its folder, with random numbers in it; folders are found by name through
    `make.setting`."""

    def make(name: str, method: str = "adapter", **options):
        torch.manual_seed(len(name))
        model = METHODS[method](**options).wrap(load_base(STARTER))
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
        model.save_pretrained(tmp_path / name)
        return model

    make.setting = Setting(base=STARTER, adapter=lambda name: tmp_path / name)
    make.folder = tmp_path
    return make


def fused(bank, *names):
    return METHODS["fusion"](adapters=list(names)).wrap(load_base(STARTER), bank.setting)


def test_the_file_stands_alone_and_the_bank_is_frozen(bank, tmp_path):
    bank("one"), bank("other", scale=2.0)
    model = fused(bank, "one", "other")
    labelled = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert (
        sum(model.get_parameter(name).numel() for name in labelled)
        == METHODS["fusion"]().parameter_count(read_shape(STARTER))
        == 5 * 3 * 256 * 256
    )
    for name in labelled:
        torch.nn.init.normal_(model.get_parameter(name), std=0.1)
    fine_tuned, base = logits(model), logits(load_base(STARTER))
    model.save_pretrained(tmp_path / "fused")
    shutil.rmtree(tmp_path / "one"), shutil.rmtree(tmp_path / "other")
    again = PeftModel.from_pretrained(load_base(STARTER), str(tmp_path / "fused"), adapter_name="a")
    again.load_adapter(str(tmp_path / "fused"), adapter_name="b")
    again.set_adapter("b")
    assert torch.equal(logits(again), fine_tuned)
    again.delete_adapter("b")
    again.set_adapter("a")
    assert torch.equal(logits(again), fine_tuned)
    with again.disable_adapter():
        assert torch.equal(logits(again), base)
    with pytest.raises(ValueError, match="merged"):
        again.merge_and_unload()


def test_attention_on_one_adapter_is_that_adapter(bank):
    """With the value matrix at the identity, where it starts, and all attention on one adapter, fusion is that adapter,
    its scale included."""
    alone = logits(bank("one", scale=2.0))
    bank("other")
    model = fused(bank, "one", "other")
    for layer in fusion_layers(model).values():
        for part in ("fusion_up", "fusion_up_bias"):
            getattr(layer, part)["default"][1] = getattr(layer, part)["default"][0]
            getattr(layer, part.replace("up", "down"))["default"][1] = getattr(layer, part.replace("up", "down"))[
                "default"
            ][0]
    assert (
        logits(model) - alone
    ).abs().max() < 1e-3  # both of the bank are that one now, so the mix is, whatever the shares
    assert METHODS["fusion"]().penalty(model) == 0


def test_fusion_weights_have_one_share_per_adapter_and_sum_to_1(bank):
    bank("one"), bank("other"), bank("another one")
    model = fused(bank, "one", "other", "another one")
    logits(model)
    for layer in fusion_layers(model).values():
        assert layer.shares.shape == (1, 8, 3) and torch.allclose(layer.shares.sum(-1), torch.ones(1, 8))


def test_incompatible_adapters_raise_a_studio_error(bank):
    (
        bank("one"),
        bank("wide", size=32),
        bank("beside", place="parallel"),
        bank("both", place="houlsby"),
        bank("biases", method="bitfit"),
    )
    for other, word in (
        ("wide", "one size"),
        ("beside", "Pfeiffer"),
        ("both", "Pfeiffer"),
        ("biases", "no bottleneck adapter"),
    ):
        with pytest.raises(StudioError, match=word):
            fused(bank, "one", other)
    (bank.folder / "stranger").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(bank.folder / "one" / name, bank.folder / "stranger" / name)
    (bank.folder / "stranger" / "studio.json").write_text(json.dumps({"name": "S", "card": {"base": str(bank.folder)}}))
    with pytest.raises(StudioError, match="another base model"):
        fused(bank, "one", "stranger")
    for chosen in ([], ["one"], ["one", "one"]):
        assert "at least two" in str(METHODS["fusion"](adapters=chosen).unfinished())
    with pytest.raises(StudioError, match="at least two"):
        METHODS["fusion"]().wrap(load_base(STARTER), bank.setting)


# ---- the claim -------------------------------------------------------------------------------------------------------


def mixed_data(folder, rows: int, validation: int) -> dict[str, dict]:
    """The captain and the extraction as chats, each alone and both mixed; all share the mixed validation set."""
    captain = {
        part: [json.loads(line)["messages"] for line in (SAMPLES / f"captain{part}.jsonl").read_text().splitlines()]
        for part in ("", ".validation")
    }
    extract = {
        part: [_messages(row) for row in json.loads((SAMPLES / f"extract{part}.json").read_text())]
        for part in ("", ".validation")
    }

    def write(name: str, chats) -> str:
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats), encoding="utf-8")
        return str(path)

    held = write(
        "held",
        [
            chat
            for pair in zip(captain[".validation"][:validation], extract[".validation"][:validation], strict=True)
            for chat in pair
        ],
    )
    train = {
        "captain": captain[""][:rows],
        "extract": extract[""][:rows],
        "mixed": [chat for pair in zip(captain[""][:rows], extract[""][:rows], strict=True) for chat in pair],
    }
    return {name: {"source": write(name, chats), "validation": held, "max_rows": None} for name, chats in train.items()}


def _messages(row: dict) -> list[dict]:
    asked = "\n".join(part for part in (row["instruction"], row.get("input")) if part)
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}]


@pytest.mark.slow
def test_fusion_matches_the_better_adapter_on_both_tasks(runs, tmp_path):
    data = mixed_data(tmp_path, rows=96, validation=12)
    budget = {
        "max_steps": 40,
        "batch_size": 8,
        "max_length": 128,
        "evaluations": 0,
        "evaluation_rows": 0,
        "sample_prompts": 0,
        "save_steps": 100,
        "learning_rate": 5e-3,
    }
    loss, made = {}, {}
    for task in ("captain", "extract"):
        made[task] = runs.start("adapter", data=data[task], **budget)
    made["fusion"] = runs.start(
        {"name": "fusion", "adapters": [made["captain"], made["extract"]]},
        data=data["mixed"],
        **{**budget, "learning_rate": 1e-3},
    )
    for name, run in made.items():
        card = adapter_store.find(runs.home, runs.store, run)[1]
        loss[name], loss["base"] = card["metrics"]["eval_loss"], card["metrics"]["base_eval_loss"]
    print(loss)
    assert loss["fusion"] <= min(loss["captain"], loss["extract"]) < loss["base"]
