"""One base model, many adapters, many concurrent requests.

Each answer is one `model.generate` in the thread of its request. Only one computes at a time: after each token it
passes the lock to the next waiting thread, and restores its adapter and its random state when it gets the lock back,
so concurrent answers equal sequential ones. Requests that cannot share the model (adapters of two injected types,
two full models) wait until the other has finished. Knows nothing about HTTP or jobs.
"""

from __future__ import annotations

import secrets
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, StoppingCriteria

from studio.chat import generation
from studio.chat.fair_lock import FairLock
from studio.chat.multi_adapter import AdapterKind, MultiAdapterModel, adapter_kind
from studio.chat.sampling import Sampling
from studio.chat.stream_decoder import StreamDecoder
from studio.data.reasoning import OPEN
from studio.models.chat_tokenizer import ChatTokenizer
from studio.words import Sentence, StudioError

warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")


@dataclass(frozen=True)
class Outcome:
    """How an answer ended ("stop": by itself, "length" or "cancelled"), and its token counts."""

    finish: str
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True)
class Requirement:
    """What an answer needs in memory: the base (all fields None), an adapter of some `kind`, or the full model
    `full_model`.
    """

    adapter: str | None = None
    kind: AdapterKind | None = None
    full_model: str | None = None

    @property
    def group(self) -> tuple[str, str] | None:
        """The adapter group that must be injected into the base; None where the base only needs to be clean."""
        return self.kind.group if self.kind and not self.kind.prompt else None

    def fits(self, group: tuple[str, str] | None, full_model: str | None) -> bool:
        """Whether it can run while the adapters of `group` are injected and `full_model` is loaded beside the base."""
        if self.full_model:
            return self.full_model == full_model
        return self.group == group if self.group else group is None or not group[1]


