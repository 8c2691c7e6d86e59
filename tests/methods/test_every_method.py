"""What "works" means for a method, shown for each one that is offered: a new file in studio/methods/ is tested by being
there.

The eight points of METHODS.md; most read their answer from two short runs of the worker (tests/methods/short_runs.py).
What a method needs that others do not stands in tables: here, in short_runs.py (learning rates, margins) and in
method_cases.py (adapters that it builds on).
"""

import pytest
import torch

from studio.chat.multi_adapter import MultiAdapterModel, adapter_kind
from studio.home import STARTER
from studio.methods import METHODS
from studio.methods.capabilities import YES, cell
from studio.models.load import load_base
from studio.models.shape import read_shape
from studio.options import check, form_fields
from studio.words import Sentence
from tests.methods import short_runs
from tests.methods.method_cases import IDS, STARTS_ELSEWHERE, logits, made, wrapped
from tests.methods.stock_peft import stock_peft_logits
from tests.sampling import SMALL_METHOD_SAMPLE

# Largest difference of a logit at step 0, where 1e-5 is not what the method's own arithmetic allows.
AT_START: dict[str, float] = {"qlora": 1e-2, "hra": 5e-5, "lora_ga": 3e-5}
# Options that the method itself must refuse on the starter, with a word of its sentence: (method, options, word).
REFUSED = [
    ("prompt_tuning", {"start": "text", "text": " "}, "Start text"),
    ("prefix_tuning", {"start": "text", "text": " "}, "Start text"),
    ("prefix_tuning", {"start": "adapter"}, "No trained prefix"),
    ("intrinsic_prompt", {"prompts": ["one", "one"]}, "two trained prompts"),
    ("intrinsic_prompt", {"stage": "train"}, "No subspace"),
    ("ia3", {"attention": False, "mlp": False}, "nothing to scale"),
    ("lora", {"targets": "no_such_layer"}, "no_such_layer"),
]
# Methods that need none of a model's layers: they put something before its words, or teach all of it.
ANY_MODEL = {"full", "prompt_tuning", "p_tuning", "prompt_ensemble", "intrinsic_prompt"}
OTHER_CHOICE = "no such choice"


