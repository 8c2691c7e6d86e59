"""The real llama.cpp, through xllamacpp: greedy answers of a GGUF file, with a LoRA file or without."""

from __future__ import annotations

from pathlib import Path

VERBOSITY = 0  # messages of llama.cpp on standard error: 0 none, 4 all


class LlamaCpp:
    """A GGUF model in llama.cpp's server, in this process, on one thread."""

    def __init__(self, model: Path, lora: Path | None = None, context: int = 256):
        import xllamacpp

        settings = xllamacpp.CommonParams()
        settings.model.path = str(model)
        settings.n_ctx, settings.n_parallel, settings.verbosity = context, 1, VERBOSITY
        settings.cpuparams.n_threads, settings.cpuparams_batch.n_threads = 1, 1
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        if lora:
            settings.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0)]
        self.server = xllamacpp.Server(settings)

    def chat(self, question: str, tokens: int) -> str:
        """The greedy answer to one message, by the file's own chat template."""
        messages = [{"role": "user", "content": question}]
        answer = self.server.handle_chat_completions({"messages": messages, "max_tokens": tokens, "temperature": 0})
        return answer["choices"][0]["message"]["content"]

    def complete(self, prompt: str, tokens: int) -> tuple[list[int], list[float]]:
        """(ids, log-probabilities) of the greedy continuation of a text."""
        request = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "n_probs": 1, "ignore_eos": True}
        answer = self.server.handle_completions(request)
        content = answer["choices"][0]["logprobs"]["content"]
        return [token["id"] for token in content], [token["logprob"] for token in content]
