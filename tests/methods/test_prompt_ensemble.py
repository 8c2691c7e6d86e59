"""Prompt ensembling: the members are stock prompts, learn each as if alone, and answer together, with a cache and with
padding."""

import json
import zipfile
from unittest.mock import patch

import pytest
import torch
from peft import PeftModel

from studio.chat import generation
from studio.chat.engine import Engine
from studio.chat.sampling import Sampling
from studio.export.archive import zip_adapter
from studio.home import STARTER
from studio.library import adapter_store
from studio.methods import METHODS, Setting
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import load_base
from studio.models.shape import read_shape
from studio.recipe import recipe_from
from studio.tuners.ensemble import combined
from tests.methods.method_cases import IDS
from tests.methods.stock_peft import stock_peft_logits

MEMBERS = 3
SMALL = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def tiny(kind: str) -> torch.nn.Module:
    import transformers as t

    torch.manual_seed(1)
    return (
        {
            "qwen2": lambda: t.Qwen2ForCausalLM(
                t.Qwen2Config(**SMALL, intermediate_size=48, num_key_value_heads=2, tie_word_embeddings=True)
            ),
            "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4)),
            "opt": lambda: t.OPTForCausalLM(t.OPTConfig(**SMALL, ffn_dim=48, word_embed_proj_dim=32)),
            "gemma2": lambda: t.Gemma2ForCausalLM(
                t.Gemma2Config(**SMALL, intermediate_size=48, num_key_value_heads=2, head_dim=8)
            ),  # caps its logits behind the head
        }[kind]()
        .eval()
        .requires_grad_(False)
    )


def ensemble(base: torch.nn.Module, **options) -> torch.nn.Module:
    return METHODS["prompt_ensemble"](**{"members": MEMBERS, "virtual_tokens": 4, "start": "random", **options}).wrap(
        base, Setting(seed=3)
    )


def mean(logits: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([each.softmax(-1) for each in logits]).mean(0)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "opt", "gemma2"])
def test_ensemble_output_is_the_mean_of_its_prompts(kind, tmp_path):
    model = ensemble(tiny(kind)).eval()
    found = model(input_ids=IDS).logits.exp()
    METHODS["prompt_ensemble"]().save(model, tmp_path)
    alone = [
        PeftModel.from_pretrained(tiny(kind), str(tmp_path / f"member{at}")).eval()(input_ids=IDS).logits[:, 4:]
        for at in range(1, MEMBERS + 1)
    ]
    assert (found - mean(alone)).abs().max() < 1e-6 and (alone[0] - alone[1]).abs().max() > 1e-3
    with model.disable_adapter():
        assert torch.equal(model(input_ids=IDS).logits, tiny(kind)(input_ids=IDS).logits)
    taken = model(input_ids=IDS, logits_to_keep=torch.tensor([2, 5])).logits.exp()
    assert torch.allclose(taken, found[:, [2, 5]], atol=1e-6)
    bare = model.unload()
    assert torch.equal(bare(input_ids=IDS).logits, tiny(kind)(input_ids=IDS).logits)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "opt"])
@pytest.mark.parametrize("how", ["average", "vote"])
def test_cached_padded_generation_equals_single_rows(kind, how):
    model = ensemble(tiny(kind), combine=how).eval()
    rows = [IDS[0].tolist(), IDS[0, :5].tolist()]
    expected = []
    for row in rows:
        ids = torch.tensor([row])
        for _ in range(6):
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1:].argmax(-1)], 1)
        expected.append(ids[0, len(row) :].tolist())
    padded = torch.tensor([rows[0], [1] * 3 + rows[1]])
    mask = torch.tensor([[1] * 8, [0] * 3 + [1] * 5])
    made = model.generate(
        input_ids=padded,
        attention_mask=mask,
        max_new_tokens=6,
        min_new_tokens=6,
        do_sample=False,
        pad_token_id=1,
        eos_token_id=399,
    )
    assert made[:, 8:].tolist() == expected


def test_most_votes_win_and_the_mean_decides_between_equals():
    text = torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.0, 0.9, 0.1]])
    assert combined(text.log(), "vote").argmax() == 0 and combined(text.log(), "average").argmax() == 1
    assert combined(text[1:].log(), "vote").argmax() == 1  # one vote each
    for how in ("vote", "average"):
        assert combined(text.log(), how).exp().sum() == pytest.approx(1)


