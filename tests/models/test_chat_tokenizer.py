"""Encoding and decoding round-trip, offsets point into the text, and templates are rendered safely."""

import json

import pytest

from studio.models.chat_tokenizer import ChatTokenizer
from studio.models.templates import template as load_template
from studio.words import StudioError
from tests.models.model_folders import tokenizer_folder

CONVERSATION = [{"role": "user", "content": "Grüße, 世界 👋"}, {"role": "assistant", "content": "Hi"}]


def test_encode_and_decode_round_trip(tmp_path):
    tokenizer = ChatTokenizer(tokenizer_folder(tmp_path))
    for text in ("plain", "Grüße, 世界 👋\n\t", "<|im_start|>user\nx<|im_end|>"):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens.ids, keep_special_tokens=True) == text
        assert len(tokens.ids) == len(tokens.offsets) and tokens.offsets[-1][1] == len(text)
    assert tokenizer.decode(tokenizer.encode("<|im_start|>x").ids) == "x"


def test_chatml_where_a_model_has_no_template(tmp_path):
    tokenizer = ChatTokenizer(tokenizer_folder(tmp_path))
    assert tokenizer.template == load_template("chatml")
    assert (
        tokenizer.render(CONVERSATION)
        == "<|im_start|>user\nGrüße, 世界 👋<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n"
    )
    assert tokenizer.render(CONVERSATION[:1], add_generation_prompt=True).endswith("<|im_start|>assistant\n")


def test_where_a_template_comes_from(tmp_path):
    assert ChatTokenizer(tokenizer_folder(tmp_path / "a", chat_template="one")).template == "one"
    assert (
        ChatTokenizer(
            tokenizer_folder(
                tmp_path / "b",
                chat_template=[{"name": "tool", "template": "x"}, {"name": "default", "template": "two"}],
            )
        ).template
        == "two"
    )
    folder = tokenizer_folder(tmp_path / "c", chat_template="one")
    (folder / "chat_template.jinja").write_text("three", encoding="utf-8")
    assert ChatTokenizer(folder).template == "three"


def test_functions_that_templates_use(tmp_path):
    template = (
        "{% generation %}{{ messages[0].content | tojson }}{% endgeneration %}"
        "{{ strftime_now('%Y') | length }}{{ eos_token }}"
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}"
    )
    assert (
        ChatTokenizer(tokenizer_folder(tmp_path, chat_template=template)).render(CONVERSATION)
        == '"Grüße, 世界 👋"4<|im_end|>assistant'
    )


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{% for %}",
        "{{ nothing.at.all }}",
    ],
)
def test_templates_that_raise_or_attack(template, tmp_path):
    tokenizer = ChatTokenizer(tokenizer_folder(tmp_path, chat_template=template))
    with pytest.raises(StudioError, match="chat template refuses"):
        tokenizer.render(CONVERSATION)


def test_eos_ids(tmp_path):
    tokenizer = ChatTokenizer(tokenizer_folder(tmp_path / "a"))
    end = tokenizer.encode("<|im_end|>").ids[0]
    assert tokenizer.eos_ids == [end] and tokenizer.eos_text == "<|im_end|>" and tokenizer.pad_id == end
    folder = tokenizer_folder(tmp_path / "b", pad_token={"content": "<|im_start|>"})
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, end]}))
    assert ChatTokenizer(folder).eos_ids == [7, end] and ChatTokenizer(folder).pad_id == end - 1


def test_broken_tokenizers(tmp_path):
    with pytest.raises(StudioError, match="no tokenizer.json"):
        ChatTokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(StudioError, match="cannot be read"):
        ChatTokenizer(tmp_path)
