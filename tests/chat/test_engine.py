"""Concurrent requests to one model get the same answers as sequential ones."""

from __future__ import annotations

import shutil
import threading
import time

import peft
import pytest
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForCausalLM

from studio.chat import generation
from studio.chat.engine import Engine
from studio.chat.fair_lock import FairLock
from studio.chat.sampling import Sampling
from studio.chat.stream_decoder import StreamDecoder
from studio.library import adapter_store
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import load_base
from studio.store import Store
from studio.words import StudioError

QUESTION = [{"role": "user", "content": "What is it?"}]
KINDS = ["base", "lora", "lora2", "dora", "ia3", "prompt", "p_tuning", "prefix", "ensemble", "bias", "whole"]
LENGTH = 24


def new_engine(home, models, **more):
    store = Store(home.database)
    return Engine(
        load_base(models / "base"),
        ChatTokenizer(models / "base"),
        name=str(models / "base"),
        load_full_model=load_base,
        find=lambda key: adapter_store.find(home, store, key)[:2],
        **more,
    )


@pytest.fixture(scope="module")
def engine(adapter_home, models):
    return new_engine(adapter_home, models)


def ask(engine, who, messages=QUESTION, cancelled=lambda: False, **sampling):
    pieces = []
    outcome = engine.chat(
        None if who == "base" else who,
        messages,
        Sampling(**{"max_tokens": LENGTH, **sampling}),
        pieces.append,
        cancelled,
    )
    return "".join(pieces), outcome


@pytest.fixture(scope="module")
def expected(models):
    """Adapter → the answer of a fresh, stock peft model."""
    tokenizer, found = ChatTokenizer(models / "base"), {}
    for who in KINDS:
        model = AutoModelForCausalLM.from_pretrained(models / ("whole" if who == "whole" else "base"))
        if who not in ("base", "whole"):
            model = peft.PeftModel.from_pretrained(model, models / who)
        found[who] = generation.generate_answers(model, tokenizer, [QUESTION], LENGTH)[0]
    assert len(set(found.values())) >= len(KINDS) - 1
    return found


def ask_concurrently(engine, names, **sampling):
    """The answers of all, requested at the same moment."""
    found, start = {}, threading.Barrier(len(names))

    def one(at, who):
        start.wait()
        found[at] = ask(engine, who, **sampling)[0]

    threads = [threading.Thread(target=one, args=item) for item in enumerate(names)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    return [found[at] for at in range(len(names))]


def test_each_adapter_answers_as_stock_peft(engine, expected):
    for who in [*KINDS, *reversed(KINDS)]:
        assert ask(engine, who)[0] == expected[who], who


def test_concurrent_answers_equal_sequential_ones(engine, expected):
    names = ["base", "lora", "lora2", "dora", "prompt", "p_tuning", "ensemble", "whole"]
    assert ask_concurrently(engine, names) == [expected[who] for who in names]


def test_many_concurrent_requests_of_all_kinds(engine, expected):
    names = [who for who in KINDS for _ in range(2)]
    assert ask_concurrently(engine, names) == [expected[who] for who in names]


def test_concurrent_answers_interleave(engine):
    order = []

    def ask_for(who):
        engine.chat(who, QUESTION, Sampling(max_tokens=60), lambda piece: order.append(who), lambda: False)

    threads = [threading.Thread(target=ask_for, args=(who,)) for who in (None, "lora")]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    changes = sum(a != b for a, b in zip(order, order[1:], strict=False))
    assert changes > len(order) / 4, order


def test_seeded_sampling_is_repeatable_under_concurrency(engine):
    lively = {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "repetition_penalty": 1.1, "seed": 3}
    alone = [ask(engine, who, **lively)[0] for who in ("base", "lora")]
    assert ask_concurrently(engine, ["base", "lora"], **lively) == alone
    assert ask(engine, "base", **{**lively, "seed": 4})[0] != alone[0]
    assert ask(engine, "base", temperature=1.0)[0] != ask(engine, "base", temperature=1.0)[0]


def test_cancel_and_length(engine):
    seen = []
    _, outcome = ask(engine, "lora", cancelled=lambda: len(seen) > 3 or seen.append(1))
    assert outcome.finish == "cancelled" and outcome.new_tokens <= 5
    assert ask(engine, "lora", max_tokens=3)[1].finish == "length"
    # a request that waits for a group in use can be cancelled too
    hold, release = threading.Event(), threading.Event()

    def slow(piece):
        hold.set()
        release.wait(20)

    thread = threading.Thread(target=engine.chat, args=("lora", QUESTION, Sampling(max_tokens=5), slow, lambda: False))
    thread.start()
    hold.wait(20)
    assert ask(engine, "ia3", cancelled=lambda: True)[1].finish == "cancelled"
    release.set()
    thread.join(20)


def test_context_overflow_is_reported_and_a_nearly_full_context_shortens_the_answer(engine):
    with pytest.raises(StudioError, match="holds 256"):
        ask(engine, "base", [{"role": "user", "content": "z" * 300}])
    assert ask(engine, "base", [{"role": "user", "content": "z" * 215}])[1].new_tokens < LENGTH
    with pytest.raises(StudioError, match="holds 251"):  # five virtual tokens
        ask(engine, "prompt", [{"role": "user", "content": "z" * 300}])


def test_text_is_continued(engine, models):
    pieces = []
    engine.complete(None, "Once upon", Sampling(max_tokens=8), pieces.append, lambda: False)
    tokenizer, model = ChatTokenizer(models / "base"), load_base(models / "base")
    assert (
        "".join(pieces)
        == generation.generate_continuations(
            model, tokenizer, [generation.text_ids(tokenizer, "Once upon")], generation.text_stop(tokenizer), 8
        )[0]
    )


@pytest.fixture(scope="module")
def broken_adapters(adapter_home, models, tmp_path_factory):
    """Names of adapters in the library that cannot be loaded."""
    store, base, root = Store(adapter_home.database), str(models / "base"), tmp_path_factory.mktemp("broken")

    def edit(folder, old, new):
        path = folder / "adapter_config.json"
        path.write_text(path.read_text().replace(old, new))

    changes = {
        "no-config": lambda folder: (folder / "adapter_config.json").unlink(),
        "no-weights": lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "torn": lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"torn"),
        "wrong-rank": lambda folder: edit(folder, '"r": 4', '"r": 3'),
        "unknown": lambda folder: edit(folder, '"LORA"', '"MAGIC"'),
    }
    for name, change in changes.items():
        shutil.copytree(models / "lora", root / name)
        change(root / name)
        adapter_store.add(
            adapter_home, store, source=root / name, name=name, run_id=name, card={"base": base, "kind": "adapter"}
        )
    adapter_store.add(
        adapter_home,
        store,
        source=models / "lora",
        name="foreign",
        run_id="foreign",
        card={"base": "another/model", "kind": "adapter"},
    )
    return [*changes, "foreign", "nowhere", "../lora"]


