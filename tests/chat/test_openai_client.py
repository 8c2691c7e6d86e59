"""The chat server as OpenAI's own client sees it."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.chat import client
from studio.chat.server import listen, load_engine, serve, start_server
from studio.chat.service import MAX_WAITING, Service
from studio.home import STARTER, Home
from studio.jobs.job import Job
from studio.library import adapter_store
from studio.models.chat_tokenizer import ChatTokenizer
from studio.store import Store
from studio.tasks import IGNORED
from studio.tasks.chat import Chat

QUESTION = [{"role": "user", "content": "What is it?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a town",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"town": "Köln"}}}
ASKED = {"role": "user", "content": "How is the weather in Köln?"}
RESULT = {"role": "tool", "content": "9 degrees", "tool_call_id": "call_1", "name": "weather"}


def start(home, model, **payload):
    """`serve` in a thread, as a running job: (server, its store, job id, thread)."""
    store = Store(home.database)
    job_id = store.queue_job("chat", {"model": model, **payload})
    store.job_started(job_id, os.getpid(), 0.0)
    thread = threading.Thread(target=lambda: serve(Job(store.job(job_id), store, home)))
    thread.start()
    return client.wait_ready(store, job_id, timeout=60), store, job_id, thread


def client_of(server, **options) -> openai.OpenAI:
    given = {"api_key": server.token, "max_retries": 0, **options}
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", **given)


@pytest.fixture(scope="module")
def api(adapter_home, models):
    server, store, job_id, thread = start(adapter_home, str(models / "base"))
    yield client_of(server)
    store.command(job_id, "stop")
    thread.join(15)


def ask(api, model="base", messages=QUESTION, **options):
    return api.chat.completions.create(model=model, messages=messages, **{"max_tokens": 12, **options})


def test_models(api, models):
    listed = [model.id for model in api.models.list()]
    assert listed[0] == "base" and {"lora", "lora2", "whole"} <= set(listed)
    assert api.models.retrieve("lora").owned_by == "studio"
    with pytest.raises(openai.NotFoundError, match="no model 'nowhere'"):
        api.models.retrieve("nowhere")


def test_chat_and_stream_say_the_same(api):
    whole = ask(api, "lora")
    chunks = list(ask(api, "lora", stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens == 12 and whole.model == "lora"


def test_stop_texts_end_an_answer_and_are_left_out(api):
    text = ask(api).choices[0].message.content
    stop = text[4:6]
    cut = ask(api, stop=["never to be seen", stop])
    assert cut.choices[0].message.content == text[: text.index(stop)] and cut.choices[0].finish_reason == "stop"
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in ask(api, stop=stop, stream=True))
    assert streamed == cut.choices[0].message.content


def test_choices_and_seeds(api):
    lively = {"temperature": 1.3, "n": 3, "seed": 5}
    first, again = ask(api, **lively), ask(api, **lively)
    texts = [choice.message.content for choice in first.choices]
    assert len(set(texts)) == 3 and [choice.index for choice in first.choices] == [0, 1, 2]
    assert texts == [choice.message.content for choice in again.choices]
    assert ask(api, temperature=1.3, seed=5).choices[0].message.content == texts[0]
    assert first.usage.prompt_tokens == ask(api).usage.prompt_tokens and first.usage.completion_tokens == 36
    streamed = {0: "", 1: "", 2: ""}
    for chunk in ask(api, stream=True, **lively):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert list(streamed.values()) == texts


def test_logprobs_are_those_of_the_model(api, models):
    answer = ask(api, logprobs=True, top_logprobs=3).choices[0]
    tokenizer = ChatTokenizer(models / "base")
    prompt = tokenizer.encode(tokenizer.render(QUESTION, add_generation_prompt=True)).ids
    model = AutoModelForCausalLM.from_pretrained(models / "base").eval()
    with torch.no_grad():
        expected = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    first = answer.logprobs.content[0]
    assert first.logprob == pytest.approx(float(expected.max()), abs=1e-4)
    assert [top.logprob for top in first.top_logprobs] == pytest.approx(expected.topk(3).values.tolist(), abs=1e-4)
    assert len(answer.logprobs.content) == 12 and first.top_logprobs[0].token == first.token
    chunks = ask(api, logprobs=True, stream=True)
    tokens = [t.token for chunk in chunks if chunk.choices[0].logprobs for t in chunk.choices[0].logprobs.content]
    assert tokens == [token.token for token in answer.logprobs.content]


def test_penalties_change_an_answer(api):
    plain = ask(api, max_tokens=40).choices[0].message.content
    for penalty in ({"frequency_penalty": 2}, {"presence_penalty": 2}, {"extra_body": {"repetition_penalty": 1.5}}):
        assert ask(api, max_tokens=40, **penalty).choices[0].message.content != plain, penalty
    assert ask(api, temperature=5, extra_body={"min_p": 1.0}, max_tokens=40).choices[0].message.content == plain


def test_text_completions(api):
    made = api.completions.create(model="lora", prompt=["Once upon", "A ship"], max_tokens=6, n=2, echo=True)
    assert [choice.text.startswith(p) for choice, p in zip(made.choices, ["Once upon"] * 2 + ["A ship"] * 2)] == [
        True
    ] * 4
    assert made.choices[0].text == made.choices[1].text  # greedy
    scored = api.completions.create(model="lora", prompt="Once upon", max_tokens=4, logprobs=2).choices[0].logprobs
    assert len(scored.tokens) == len(scored.token_logprobs) == 4 and len(scored.top_logprobs[0]) == 2
    with pytest.raises(openai.BadRequestError, match="suffix"):
        api.completions.create(model="lora", prompt="a", suffix="b")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"messages": []}, "write a message first"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role must be one of"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "reads text only",
        ),
        ({"temperature": -1}, "Temperature"),
        ({"n": 99}, "n must be a whole number from 1 to 16"),
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"top_logprobs": 2}, "needs logprobs"),
        ({"stop": [1]}, "stop must be"),
        ({"tools": [{"type": "function"}]}, "tools must be"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "no"}}}, "not among tools"),
        ({"messages": [{"role": "user", "content": "x" * 999}]}, "tokens long"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(api, options, says):
    with pytest.raises(openai.BadRequestError, match=says) as caught:
        ask(api, **options)
    assert caught.value.body["type"] == "invalid_request_error"


def test_wrong_keys_and_unknown_models(api):
    with pytest.raises(openai.AuthenticationError) as caught:
        api.with_options(api_key="wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as caught:
        ask(api, "nowhere")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="nothing at /v1/embeddings"):
        api.embeddings.create(model="base", input="x")


def test_sixteen_requests_over_four_adapters_equal_each_alone(api):
    names = ["base", "lora", "lora2", "ia3"]
    questions = [[{"role": "user", "content": "What is it" + "?" * at}] for at in range(4)]
    alone = {
        (name, at): ask(api, name, q).choices[0].message.content for name in names for at, q in enumerate(questions)
    }
    with ThreadPoolExecutor(16) as pool:
        asked = {
            key: pool.submit(lambda key=key: ask(api, key[0], questions[key[1]]).choices[0].message.content)
            for key in alone
        }
        assert {key: future.result() for key, future in asked.items()} == alone


@pytest.fixture(scope="module")
def service(adapter_home, models):
    """The service itself, without a job, and a client of it."""
    store = Store(adapter_home.database)
    job = Job(store.job(store.queue_job("chat", {"model": str(models / "base")})), store, adapter_home)
    own = Service(load_engine(job), "key", lambda: adapter_store.listing(store), adapter_home.root)
    listener = listen("127.0.0.1", 0)
    server, thread = start_server(own, listener)
    yield own, openai.OpenAI(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", api_key="key", max_retries=0)
    own.shut_down()
    server.should_exit = True
    thread.join(10)


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_an_aborted_stream_frees_its_place(service):
    own, api = service
    stream = ask(api, stream=True, max_tokens=200)
    next(iter(stream))
    assert own.active_choices == 1
    stream.close()
    wait_for(lambda: own.active_choices == 0 and not own.engine._running)


def test_beyond_the_queue_requests_get_429(service):
    own, api = service
    own.active_choices += MAX_WAITING + 16
    try:
        with pytest.raises(openai.RateLimitError) as caught:
            ask(api)
        assert caught.value.response.headers["retry-after"] == "1" and caught.value.code == "rate_limit_exceeded"
    finally:
        own.active_choices -= MAX_WAITING + 16
    assert ask(api).choices[0].message.content


# ---- tools: an adapter that has learnt one call, and the answer to its result ------------------------------------


def memorised(folder, records):
    """A LoRA of the starter in `folder`, with ChatML as its template, that answers as in `records`."""
    torch.manual_seed(0)
    tokenizer = ChatTokenizer(STARTER, "chatml")
    model = AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32)
    config = peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config)
    examples = [example for record in records for example in Chat().encode(record, tokenizer, 2048)]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-3, weight_decay=0.0)
    worst = 9.9
    for _ in range(100):
        losses = []
        for example in examples:
            labels = [label if label != IGNORED else -100 for label in example.labels]
            losses.append(model(input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels])).loss)
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        worst = max(map(float, losses))
        if worst < 0.03:
            break
    assert worst < 0.03, f"the conversations are not memorised: loss {worst}"
    model.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(tokenizer.template, encoding="utf-8")


@pytest.fixture(scope="module")
def tool_api(tmp_path_factory):
    root = tmp_path_factory.mktemp("tools")
    answer = {"role": "assistant", "content": "It is 9 degrees."}
    call = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    thought = {"role": "assistant", "content": "<think>\nTwo and two.\n</think>\n\nFour."}
    records = [
        {"messages": [ASKED, call, RESULT, answer], "tools": [WEATHER]},
        {"messages": [{"role": "user", "content": "2 + 2?"}, thought]},
    ]
    memorised(root / "adapter", records)
    home = Home(root / "home")
    card = {"kind": "adapter", "method": "lora", "base": "starter", "task": "chat"}
    adapter_store.add(home, Store(home.database), source=root / "adapter", name="Weather", run_id="weather", card=card)
    server, store, job_id, thread = start(home, "starter")
    yield client_of(server)
    store.command(job_id, "stop")
    thread.join(15)


def call_of(message):
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"town": "Köln"} and call.function.name == "weather"
    return call


def test_a_tool_is_called_and_its_result_read(tool_api):
    choice = ask(tool_api, "Weather", [ASKED], tools=[WEATHER], max_tokens=60).choices[0]
    call = call_of(choice.message)
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    result = {"role": "tool", "tool_call_id": call.id, "content": "9 degrees"}
    conversation = [ASKED, choice.message.model_dump(exclude_none=True), result]
    assert ask(tool_api, "Weather", conversation, tools=[WEATHER]).choices[0].message.content == "It is 9 degrees."


def test_a_streamed_call_comes_as_a_call(tool_api):
    chunks = list(ask(tool_api, "Weather", [ASKED], tools=[WEATHER], max_tokens=60, stream=True))
    assert not any(chunk.choices[0].delta.content for chunk in chunks)
    call_of(next(chunk.choices[0].delta for chunk in chunks if chunk.choices[0].delta.tool_calls))
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_tool_choice(tool_api):
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        made = ask(tool_api, "Weather", [ASKED], tools=[WEATHER], tool_choice=choice, max_tokens=60).choices[0]
        call_of(made.message)
    none = ask(tool_api, "Weather", [ASKED], tools=[WEATHER], tool_choice="none", max_tokens=20).choices[0]
    plain = ask(tool_api, "Weather", [ASKED], max_tokens=20).choices[0]
    assert none.message.content == plain.message.content


def test_reasoning_is_split_off(tool_api):
    question = [{"role": "user", "content": "2 + 2?"}]
    message = ask(tool_api, "Weather", question, max_tokens=60).choices[0].message
    assert (message.content, message.reasoning_content) == ("Four.", "Two and two.")
    chunks = list(ask(tool_api, "Weather", question, max_tokens=60, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "Two and two."
    assert "".join(delta.content or "" for delta in deltas) == "Four."
