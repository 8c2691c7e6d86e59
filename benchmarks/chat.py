"""The chat server against transformers' own `generate`: speed of one request, of eight over four LoRA adapters, time to
the first token, and the cost of a switch of adapters. Interleaved, over HTTP, with real adapters.

    python benchmarks/chat.py [--rounds 7] [--json FILE]

Models: the starter, and a Llama of 30 million parameters with random weights (no download). The server runs in a
process of its own (`python -m studio.serve`); bare `generate` in this one, with the same threads and precision.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ADAPTERS, REQUESTS = 4, 8
TOKENS = {"starter": 96, "llama-30m-shape": 48}  # of an answer; the larger model is slow on two cores
QUESTION = [{"role": "user", "content": "Tell me a long story about a ship, a storm and a lighthouse."}]


def make_models(folder: Path) -> dict[str, Path]:
    """Name → folder of a base model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from studio.home import STARTER

    large = folder / "llama-30m-shape"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048, hidden_size=512, intermediate_size=1408, num_hidden_layers=10, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=8192, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(large)
    small = folder / "starter"
    shutil.copytree(STARTER, small)
    (small / "generation_config.json").unlink(missing_ok=True)
    for model in (small, large):  # without an end token every answer has the full length
        (model / "tokenizer.json").write_bytes((STARTER / "tokenizer.json").read_bytes())
        (model / "tokenizer_config.json").write_text("{}")
        (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
        made = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**made, "eos_token_id": None}))
    return {small.name: small, large.name: large}


def make_adapters(base: Path, folder: Path) -> list[Path]:
    """LoRA adapters (r = 16, all linear layers) with random weights, which never end an answer early."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    made = []
    for at in range(ADAPTERS):
        torch.manual_seed(at)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=16, target_modules="all-linear")
        )
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        made.append(folder / f"adapter{at}")
        model.save_pretrained(made[-1])
    return made


class Server:
    """`python -m studio.serve` with the adapters, and a client of it."""

    def __init__(self, base: Path, adapters: list[Path], home: Path):
        import openai

        command = [sys.executable, "-m", "studio.serve", *map(str, adapters), "--base", str(base), "--home", str(home)]
        self.process = subprocess.Popen(
            [*command, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ
        )
        output = ""
        while "Ctrl+C" not in output:
            output += self.process.stdout.readline()
        url, key = re.search(r"at (http://\S+)", output)[1], re.search(r"Key: (\S+)", output)[1]
        self.api = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
        self.names = [path.name for path in adapters]

    def ask(self, model: str, tokens: int) -> tuple[float, float, int]:
        """(seconds to the first token, seconds in all, tokens) of one streamed answer."""
        began, first, count = time.perf_counter(), 0.0, 0
        options = {"max_tokens": tokens, "stream": True, "stream_options": {"include_usage": True}}
        for chunk in self.api.chat.completions.create(model=model, messages=QUESTION, **options):
            if chunk.choices and chunk.choices[0].delta.content and not first:
                first = time.perf_counter() - began
            count = chunk.usage.completion_tokens if chunk.usage else count
        return first, time.perf_counter() - began, count

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


class Bare:
    """transformers' `generate` with one adapter of stock peft."""

    def __init__(self, base: Path, adapter: Path):
        import torch
        from peft import PeftModel

        from studio.models.chat_tokenizer import ChatTokenizer
        from studio.models.load import load_base

        tokenizer = ChatTokenizer(base)
        self.model = PeftModel.from_pretrained(load_base(base), adapter).eval()
        self.ids = torch.tensor([tokenizer.encode(tokenizer.render(QUESTION, add_generation_prompt=True)).ids])

    def tokens_per_second(self, tokens: int) -> float:
        import torch

        began = time.perf_counter()
        with torch.no_grad():
            made = self.model.generate(
                input_ids=self.ids, attention_mask=torch.ones_like(self.ids), do_sample=False,
                max_new_tokens=tokens, eos_token_id=[self.model.config.vocab_size], pad_token_id=0,
            )  # fmt: skip
        return (made.shape[1] - self.ids.shape[1]) / (time.perf_counter() - began)


def measure(server: Server, bare: Bare, length: int, rounds: int) -> dict:
    """Medians over the rounds."""
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    asked = [server.names[at % ADAPTERS] for at in range(REQUESTS)]
    for round in range(rounds + 1):
        alone = bare.tokens_per_second(length)
        _, seconds, tokens = server.ask(server.names[0], length)
        began = time.perf_counter()
        one_by_one = sum(server.ask(name, length)[2] for name in asked) / (time.perf_counter() - began)
        with ThreadPoolExecutor(REQUESTS) as pool:
            began = time.perf_counter()
            together = sum(pool.map(lambda name: server.ask(name, length)[2], asked)) / (time.perf_counter() - began)
        server.ask(server.names[0], 1)
        same, _, _ = server.ask(server.names[0], 2)
        switched, _, _ = server.ask(server.names[1], 2)
        if round:  # the first warms up
            note("bare generate, tokens/s", alone)
            note("studio, one request, tokens/s", tokens / seconds)
            note("studio / bare", tokens / seconds / alone)
            note("8 requests one by one, tokens/s", one_by_one)
            note("8 requests together, tokens/s", together)
            note("together / one by one", together / one_by_one)
            note("first token, ms", same * 1000)
            note("switch of adapters, ms", (switched - same) * 1000)
    return {name: round_to(statistics.median(values)) for name, values in found.items()}


def round_to(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", choices=list(TOKENS), help="only this one")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, base in make_models(folder).items():
            if options.model not in (None, name):
                continue
            adapters = make_adapters(base, folder / name / "adapters")
            server = Server(base, adapters, folder / "home")
            try:
                results[name] = measure(server, Bare(base, adapters[0]), TOKENS[name], options.rounds)
            finally:
                server.end()
            print(name)
            for what, value in results[name].items():
                print(f"  {what:34} {value:>10}")
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        results = {"machine": machine, "date": time.strftime("%Y-%m-%d"), **results}
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