def load_error(engine, who):
    with pytest.raises(StudioError):
        ask(engine, who)


@pytest.mark.parametrize("first", ["base", "lora"])
def test_a_failed_load_leaves_the_engine_usable(adapter_home, models, broken_adapters, expected, first):
    engine = new_engine(adapter_home, models)
    assert ask(engine, first)[0] == expected[first]
    for who in broken_adapters:
        load_error(engine, who)
        if first == "base":
            assert not any(isinstance(module, BaseTunerLayer) for module in engine.base.model.modules()), who
        assert ask(engine, first)[0] == expected[first], who
    assert ask(engine, "lora2")[0] == expected["lora2"]


def test_a_damaged_adapter_does_not_disturb_an_answer_in_progress(adapter_home, models, broken_adapters, expected):
    engine, pieces = new_engine(adapter_home, models), []
    in_progress, go_on = threading.Event(), threading.Event()

    def slow(piece):
        pieces.append(piece)
        in_progress.set()
        while not engine._lock.has_waiters() and not go_on.is_set():
            time.sleep(0.001)

    thread = threading.Thread(
        target=engine.chat, args=("lora", QUESTION, Sampling(max_tokens=LENGTH), slow, lambda: False)
    )
    thread.start()
    in_progress.wait(20)
    for who in ("torn", "wrong-rank"):
        load_error(engine, who)
    assert thread.is_alive()
    go_on.set()
    thread.join(20)
    assert "".join(pieces) == expected["lora"]


def test_adapters_in_memory_are_bounded(adapter_home, models, monkeypatch, expected):
    monkeypatch.setattr("studio.chat.multi_adapter._MAX_ADAPTERS", 2)
    engine = new_engine(adapter_home, models)
    for who in ("lora", "lora2", "dora", "prompt", "lora", "p_tuning", "dora"):
        assert ask(engine, who)[0] == expected[who]
        assert len(engine.base._loaded) <= 3


def test_streamed_text_has_no_partial_characters_and_no_end_marker(models):
    tokenizer = ChatTokenizer(models / "base")
    text = "Grüß dich, 世界 🙂<|im_en not the end"
    pieces = StreamDecoder(tokenizer, generation.StopCondition([256], "<|im_end|>"))
    shown = [pieces.add(token) for token in tokenizer.encode(text).ids]
    assert not any("\ufffd" in piece for piece in shown)
    assert "".join(shown) + pieces.flush() == text and not pieces.finished
    pieces = StreamDecoder(tokenizer, generation.StopCondition([256], "END."))
    shown = "".join(pieces.add(token) for token in tokenizer.encode("all E of it END. more").ids)
    assert shown + pieces.flush() == "all E of it " and pieces.finished


def test_the_lock_is_served_in_order_of_arrival():
    lock, order = FairLock(), []
    lock.acquire()
    threads = []
    for at in range(5):
        threads.append(threading.Thread(target=lambda at=at: (lock.acquire(), order.append(at), lock.release())))
        threads[-1].start()
        while len(lock._waiters) <= at:
            pass
    lock.release()
    [thread.join(5) for thread in threads]
    assert order == [0, 1, 2, 3, 4]
