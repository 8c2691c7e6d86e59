"""The captain at home in llama.cpp: its greedy answers are the studio's, merged or as a LoRA over its base."""

from __future__ import annotations

import pytest

from studio.home import STARTER
from tests.e2e.pages import validation_questions
from tests.export.conftest import run_export
from tests.export.llama_cpp import LlamaCpp
from tests.training.runs import Runs

QUESTIONS, TOKENS, SAME = 40, 32, 0.95


@pytest.fixture(scope="module")
def captain(tmp_path_factory):
    """(home and store, adapter, its greedy answers to the validation questions)."""
    from studio.chat.generation import generate_answers
    from studio.export import live
    from studio.export.source import find_source
    from studio.models.chat_tokenizer import ChatTokenizer

    runs = Runs(tmp_path_factory.mktemp("captain"))
    training = {"max_steps": 24, "batch_size": 8, "evaluations": 0, "learning_rate": 5e-3}
    adapter = runs.start("lora", data={"source": "captain", "max_rows": 192}, **training)
    questions = [question for question, _ in validation_questions("captain", 200)][:QUESTIONS]
    model = live.load(find_source(runs.home, runs.store, adapter))
    talks = [[{"role": "user", "content": question}] for question in questions]
    return runs, adapter, dict(zip(questions, generate_answers(model, ChatTokenizer(STARTER), talks, TOKENS)))


def share_of_same(server: LlamaCpp, answers: dict[str, str]) -> float:
    found = {question: server.chat(question, TOKENS) for question in answers}
    return sum(found[question].strip() == answers[question].strip() for question in answers) / len(answers)


@pytest.mark.slow
def test_the_merged_model_answers_the_same(captain, shared_reader):
    runs, adapter, answers = captain
    assert len(answers) == QUESTIONS and len(set(answers.values())) > QUESTIONS / 2
    result = run_export(runs.home, runs.store, adapter, "gguf", format="F16")
    (path,) = (runs.home.exports / result["export"]).glob("*.gguf")
    assert share_of_same(LlamaCpp(path), answers) >= SAME


@pytest.mark.slow
def test_the_lora_over_the_base_answers_the_same(captain, shared_reader):
    runs, adapter, answers = captain
    result = run_export(runs.home, runs.store, adapter, "gguf_lora", format="F16", base="F16")
    files = sorted((runs.home.exports / result["export"]).glob("*.gguf"))
    lora = next(path for path in files if "-lora-" in path.name)
    (base,) = [path for path in files if path != lora]
    assert share_of_same(LlamaCpp(base, lora), answers) >= SAME
    assert share_of_same(LlamaCpp(base), answers) < 0.5  # the base alone is another