@pytest.fixture(scope="module", params=METHODS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def trained(name, adapters, request):
    interrupted = name in SMALL_METHOD_SAMPLE or request.config.getoption("--full")
    return short_runs.short_runs(name, adapters, interrupted)


# ---- without a run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", METHODS)
def test_the_card_explains_it(each):
    card = METHODS[each].card()
    assert all(len(text) > 15 for text in vars(card).values())
    assert card.idea.endswith(".")


@pytest.mark.parametrize("each", METHODS)
def test_an_invalid_value_raises_a_studio_error(each):
    """Every limit of every option is tried from outside; so are words for numbers and choices that are none."""
    cls = METHODS[each]
    for key, value in bad_values(cls):
        made, wrong = check(cls, {key: value})
        assert made is None and list(wrong) == [key], f"{key} = {value!r} passes"
        assert isinstance(wrong[key], Sentence) and cls.model_fields[key].title in str(wrong[key]), str(wrong[key])


def bad_values(cls):
    for entry in form_fields(cls):
        key = entry["key"]
        limits = {
            name: getattr(item, name)
            for item in cls.model_fields[key].metadata
            for name in ("ge", "gt", "le", "lt", "max_length", "min_length")
            if hasattr(item, name)
        }
        if entry["kind"] in ("number", "integer"):
            step = 1 if entry["kind"] == "integer" else 1e-6
            assert {"ge", "gt"} & limits.keys(), f"{key} has no lower limit"
            yield key, "many"
            yield from (
                (key, limits[limit] + by)
                for limit, by in (("ge", -step), ("gt", 0), ("le", step * max(1, limits.get("le", 1))), ("lt", 0))
                if limit in limits
            )
        if entry["kind"] == "integer":
            yield key, 1.5
        if entry["choices"]:
            yield key, OTHER_CHOICE
        if limits.get("min_length"):
            yield key, ""
        if "max_length" in limits:
            yield key, "x" * (limits["max_length"] + 1)


@pytest.mark.parametrize(("each", "options", "word"), REFUSED)
def test_unsupported_combinations_are_refused(each, options, word):
    method = METHODS[each](**options)
    text = method.refusal(read_shape(STARTER), "chat", method.quantisation or "none") or method.unfinished()
    assert isinstance(text, Sentence) and word in str(text)


@pytest.mark.parametrize("each", METHODS)
def test_an_unsupported_model_is_refused(each, adapters):
    """A model without any of the usual layers, and a task that nobody knows."""
    shape, method = read_shape(STARTER), made(each, adapters)[0]
    bare = shape.__class__(**{**vars(shape), "tensors": {"table": (8, 8)}, "architecture": "Strange"})
    assert method.refusal(shape, "chat", method.quantisation or "none") is None
    refused = method.refusal(bare, "chat", method.quantisation or "none")
    assert refused is None if each in ANY_MODEL else isinstance(refused, Sentence) and len(str(refused)) > 40
    assert isinstance(method.refusal(shape, "juggling", method.quantisation or "none"), Sentence)


@pytest.mark.parametrize("each", METHODS)
def test_wrapped_model_equals_base_at_step_0_and_has_the_papers_parameter_count(each, adapters):
    method, _, model = wrapped(each, adapters)
    assert sum(
        parameter.numel() for parameter in model.parameters() if parameter.requires_grad
    ) == method.parameter_count(read_shape(STARTER))
    base = load_base(STARTER, quantisation=method.quantisation or "none")
    difference = (
        (logits(model)[:, -IDS.shape[1] :] - logits(base)).abs().max()
    )  # virtual tokens stand before the real ones
    if each in STARTS_ELSEWHERE:
        assert difference > 1e-3, "it does start as the base model: take it off the list"
    else:
        assert difference <= AT_START.get(each, 1e-5)


# ---- what two short runs show ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_everything_that_should_moves_and_nothing_else(name, trained):
    """Also after an evaluation in between, at which 4-bit layers on some CPUs lose their gradients (guarded in
    models/load.py)."""
    also, rest = short_runs.ALSO_MOVE.get(name), short_runs.MAY_REST.get(name)
    for moved in (trained.moved, trained.moved_late):
        own = {key for key in moved if not (also and also[0] in key)}
        assert own <= trained.labelled
        assert {key for key in trained.labelled - own if not (rest and rest[0] in key)} == set()


@pytest.mark.slow
def test_stock_peft_loads_the_adapter_with_the_same_logits(name, trained):
    """A fresh process with stock peft alone, or where the type is the studio's own, with studio.tuners beside it."""
    method = METHODS[name]
    assert trained.state == "done" and trained.card["artefact_type"] == method.artefact_type
    whole = method.artefact_type == "model"
    found = stock_peft_logits(trained.folder, IDS, own=not method.stock, whole=whole, quantisation=method.quantisation)
    assert (found - trained.logits).abs().max() <= 1e-5


@pytest.mark.slow
def test_the_base_is_the_base_while_chat_holds_the_adapter(name, trained):
    """In the chat server's model, with the adapter in memory, the base column is a freshly loaded base, to the bit."""
    method = METHODS[name]
    if method.artefact_type == "model":
        pytest.skip("a full model is loaded beside the base, which it does not touch")
    loaded = MultiAdapterModel(load_base(STARTER, quantisation=method.quantisation or "none").eval())
    fresh = logits(loaded.model)
    loaded.load("it", trained.folder, adapter_kind("it", trained.folder), set())
    loaded.activate("it")
    prompt = loaded._loaded["it"][2].prompt
    changed = None if prompt else logits(loaded.model)  # a prompt is put before the input by generate alone
    loaded.activate(None)
    assert torch.equal(logits(loaded.model), fresh)
    loaded.activate("it")
    assert prompt or torch.equal(logits(loaded.model), changed) and not torch.equal(changed, fresh)
    loaded.activate(None)
    loaded.unload()
    assert torch.equal(logits(loaded.model), fresh)


@pytest.mark.slow
def test_killed_stopped_and_resumed_gives_the_same_curve(name, trained):
    if not trained.stops:
        pytest.skip("a case of the full sweep: tests/run --full")
    assert trained.stops == ["failed", "stopped", "done"]
    assert set(trained.interrupted) == set(trained.losses) and len(trained.losses) == short_runs.STEPS
    assert all(abs(loss - trained.losses[step]) < 1e-5 for step, loss in trained.interrupted.items()), (
        trained.losses,
        trained.interrupted,
    )


@pytest.mark.slow
def test_fine_tuned_model_beats_base_on_validation_rows(name, trained):
    metrics, margin = trained.card["metrics"], short_runs.MARGINS.get(name, short_runs.MARGIN)
    won = metrics["base_eval_loss"] - metrics["eval_loss"]
    print(
        f"{name}: validation loss {metrics['base_eval_loss']:.3f} → {metrics['eval_loss']:.3f}, {won:.3f} nats better "
        f"(margin {margin})"
    )
    assert won >= margin


@pytest.mark.parametrize("each", METHODS)
def test_merge_is_offered_exactly_where_it_is_exact(each, adapters):
    """The cell comes from a merge that was compared with the unmerged adapter (tests/methods/capabilities.py)."""
    refused = made(each, adapters)[0].merge_refusal()
    assert (refused is None) == (cell(each, "merge") == YES)
    assert refused is None or len(str(refused)) > 40