def test_each_member_trains_as_it_would_alone(tmp_path):
    model = ensemble(tiny("qwen2"))
    prompts = model.get_base_model().get_input_embeddings().prompt_ensemble_members["default"]
    assert len({tuple(prompt.flatten().tolist()) for prompt in prompts}) == MEMBERS
    model.train()(input_ids=IDS, labels=IDS).loss.backward()
    METHODS["prompt_ensemble"]().save(model, tmp_path)
    labels = IDS.clone()
    labels[:, 0] = -100  # stock peft would learn to say the first word from the prompt alone
    for at in range(MEMBERS):
        alone = PeftModel.from_pretrained(tiny("qwen2"), str(tmp_path / f"member{at + 1}"))
        table = alone.prompt_encoder["default"].embedding.weight.requires_grad_(True)
        alone(input_ids=IDS, labels=labels).loss.backward()
        assert torch.allclose(prompts.grad[at] * MEMBERS, table.grad, atol=1e-6)


def test_forecast_memory_grows_with_the_number_of_members():
    from studio.forecast.memory import memory_parts

    shape, parts = read_shape(STARTER), {}
    for name, options in (("prompt_tuning", {}), ("prompt_ensemble", {"members": 4})):
        parts[name] = memory_parts(
            recipe_from({"method": {"name": name, **options}}), shape, 60, device="cpu", precision="fp32"
        )
    assert parts["prompt_ensemble"]["activations"] == pytest.approx(4 * parts["prompt_tuning"]["activations"], abs=4)
    assert parts["prompt_ensemble"]["gradients"] == 4 * parts["prompt_tuning"]["gradients"]


def test_classes_are_refused_with_a_way_out():
    for task in ("classification", "image"):
        assert "answers with words" in str(METHODS["prompt_ensemble"]().refusal(read_shape(STARTER), task, "none"))


@pytest.mark.slow
def test_a_run_its_zip_its_card_and_chat_are_the_same_ensemble(runs, tmp_path):
    """Validation loss and answers during the run come from the ensemble; members load in a process that has stock peft
    only."""
    from studio.training import worker

    seen = {}
    outcome = worker.finish

    def finishing(job, name, recipe, base, kind, material, trainer, began):
        seen["loss"] = trainer.validation()["loss"]
        model, tokenizer, questions = (
            trainer.model,
            ChatTokenizer(STARTER),
            [[{"role": "user", "content": "Who are you?"}], [{"role": "user", "content": "Hi"}]],
        )
        seen["answers"], seen["questions"] = generation.generate_answers(model, tokenizer, questions, 12), questions
        with generation.eval_mode(model):
            seen["logits"] = model(input_ids=IDS).logits
        return outcome(job, name, recipe, base, kind, material, trainer, began)

    with patch.object(worker, "finish", finishing):
        run = runs.start(
            {"name": "prompt_ensemble", "members": MEMBERS},
            learning_rate=5e-2,
            max_steps=6,
            evaluations=1,
            sample_prompts=1,
            evaluation_rows=4,
        )
    folder, card, _ = adapter_store.find(runs.home, runs.store, run)
    assert card["metrics"]["eval_loss"] == pytest.approx(seen["loss"], abs=1e-6) and "exact_match" in card["metrics"]

    packed = zip_adapter(runs.home, runs.store, run, tmp_path)
    with zipfile.ZipFile(packed) as archive:
        files = {
            name
            for at in range(1, MEMBERS + 1)
            for name in (f"member{at}/adapter_config.json", f"member{at}/adapter_model.safetensors")
        }
        assert files | {"README.md", "adapter_config.json", "adapter_model.safetensors"} <= set(archive.namelist())
        archive.extractall(tmp_path / "home")
    assert 'PeftModel.from_pretrained(base, "path/to/this/folder/member1")' in (
        tmp_path / "home" / "README.md"
    ).read_text(encoding="utf-8")
    assert (
        json.loads((tmp_path / "home" / "member2" / "adapter_config.json").read_text())["base_model_name_or_path"]
        == "starter"
    )
    alone = [stock_peft_logits(tmp_path / "home" / f"member{at}", IDS)[:, 20:] for at in range(1, MEMBERS + 1)]
    whole = stock_peft_logits(tmp_path / "home", IDS, own=True)
    assert (whole - seen["logits"]).abs().max() <= 1e-5 and (whole.exp() - mean(alone)).abs().max() <= 1e-6

    engine = Engine(
        load_base(STARTER),
        ChatTokenizer(STARTER),
        name="starter",
        find=lambda key: adapter_store.find(runs.home, runs.store, key)[:2],
        load_full_model=load_base,
    )
    for question, expected in zip(seen["questions"], seen["answers"], strict=True):
        pieces = []
        engine.chat(run, question, Sampling(max_tokens=12), pieces.append, lambda: False)
        assert "".join(pieces) == expected
    assert engine.base.virtual_token_count(run) == 20