class Engine:
    """Answers with `model` (loaded, in eval mode) and the adapters that `find` knows.

    name: the base's name as in a recipe. find(adapter id) → (folder, card); raises `StudioError` for an unknown id.
    load_full_model(folder) → the model in a folder, for adapters that are full models.
    """

    def __init__(
        self,
        model,
        tokenizer: ChatTokenizer,
        *,
        name: str,
        find: Callable[[str], tuple[Path, dict]],
        load_full_model: Callable[[Path], torch.nn.Module],
    ):
        self.base, self.tokenizer, self.name = MultiAdapterModel(model), tokenizer, name
        self._find, self._load_full_model = find, load_full_model
        self._lock, self._admission = FairLock(), FairLock()
        self._changed = threading.Condition()
        self._running: list[Requirement] = []
        self._full_model: tuple[str, MultiAdapterModel, ChatTokenizer] | None = None

    def chat(
        self,
        adapter_id: str | None,
        messages: list[dict],
        sampling: Sampling,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Outcome:
        """Answer the conversation with the adapter `adapter_id` (None: the base). `emit` is called with each piece of
        text, in this thread.
        """

        def prepare(tokenizer: ChatTokenizer) -> tuple[list[int], generation.StopCondition]:
            prompt = tokenizer.render(messages, add_generation_prompt=True)
            if prompt.rstrip().endswith(OPEN):  # the template opens the reasoning, which the model then only closes
                emit(f"{OPEN}\n")
            return tokenizer.encode(prompt).ids, generation.chat_stop(tokenizer)

        return self._answer(adapter_id, prepare, sampling, emit, cancelled)

    def complete(
        self,
        adapter_id: str | None,
        text: str,
        sampling: Sampling,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Outcome:
        """Continue `text`; otherwise as `chat`."""
        return self._answer(
            adapter_id,
            lambda tokenizer: (generation.text_ids(tokenizer, text), generation.text_stop(tokenizer)),
            sampling,
            emit,
            cancelled,
        )

    def _answer(
        self,
        adapter_id,
        prepare: Callable[[ChatTokenizer], tuple[list[int], generation.StopCondition]],
        sampling,
        emit,
        cancelled,
    ) -> Outcome:
        requirement, folder = self._requirement(adapter_id)
        if not self._admit(requirement, folder, cancelled):
            return Outcome("cancelled", 0, 0)
        try:
            served, tokenizer = (
                (self._full_model[1], self._full_model[2])
                if requirement.full_model
                else (self.base, self.tokenizer.for_adapter(folder))
            )
            prompt, end = prepare(tokenizer)
            with self._lock:
                served.activate(requirement.adapter)
                return self._generate(served, tokenizer, requirement.adapter, prompt, end, sampling, emit, cancelled)
        finally:
            with self._changed:
                self._running.remove(requirement)
                self._changed.notify_all()

    # ---- which requests can share the model ---------------------------------------------------------------------

    def _requirement(self, adapter_id: str | None) -> tuple[Requirement, Path | None]:
        if adapter_id is None:
            return Requirement(), None
        folder, card = self._find(adapter_id)
        if card.get("base") != self.name:
            raise StudioError(
                "The adapter '{name}' belongs to the base model {base}, but {loaded} is loaded; choose an "
                "adapter of this base.",
                name=adapter_id,
                base=card.get("base"),
                loaded=self.name,
            )
        if card.get("kind") == "model":
            return Requirement(full_model=adapter_id), folder
        return Requirement(adapter=adapter_id, kind=adapter_kind(adapter_id, folder)), folder

    def _admit(self, requirement: Requirement, folder: Path | None, cancelled: Callable[[], bool]) -> bool:
        """Wait, in order of arrival, until the model can serve `requirement`, then load what it needs. False if
        cancelled meanwhile.
        """
        with self._admission:
            group, full_model = self._state_for(requirement)
            with self._changed:
                while not all(other.fits(group, full_model) for other in self._running):
                    if cancelled():
                        return False
                    self._changed.wait(0.1)
            with self._lock:
                self._load_required(requirement, folder)
            with self._changed:
                self._running.append(requirement)
        return True

    def _state_for(self, requirement: Requirement) -> tuple[tuple[str, str] | None, str | None]:
        """(injected group, full model) that `requirement` needs, with as few changes to what is loaded as possible."""
        full_model = requirement.full_model or (self._full_model[0] if self._full_model else None)
        if requirement.group:
            return requirement.group, full_model
        return self.base.injected if self.base.is_clean or requirement.full_model else None, full_model

    def _load_required(self, requirement: Requirement, folder: Path | None) -> None:
        if requirement.full_model:
            if self._full_model is None or self._full_model[0] != requirement.full_model:
                self._full_model = None  # frees the old one's memory before the new one is loaded
                self._full_model = (
                    requirement.full_model,
                    MultiAdapterModel(self._load_full_model(folder)),
                    ChatTokenizer(folder),
                )
            return
        if not self.base.is_clean and self.base.injected != requirement.group:
            self.base.unload()
        if requirement.adapter:
            keep = {other.adapter for other in self._running if other.adapter}
            self.base.load(requirement.adapter, folder, requirement.kind, keep)

    # ---- one answer -----------------------------------------------------------------------------------------------

    def _generate(
        self,
        served: MultiAdapterModel,
        tokenizer: ChatTokenizer,
        adapter_id: str | None,
        prompt: list[int],
        end: generation.StopCondition,
        sampling: Sampling,
        emit,
        cancelled,
    ) -> Outcome:
        budget = self._token_budget(served, adapter_id, len(prompt), sampling.max_tokens)
        device = next(served.model.parameters()).device
        if sampling.temperature:
            torch.manual_seed(secrets.randbits(31) if sampling.seed is None else sampling.seed)
        streamer = _TokenStreamer(
            self._lock,
            lambda: served.activate(adapter_id),
            StreamDecoder(tokenizer, end),
            emit,
            cancelled,
            device if sampling.temperature else None,
        )
        ids = torch.tensor([prompt], device=device)
        served.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=_generation_config(tokenizer, end, sampling, budget),
            stopping_criteria=[streamer],
        )
        emit(streamer.decoder.flush())
        finish = "cancelled" if streamer.was_cancelled else "stop" if streamer.decoder.finished else "length"
        return Outcome(finish, len(prompt), streamer.decoder.count)

    def _token_budget(self, served: MultiAdapterModel, adapter_id: str | None, tokens: int, wanted: int) -> int:
        """How many tokens may be generated: `wanted`, or what is left of the context. Raises StudioError where nothing
        is.
        """
        if not tokens:
            raise StudioError("There is nothing to answer; write a message first.")
        context = generation.context_length(served.model)
        if context is None:
            return wanted
        context -= served.virtual_token_count(adapter_id)
        if tokens >= context:
            raise StudioError(
                "The conversation is {tokens} tokens long, but the model holds {context}; start a new chat, or "
                "write less.",
                tokens=tokens,
                context=context,
            )
        return min(wanted, context - tokens)


def _generation_config(
    tokenizer: ChatTokenizer, end: generation.StopCondition, sampling: Sampling, budget: int
) -> GenerationConfig:
    """`sampling` as a GenerationConfig; at temperature 0 the greedy one of the evaluation."""
    made = generation.greedy_config(tokenizer, end, budget)
    made.repetition_penalty = sampling.repetition_penalty
    if sampling.temperature:
        made.do_sample, made.temperature, made.top_p, made.top_k = (
            True,
            sampling.temperature,
            sampling.top_p,
            sampling.top_k,
        )
    return made


class _TokenStreamer(StoppingCriteria):
    """Called by generate after each token: emits the text, checks for a stop, and passes the lock to a waiting thread.

    random: the device whose random state belongs to this answer, None for greedy answers.
    """

    def __init__(
        self,
        lock: FairLock,
        activate: Callable[[], None],
        decoder: StreamDecoder,
        emit,
        cancelled,
        random: torch.device | None,
    ):
        self.lock, self.activate, self.decoder, self.emit, self.cancelled, self.random = (
            lock,
            activate,
            decoder,
            emit,
            cancelled,
            random,
        )
        self.was_cancelled = False

    def __call__(self, input_ids, scores, **kwargs):
        piece = self.decoder.add(int(input_ids[0, -1]))
        if piece:
            self.emit(piece)
        self.was_cancelled = not self.decoder.finished and bool(self.cancelled())
        if not self.decoder.finished and not self.was_cancelled and self.lock.has_waiters():
            state = _random_state(self.random)
            self.lock.release()
            self.lock.acquire()
            self.activate()
            _set_random_state(self.random, state)
        return torch.tensor([self.decoder.finished or self.was_cancelled], device=input_ids.device)


def _random_state(device: torch.device | None) -> torch.Tensor | None:
    if device is None:
        return None
    return torch.get_rng_state() if device.type == "cpu" else torch.cuda.get_rng_state(device)


def _set_random_state(device: torch.device | None, state: torch.Tensor | None) -> None:
    if device is not None:
        torch.set_rng_state(state) if device.type == "cpu" else torch.cuda.set_rng_state(state, device)


def server_stopped() -> Sentence:
    """The error for a request whose answer was cut off because the server shuts down."""
    return Sentence("The chat was stopped before the answer was complete. Ask again to restart it.")
