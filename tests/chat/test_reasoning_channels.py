"""Reasoning in streamed answers: of models that write in channels (GPT-OSS), and of prompts that open it."""

import json
import shutil

import pytest
from tokenizers import Tokenizer

from studio.chat.engine import Engine
from studio.chat.generation import StopCondition, decode_answer
from studio.chat.sampling import Sampling
from studio.chat.stream_decoder import StreamDecoder
from studio.home import STARTER
from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.load import load_base

SPECIAL_TOKENS = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"]
OUTPUT = (
    "<|channel|>analysis<|message|>Two and two, 世界.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Four 👋.<|return|>"
)


@pytest.fixture
def tokenizer(tmp_path):
    raw_tokenizer = Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    raw_tokenizer.add_special_tokens(SPECIAL_TOKENS)
    raw_tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|return|>"}))
    (tmp_path / "chat_template.jinja").write_text("{{ '<|start|>assistant<|channel|>' }}")
    return ChatTokenizer(tmp_path)


def test_reasoning_comes_first_piece_by_piece(tokenizer):
    pieces = StreamDecoder(tokenizer, StopCondition(tokenizer.eos_ids))
    shown = [pieces.add(token) for token in tokenizer.encode(OUTPUT).ids]
    assert "".join(shown) + pieces.flush() == "<think>\nTwo and two, 世界.\n</think>\n\nFour 👋."
    assert pieces.finished and len([piece for piece in shown if piece]) > 5


def test_the_whole_answer_at_once(tokenizer):
    assert (
        decode_answer(tokenizer, tokenizer.encode(OUTPUT).ids, StopCondition(tokenizer.eos_ids))
        == "<think>\nTwo and two, 世界.\n</think>\n\nFour 👋."
    )


def test_reasoning_that_the_template_opens_is_opened_in_what_is_shown(models, tmp_path):
    folder = tmp_path / "thinks"
    shutil.copytree(models / "base", folder)
    turns = "{% for m in messages %}{{ '[' + m.role + ']' + m.content }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(turns + "{% if add_generation_prompt %}[assistant]<think>\n{% endif %}")
    engine = Engine(
        load_base(folder), ChatTokenizer(folder), name=str(folder), find=lambda key: None, load_full_model=load_base
    )
    pieces: list[str] = []
    engine.chat(None, [{"role": "user", "content": "Why?"}], Sampling(max_tokens=4), pieces.append, lambda: False)
    assert pieces[0] == "<think>\n" and len(pieces) > 1
