"""Text ↔ tokens: what is encoded is decoded again, offsets point at the text, and templates are rendered safely."""

import json

import pytest
from model_folders import tokenizer

from studio.models.codec import Codec
from studio.models.templates import template as lent
from studio.words import StudioError

TALK = [{"role": "user", "content": "Grüße, 世界 👋"}, {"role": "assistant", "content": "Hi"}]


def test_there_and_back(tmp_path):
    codec = Codec(tokenizer(tmp_path))
    for text in ("plain", "Grüße, 世界 👋\n\t", "<|im_start|>user\nx<|im_end|>"):
        tokens = codec.encode(text)
        assert codec.decode(tokens.ids, keep_special=True) == text
        assert len(tokens.ids) == len(tokens.offsets) and tokens.offsets[-1][1] == len(text)
    assert codec.decode(codec.encode("<|im_start|>x").ids) == "x"


def test_the_template_of_a_model_without_one(tmp_path):
    codec = Codec(tokenizer(tmp_path))
    assert codec.template == lent("chatml")
    assert codec.render(TALK) == "<|im_start|>user\nGrüße, 世界 👋<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n"
    assert codec.render(TALK[:1], for_answer=True).endswith("<|im_start|>assistant\n")


def test_where_a_template_comes_from(tmp_path):
    assert Codec(tokenizer(tmp_path / "a", chat_template="one")).template == "one"
    assert (
        Codec(
            tokenizer(
                tmp_path / "b",
                chat_template=[{"name": "tool", "template": "x"}, {"name": "default", "template": "two"}],
            )
        ).template
        == "two"
    )
    folder = tokenizer(tmp_path / "c", chat_template="one")
    (folder / "chat_template.jinja").write_text("three", encoding="utf-8")
    assert Codec(folder).template == "three"


def test_what_templates_use(tmp_path):
    template = (
        "{% generation %}{{ messages[0].content | tojson }}{% endgeneration %}{{ strftime_now('%Y') | length }}{{ eos_token }}"
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}"
    )
    assert Codec(tokenizer(tmp_path, chat_template=template)).render(TALK) == '"Grüße, 世界 👋"4<|im_end|>assistant'


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{% for %}",
        "{{ nothing.at.all }}",
    ],
)
def test_templates_that_refuse_or_attack(template, tmp_path):
    codec = Codec(tokenizer(tmp_path, chat_template=template))
    with pytest.raises(StudioError, match="chat template refuses"):
        codec.render(TALK)


def test_ends(tmp_path):
    codec = Codec(tokenizer(tmp_path / "a"))
    end = codec.encode("<|im_end|>").ids[0]
    assert codec.end_ids == [end] and codec.end_text == "<|im_end|>" and codec.pad_id == end
    folder = tokenizer(tmp_path / "b", pad_token={"content": "<|im_start|>"})
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, end]}))
    assert Codec(folder).end_ids == [7, end] and Codec(folder).pad_id == end - 1


def test_broken_tokenizers(tmp_path):
    with pytest.raises(StudioError, match="no tokenizer.json"):
        Codec(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(StudioError, match="cannot be read"):
        Codec(tmp_path)
