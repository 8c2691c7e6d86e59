"""Labels and loss weights of the chat task: weights, reasoning and end of an answer; and rows that a chat template
rejects.
"""

import json
import math
import shutil

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from studio.data.dataset import DataSpec, load
from studio.data.reasoning import join_reasoning
from studio.data.report import report
from studio.data.token_report import count_tokens, with_tokens
from studio.draft import DraftEditor
from studio.draft.template_fixes import add_template_fixes
from studio.home import STARTER, Home
from studio.models.chat_tokenizer import ChatTemplateError, ChatTokenizer
from studio.recipe import Recipe, recipe_from
from studio.store import Store
from studio.tasks import IGNORED, TASKS
from studio.tasks.answers import AnswerNotFound
from studio.tasks.chat import Chat
from studio.training.batches import Collator, Examples, flatten, pad
from studio.training.trainer import StudioTrainer
from studio.ui.token_view import packed_row, view_html
from tests.ui.bare import bare_page

EMPTY = "<think>\n\n</think>\n\n"
ASK = {"role": "user", "content": "What is it?"}
ALTERNATING = (
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{{ '[' + m.role + ']' + m.content + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)
NO_END = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def folder(place, template=None, **config):
    place.mkdir(exist_ok=True)
    for name in ("tokenizer.json", "config.json", "generation_config.json"):
        shutil.copyfile(STARTER / name, place / name)
    (place / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", **config}))
    if template:
        (place / "chat_template.jinja").write_text(template)
    return place


def labelled(tokenizer, record, **options):
    """(text, weight) of each run of tokens of one weight above 0."""
    found = []
    for example in Chat(**options).encode(record, tokenizer, 4096):
        before = 0.0
        for at, label in enumerate(example.labels):
            weight = 0.0 if label == IGNORED else (example.weights or [1.0] * len(example.ids))[at]
            if weight and weight == before:
                found[-1][0].append(label)
            elif weight:
                found.append(([label], weight))
            before = weight
    return [(tokenizer.decode(ids, keep_special_tokens=True), weight) for ids, weight in found]


def answer(content, **more):
    return {"messages": [ASK, {"role": "assistant", "content": content, **more}]}


def test_a_fractional_weight_is_that_of_every_token_of_the_answer():
    assert labelled(ChatTokenizer(STARTER, "chatml"), answer("A town.", weight=0.25)) == [("A town.<|im_end|>", 0.25)]
    assert labelled(ChatTokenizer(STARTER, "chatml"), answer("A town.", weight=0)) == []


def test_parts_of_an_answer_have_weights_of_their_own():
    content = " Hm, a lake? It is a town."
    spans = [[0, 12, 0], [12, 18, 0.5]]
    assert labelled(ChatTokenizer(STARTER, "chatml"), answer(content, span_weights=spans)) == [
        (" It is", 0.5),
        (" a town.<|im_end|>", 1.0),
    ]
    assert labelled(ChatTokenizer(STARTER, "llama3"), answer(content, span_weights=spans, weight=0.5)) == [
        (" It is", 0.25),
        (" a town.<|eot_id|>", 0.5),
    ]


def test_reasoning_is_labelled_read_or_left_out():
    record, tokenizer = answer(join_reasoning("Think hard.", "A town.")), ChatTokenizer(STARTER, "qwen3")
    assert labelled(tokenizer, record) == [("<think>\nThink hard.\n</think>\n\nA town.<|im_end|>", 1.0)]
    assert labelled(tokenizer, record, reasoning="answer") == [("A town.<|im_end|>", 1.0)]
    assert labelled(tokenizer, record, reasoning="drop") == [("<think>\n\n</think>\n\nA town.<|im_end|>", 1.0)]
    assert "Think hard." in Chat(reasoning="answer").render(record, tokenizer) and "Think hard." not in Chat(
        reasoning="drop"
    ).render(record, tokenizer)
    assert Chat().question(record).expected == "A town."


@pytest.mark.parametrize(
    ("reasoning", "expected"), [("train", "<think>\nThink.\n</think>\n\n"), ("answer", ""), ("drop", EMPTY)]
)
def test_reasoning_in_preference_tasks(reasoning, expected):
    better, worse, tokenizer = (
        join_reasoning("Think.", "A town."),
        join_reasoning("Think.", "A lake."),
        ChatTokenizer(STARTER, "qwen3"),
    )
    record = {"prompt": [ASK], "chosen": better, "rejected": worse}
    pair = TASKS["preference"](reasoning=reasoning).encode(record, tokenizer, 512)[0]
    rated = TASKS["feedback"](reasoning=reasoning).encode(
        {"prompt": [ASK], "completion": better, "label": True}, tokenizer, 512
    )[0]
    for row, words in ((pair, "A town."), (pair.rejected, "A lake."), (rated, "A town.")):
        text = tokenizer.decode([label for label in row.labels if label != IGNORED], keep_special_tokens=True)
        assert text == f"{expected}{words}<|im_end|>"


def test_reasoning_that_has_weights_of_its_own(tmp_path):
    content = join_reasoning("Think hard.", "A town.")
    spans = [[content.index("Think"), content.index("hard"), 0]]
    assert labelled(ChatTokenizer(STARTER, "qwen3"), answer(content, span_weights=spans)) == [
        ("<think>\n", 1.0),
        (" hard.\n</think>\n\nA town.<|im_end|>", 1.0),
    ]


def test_parts_keep_their_weights_where_reasoning_is_left_out():
    content = join_reasoning("Think hard.", "No. A town.")
    spans = [[content.index("Think"), content.index("hard"), 0], [content.index("No."), content.index(" A town"), 0]]
    found = labelled(ChatTokenizer(STARTER, "chatml"), answer(content, span_weights=spans), reasoning="drop")
    assert found == [(" A town.<|im_end|>", 1.0)]


def test_the_last_answer_alone():
    record = {"messages": [*answer("One.")["messages"], *answer("Two.")["messages"]]}
    assert labelled(ChatTokenizer(STARTER, "qwen3"), record, train_on="last") == [
        ("<think>\n\n</think>\n\nTwo.<|im_end|>", 1.0)
    ]
    assert [text for text, _ in labelled(ChatTokenizer(STARTER, "chatml"), record, train_on="questions")] == [
        "<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n",
        "\n<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n",
        "\n",
    ]


def test_eos_is_labelled_after_answers_if_the_template_has_no_end_marker(tmp_path):
    record = {"messages": [*answer("One.")["messages"], *answer("Two.")["messages"]]}
    bare, ended = ChatTokenizer(folder(tmp_path / "m", NO_END)), ChatTokenizer(tmp_path / "m", append_eos=True)
    assert bare.answer_end == ("", "") and labelled(bare, record) == [("One.", 1.0), ("Two.", 1.0)]
    assert labelled(ended, record) == [("One.<|im_end|>", 1.0), ("Two.<|im_end|>", 1.0)]
    assert labelled(ChatTokenizer(STARTER, "chatml", append_eos=True), record) == labelled(
        ChatTokenizer(STARTER, "chatml"), record
    )  # it has an end already


def test_an_override_template_begins_with_the_bos_of_the_base(tmp_path):
    tokenizer = ChatTokenizer(folder(tmp_path / "m", bos_token="<|im_start|>", add_bos_token=True), "chatml")
    assert tokenizer.adds_bos and tokenizer.render([ASK]).startswith("<|im_start|><|im_start|>user")
    assert ChatTokenizer(tmp_path / "m", "mistral").render([ASK]).count("<|im_start|>") == 1  # it writes its own
    own = ChatTokenizer(folder(tmp_path / "own", NO_END, bos_token="<|im_start|>", add_bos_token=True))
    assert not own.render([ASK]).startswith("<|im_start|>")  # as transformers writes it


def findings_of(place, rows, template=ALTERNATING, **recipe):
    """The findings about `rows` with a model whose template is `template`, and their recipe."""
    model = folder(place / "model", template, bos_token="<s>")
    (place / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = recipe_from(
        {
            "model": {"name": str(model)},
            "data": {"source": str(place / "data.jsonl"), "validation_fraction": 0, **recipe},
        }
    )
    dataset, tokenizer = load(DataSpec(**made.data.model_dump()), want="messages"), made.tokenizer(model)
    tokens = count_tokens(
        dataset,
        lambda value: made.task.token_counts(value, tokenizer),
        unseen=lambda value: made.task.drops_content(value, tokenizer),
    )
    add_template_fixes(tokens, made, model)
    return {finding.kind: finding for finding in with_tokens(report(dataset), tokens, 512).findings}, made


def rows(count, system=0):
    system_message = [{"role": "system", "content": "Be brief."}]
    return [
        {
            "messages": [
                *(system_message if at < system else []),
                {"role": "user", "content": f"Town {at}?"},
                {"role": "assistant", "content": f"Ulm {at}."},
            ]
        }
        for at in range(count)
    ]


def test_refused_rows_are_counted_and_every_fix_works(tmp_path):
    found, made = findings_of(tmp_path, rows(40, system=2))
    assert (
        found["refused"].level == "error"
        and found["refused"].count == 2
        and found["refused"].lines == [1, 2]
        and "Roles must alternate" in str(found["refused"].sentence)
    )
    assert set(found["refused"].remedies) == {"question", "none"} and "chatml" in found["refused"].templates
    for action in found["refused"].remedies:
        assert "refused" not in findings_of(tmp_path, rows(40, system=2), remedies={"refused": action})[0]
    question = Recipe(
        **{**made.model_dump(), "data": {**made.data.model_dump(), "remedies": {"refused": "question"}}}
    ).tokenizer(tmp_path / "model")
    assert question.render(rows(1, system=1)[0]["messages"]) == "<s>[user]Be brief.\n\nTown 0?</s>[assistant]Ulm 0.</s>"
    assert (
        ChatTokenizer(tmp_path / "model", system_rewrite="none").render(rows(1, system=1)[0]["messages"])
        == "<s>[user]Town 0?</s>[assistant]Ulm 0.</s>"
    )


def test_many_refused_rows_block_the_start(tmp_path):
    assert findings_of(tmp_path, rows(10, system=10))[0]["refused"].level == "block"


def test_a_missing_end_is_a_finding_until_it_is_fixed(tmp_path):
    found = findings_of(tmp_path, rows(4), NO_END)[0]["no_end"]
    assert found.level == "warning" and set(found.remedies) == {"add"}
    assert "no_end" not in findings_of(tmp_path, rows(4), NO_END, remedies={"no_end": "add"})[0]


def test_an_answer_that_cannot_be_found_is_reported(tmp_path):
    changing = (
        "{% for m in messages %}{{ '[' + m.role + ']' + m.content | upper + '</s>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '(answer now)' }}{% endif %}"
    )
    with pytest.raises(AnswerNotFound):
        Chat().encode(answer("A town."), ChatTokenizer(folder(tmp_path / "m", changing)), 512)
    found = findings_of(tmp_path, rows(10), changing)[0]
    assert found["unfound"].level == "block" and found["unfound"].count == 10 and "chatml" in found["unfound"].templates


def test_any_exception_of_a_template_is_a_template_error(tmp_path):
    for number, broken in enumerate(
        ("{{ messages[9].role }}", "{{ 1 + messages[0].content }}", "{{ messages | nothing }}", "{% if %}")
    ):
        with pytest.raises(ChatTemplateError):
            ChatTokenizer(folder(tmp_path / str(number), broken)).render([ASK])


# ---- weights in the loss ---------------------------------------------------------------------------------------------


def test_the_loss_is_the_weighted_sum_padded_and_packed():
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=4096,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    ).eval()
    tokenizer = ChatTokenizer(STARTER, "chatml")
    records = [
        answer("A town on the coast.", weight=0.25),
        answer("A lake."),
        answer("A hill. No, a mountain.", span_weights=[[0, 7, 0.5]]),
    ]
    examples = [example for record in records for example in Chat().encode(record, tokenizer, 512)]
    items = [Examples(examples)[at] for at in range(3)]
    expected = 0.0
    for example in examples:
        ids = torch.tensor([example.ids])
        log = model(ids).logits[0, :-1].log_softmax(-1)
        weights = example.weights or [1.0] * len(example.ids)
        expected += sum(
            -weights[at] * log[at - 1, label].item()
            for at, label in enumerate(example.labels)
            if at and label != IGNORED
        )
    trainer = StudioTrainer.__new__(StudioTrainer)  # its loss alone needs no arguments and no data
    trainer.virtual, trainer.tokens_seen = 0, 0
    for packed in (False, True):
        batch = Collator(tokenizer.pad_id, packed)(items)
        with torch.no_grad():
            total, count = trainer._loss(model, batch)
        assert math.isclose(total.item(), expected, rel_tol=1e-4)
        assert count.item() == sum(label != IGNORED for example in examples for label in example.labels[1:])


def test_batches_without_weights_carry_none():
    items = [{"input_ids": [1, 2], "labels": [-100, 2]}, {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}]
    assert "weights" not in pad(items, 0) and "weights" not in flatten(items)
    assert pad([{**items[0], "weights": [0.0, 0.5]}, items[1]], 0)["weights"].tolist() == [
        [0.0, 0.5, 0.0],
        [1.0, 1.0, 1.0],
    ]


def test_a_refused_row_is_reported_in_the_token_view(tmp_path):
    found, made = findings_of(tmp_path, rows(40, system=2))
    assert found["refused"].count == 2
    (tmp_path / "model" / "model.safetensors").symlink_to(STARTER / "model.safetensors")
    home = Home(tmp_path / "home")
    editor = DraftEditor(home, Store(home.database))
    editor.change(
        **{part: made.to_dict()[part] for part in ("model", "data")},
        training={**made.training.model_dump(), "packing": True},
    )
    preflight = editor.preflight()
    assert preflight.rows == 38 and packed_row(preflight, tmp_path / "model", 5)
    assert "Roles must alternate" in view_html(bare_page(), preflight, 1) and "Roles must alternate" not in view_html(
        bare_page(), preflight, 3
    )
