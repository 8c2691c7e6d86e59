"""Many askers at one model: the same answers as one after the other."""

from __future__ import annotations

import shutil
import threading
import time

import peft
import pytest
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForCausalLM

from studio.chat import answer
from studio.chat.engine import Engine
from studio.chat.pieces import Pieces
from studio.chat.sampling import Sampling
from studio.chat.turns import Turn
from studio.library import shelf
from studio.models.codec import Codec
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
        Codec(models / "base"),
        name=str(models / "base"),
        load_whole=load_base,
        find=lambda key: shelf.find(home, store, key)[:2],
        **more,
    )


@pytest.fixture(scope="module")
def engine(shelved, models):
    return new_engine(shelved, models)


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
    """Who → the answer of a fresh, stock peft model."""
    codec, found = Codec(models / "base"), {}
    for who in KINDS:
        model = AutoModelForCausalLM.from_pretrained(models / ("whole" if who == "whole" else "base"))
        if who not in ("base", "whole"):
            model = peft.PeftModel.from_pretrained(model, models / who)
        found[who] = answer.answers(model, codec, [QUESTION], LENGTH)[0]
    assert len(set(found.values())) >= len(KINDS) - 1
    return found


def together(engine, whos, **sampling):
    """Everyone's answer, asked at the same moment."""
    found, start = {}, threading.Barrier(len(whos))

    def one(at, who):
        start.wait()
        found[at] = ask(engine, who, **sampling)[0]

    threads = [threading.Thread(target=one, args=item) for item in enumerate(whos)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    return [found[at] for at in range(len(whos))]


def test_each_in_turn_answers_as_stock_peft(engine, expected):
    for who in [*KINDS, *reversed(KINDS)]:
        assert ask(engine, who)[0] == expected[who], who


def test_side_by_side_equals_one_after_the_other(engine, expected):
    whos = ["base", "lora", "lora2", "dora", "prompt", "p_tuning", "ensemble", "whole"]
    assert together(engine, whos) == [expected[who] for who in whos]


def test_a_storm_of_all_kinds(engine, expected):
    whos = [who for who in KINDS for _ in range(2)]
    assert together(engine, whos) == [expected[who] for who in whos]


def test_they_really_take_turns(engine):
    order = []

    def asker(who):
        engine.chat(who, QUESTION, Sampling(max_tokens=60), lambda piece: order.append(who), lambda: False)

    threads = [threading.Thread(target=asker, args=(who,)) for who in (None, "lora")]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    changes = sum(a != b for a, b in zip(order, order[1:], strict=False))
    assert changes > len(order) / 4, order


def test_seeded_sampling_is_repeatable_even_side_by_side(engine):
    lively = {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "repetition_penalty": 1.1, "seed": 3}
    alone = [ask(engine, who, **lively)[0] for who in ("base", "lora")]
    assert together(engine, ["base", "lora"], **lively) == alone
    assert ask(engine, "base", **{**lively, "seed": 4})[0] != alone[0]
    assert ask(engine, "base", temperature=1.0)[0] != ask(engine, "base", temperature=1.0)[0]


def test_cancel_and_length(engine):
    seen = []
    _, outcome = ask(engine, "lora", cancelled=lambda: len(seen) > 3 or seen.append(1))
    assert outcome.finish == "cancelled" and outcome.new_tokens <= 5
    assert ask(engine, "lora", max_tokens=3)[1].finish == "length"
    # whoever waits for a group that is in use can be cancelled too
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


def test_too_long_a_conversation_is_a_sentence_and_a_nearly_full_one_is_short(engine):
    with pytest.raises(StudioError, match="holds 256"):
        ask(engine, "base", [{"role": "user", "content": "z" * 300}])
    assert ask(engine, "base", [{"role": "user", "content": "z" * 215}])[1].new_tokens < LENGTH
    with pytest.raises(StudioError, match="holds 251"):  # five virtual tokens
        ask(engine, "prompt", [{"role": "user", "content": "z" * 300}])


def test_text_is_continued(engine, models):
    pieces = []
    engine.complete(None, "Once upon", Sampling(max_tokens=8), pieces.append, lambda: False)
    codec, model = Codec(models / "base"), load_base(models / "base")
    assert (
        "".join(pieces)
        == answer.continuations(model, codec, [answer.text_ids(codec, "Once upon")], answer.text_end(codec), 8)[0]
    )


@pytest.fixture(scope="module")
def broken(shelved, models, tmp_path_factory):
    """Names of adapters on the shelf that cannot be loaded."""
    store, base, root = Store(shelved.database), str(models / "base"), tmp_path_factory.mktemp("broken")

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
        shelf.add(shelved, store, source=root / name, name=name, run_id=name, card={"base": base, "kind": "adapter"})
    shelf.add(
        shelved,
        store,
        source=models / "lora",
        name="foreign",
        run_id="foreign",
        card={"base": "another/model", "kind": "adapter"},
    )
    return [*changes, "foreign", "nowhere", "../lora"]


def refused(engine, who):
    with pytest.raises(StudioError):
        ask(engine, who)


@pytest.mark.parametrize("first", ["base", "lora"])
def test_what_cannot_be_loaded_leaves_the_engine_whole(shelved, models, broken, expected, first):
    engine = new_engine(shelved, models)
    assert ask(engine, first)[0] == expected[first]
    for who in broken:
        refused(engine, who)
        if first == "base":
            assert not any(isinstance(module, BaseTunerLayer) for module in engine.base.model.modules()), who
        assert ask(engine, first)[0] == expected[first], who
    assert ask(engine, "lora2")[0] == expected["lora2"]


def test_a_torn_adapter_does_not_disturb_an_answer_in_progress(shelved, models, broken, expected):
    engine, pieces = new_engine(shelved, models), []
    under_way, go_on = threading.Event(), threading.Event()

    def slow(piece):
        pieces.append(piece)
        under_way.set()
        while not engine._turn.wanted() and not go_on.is_set():
            time.sleep(0.001)

    thread = threading.Thread(
        target=engine.chat, args=("lora", QUESTION, Sampling(max_tokens=LENGTH), slow, lambda: False)
    )
    thread.start()
    under_way.wait(20)
    for who in ("torn", "wrong-rank"):
        refused(engine, who)
    assert thread.is_alive()
    go_on.set()
    thread.join(20)
    assert "".join(pieces) == expected["lora"]


def test_memory_is_bounded(shelved, models, monkeypatch, expected):
    monkeypatch.setattr("studio.chat.adapted._MOST", 2)
    engine = new_engine(shelved, models)
    for who in ("lora", "lora2", "dora", "prompt", "lora", "p_tuning", "dora"):
        assert ask(engine, who)[0] == expected[who]
        assert len(engine.base._places) <= 3


def test_pieces_never_show_half_a_character_nor_the_end(models):
    codec = Codec(models / "base")
    text = "Grüß dich, 世界 🙂<|im_en not the end"
    pieces = Pieces(codec, answer.End([256], "<|im_end|>"))
    shown = [pieces.add(token) for token in codec.encode(text).ids]
    assert not any("\ufffd" in piece for piece in shown)
    assert "".join(shown) + pieces.rest() == text and not pieces.ended
    pieces = Pieces(codec, answer.End([256], "END."))
    shown = "".join(pieces.add(token) for token in codec.encode("all E of it END. more").ids)
    assert shown + pieces.rest() == "all E of it " and pieces.ended


def test_turns_are_served_in_order():
    turn, order = Turn(), []
    turn.take()
    threads = []
    for at in range(5):
        threads.append(threading.Thread(target=lambda at=at: (turn.take(), order.append(at), turn.give())))
        threads[-1].start()
        while len(turn._waiting) <= at:
            pass
    turn.give()
    [thread.join(5) for thread in threads]
    assert order == [0, 1, 2, 3, 4]
