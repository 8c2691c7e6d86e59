"""One base model, many adapters, many concurrent requests.

Requests are decoded in one batch where their adapters allow it (`batching.py`): those of one adapter, and those of
different LoRA adapters and the base. A request joins the batch in progress after its next token. Batches take turns:
after each token a batch passes the lock to the next waiting one, and activates its adapters when it gets the lock back.
So concurrent answers equal sequential ones. Requests that cannot share the model (adapters of two injected types, two
full models) wait until the other has finished. Knows nothing about HTTP or jobs.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from studio.chat import generation
from studio.chat.adapter_scale import scale_refusal
from studio.chat.batching import Row, Runner, TokenLogprob, chooser, decode_rows
from studio.chat.comparison import ScoredToken, answer_ids, logprobs_of, token_texts
from studio.chat.fair_lock import FairLock
from studio.chat.multi_adapter import AdapterKind, MultiAdapterModel, adapter_kind
from studio.chat.sampling import Sampling
from studio.chat.stream_decoder import StreamDecoder
from studio.data.reasoning import OPEN
from studio.models.chat_tokenizer import ChatTokenizer
from studio.words import Sentence, StudioError

warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")

_DECODED_BEFORE = 8  # tokens of a continued answer that are decoded again as context


@dataclass(frozen=True)
class Outcome:
    """How an answer ended ("stop": by itself, "length" or "cancelled"), its token counts, and the seconds from the
    request to the first token and to the end.
    """

    finish: str
    prompt_tokens: int
    new_tokens: int
    first_token_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class AnswerOptions:
    """What a request may ask for beside its sampling. stop: texts that end the answer. tools: offered to the model, as
    JSON schemas. prefill: text with which the answer of a chat begins; it is not emitted. continues: whether `prefill`
    is an answer that was cut off. adapter_scale: see `adapter_scale`. visible_tokens: special tokens that stay in the
    text. top_logprobs, on_logprob: see `batching.Row`.
    """

    stop: tuple[str, ...] = ()
    tools: list | None = None
    prefill: str = ""
    continues: bool = False
    adapter_scale: float = 1.0
    visible_tokens: tuple[str, ...] = ()
    top_logprobs: int | None = None
    on_logprob: Callable[[TokenLogprob], None] = lambda token: None


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
        self._runners_guard = threading.Lock()
        self._runners: dict[Hashable, list[Runner]] = {}
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
        options: AnswerOptions | None = None,
    ) -> Outcome:
        """Answer the conversation with the adapter `adapter_id` (None: the base). `emit` is called with each piece of
        text, in the thread of this request or of one that is decoded together with it.
        """
        options = options or AnswerOptions()

        def prepare(tokenizer: ChatTokenizer) -> tuple[list[int], generation.StopCondition]:
            prompt = tokenizer.render(messages, add_generation_prompt=True, tools=options.tools)
            prefill = options.prefill
            if prompt.rstrip().endswith(OPEN):  # the template opens the reasoning, which the model then only closes
                if options.continues:
                    prefill = prefill.lstrip().removeprefix(OPEN).lstrip("\n")
                else:
                    emit(f"{OPEN}\n")
            return tokenizer.encode(prompt + prefill).ids, generation.chat_stop(tokenizer)

        return self._answer(adapter_id, prepare, sampling, emit, cancelled, options)

    def complete(
        self,
        adapter_id: str | None,
        text: str,
        sampling: Sampling,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
        options: AnswerOptions | None = None,
    ) -> Outcome:
        """Continue `text`; otherwise as `chat`."""
        return self._answer(
            adapter_id,
            lambda tokenizer: (generation.text_ids(tokenizer, text), generation.text_stop(tokenizer)),
            sampling,
            emit,
            cancelled,
            options or AnswerOptions(),
        )

    def tokenizer_of(self, adapter_id: str | None) -> ChatTokenizer:
        """The tokenizer and chat template with which the adapter answers."""
        if adapter_id is None:
            return self.tokenizer
        requirement, folder = self._requirement(adapter_id)
        return ChatTokenizer(folder) if requirement.full_model else self.tokenizer.for_adapter(folder)

    def _answer(
        self,
        adapter_id,
        prepare: Callable[[ChatTokenizer], tuple[list[int], generation.StopCondition]],
        sampling,
        emit,
        cancelled,
        options: AnswerOptions,
    ) -> Outcome:
        asked_at = time.monotonic()
        requirement, folder = self._requirement(adapter_id, options.adapter_scale)
        if not self._admit(requirement, folder, cancelled):
            return Outcome("cancelled", 0, 0)
        try:
            served, tokenizer = self._served(requirement, folder)
            prompt, end = prepare(tokenizer)
            before = prompt[-_DECODED_BEFORE:] if options.continues else ()
            row = Row(
                adapter=requirement.adapter if options.adapter_scale else None,
                scale=options.adapter_scale or 1.0,
                tokenizer=tokenizer,
                prompt=prompt,
                end=end,
                sampling=sampling,
                budget=self._token_budget(served, requirement.adapter, len(prompt), sampling.max_tokens),
                decoder=StreamDecoder(tokenizer, end, stop=options.stop, visible=options.visible_tokens, before=before),
                emit=emit,
                cancelled=cancelled,
                top_logprobs=options.top_logprobs,
                on_logprob=options.on_logprob,
            )
            row.choose = chooser(row, next(served.model.parameters()).device)
            self._decode(served, requirement, row)
            row.done.wait()
            if row.error:
                raise row.error
            now = time.monotonic()
            return Outcome(
                row.finish, len(prompt), row.decoder.count, (row.first_token or now) - asked_at, now - asked_at
            )
        finally:
            self._leave(requirement)

    def compare(
        self, adapter_id: str, asked: list[dict] | str, answer: str, adapter_scale: float = 1.0
    ) -> list[ScoredToken]:
        """The tokens of `answer` with their log-probabilities under the adapter and under the base, each in the same
        context. asked: the conversation up to the answer, or the text that it continues. Raises StudioError where the
        base reads other tokens than a fully fine-tuned model, or the context is too small.
        """
        requirement, folder = self._requirement(adapter_id, adapter_scale)
        self._admit(requirement, folder, lambda: False)
        try:
            served, tokenizer = self._served(requirement, folder)
            text = asked if isinstance(asked, str) else tokenizer.render(asked, add_generation_prompt=True)
            prompt, ids = answer_ids(tokenizer, text, answer, chat=not isinstance(asked, str))
            self._token_budget(served, requirement.adapter, len(prompt) + len(ids) - 1, 1)
            if requirement.full_model and self.tokenizer.encode(answer).ids != tokenizer.encode(answer).ids:
                raise StudioError("This model has other tokens than its base, so their answers cannot be compared.")
            with self._lock:
                served.activate(requirement.adapter if adapter_scale else None, adapter_scale or 1.0)
                own = logprobs_of(served, prompt, ids)
                self.base.activate(None)
                plain = logprobs_of(self.base, prompt, ids)
            texts = token_texts(tokenizer, ids)
            return [ScoredToken(*entry) for entry in zip(texts, own, plain, strict=True)]
        finally:
            self._leave(requirement)

    def _served(self, requirement: Requirement, folder: Path | None) -> tuple[MultiAdapterModel, ChatTokenizer]:
        """The model that answers, once it is admitted, and its tokenizer."""
        if requirement.full_model:
            return self._full_model[1], self._full_model[2]
        return self.base, self.tokenizer.for_adapter(folder)

    def _leave(self, requirement: Requirement) -> None:
        with self._changed:
            self._running.remove(requirement)
            self._changed.notify_all()

    # ---- which requests can share the model ---------------------------------------------------------------------

    def _requirement(self, adapter_id: str | None, scale: float = 1.0) -> tuple[Requirement, Path | None]:
        if adapter_id is None:
            if scale != 1:
                raise StudioError("The base model has no adapter whose strength could be set; leave adapter_scale out.")
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
        if scale != 1 and (refusal := scale_refusal(folder, card)):
            raise StudioError(
                "The strength of '{name}' cannot be set: {reason}", name=card.get("name") or adapter_id, reason=refusal
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
            if self._must_load(requirement):
                with self._lock:
                    self._load_required(requirement, folder)
            elif requirement.adapter:
                self.base.load(requirement.adapter, folder, requirement.kind, set())  # notes that it is used
            with self._changed:
                self._running.append(requirement)
        return True

    def _state_for(self, requirement: Requirement) -> tuple[tuple[str, str] | None, str | None]:
        """(injected group, full model) that `requirement` needs, with as few changes to what is loaded as possible."""
        full_model = requirement.full_model or (self._full_model[0] if self._full_model else None)
        if requirement.group:
            return requirement.group, full_model
        return self.base.injected if self.base.is_clean or requirement.full_model else None, full_model

    def _must_load(self, requirement: Requirement) -> bool:
        if requirement.full_model:
            return self._full_model is None or self._full_model[0] != requirement.full_model
        return not self.base.is_loaded(requirement.adapter) or not (
            self.base.is_clean or self.base.injected == requirement.group
        )

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

    # ---- answers that are decoded together ----------------------------------------------------------------------

    def _decode(self, served: MultiAdapterModel, requirement: Requirement, row: Row) -> None:
        """Let `row` join a batch in progress, or begin one.

        A batch holds rows of one adapter, or of all that can be mixed. Virtual tokens stand before the padding, and a
        recurrent state has none, so such rows are decoded alone.
        """
        alone = bool(requirement.kind and requirement.kind.prompt) or getattr(served.model, "_is_stateful", False)
        mixed = row.adapter is None or served.can_mix(row.adapter)
        key = (served, "mixed" if mixed else (row.adapter, row.scale))
        with self._runners_guard:
            if not alone and any(runner.join(row) for runner in self._runners.get(key, [])):
                return
            runner = Runner(row, merges=not alone)
            self._runners.setdefault(key, []).append(runner)
        threading.Thread(target=self._run, args=(served, key, runner), name="decode", daemon=True).start()

    def _run(self, served: MultiAdapterModel, key: Hashable, runner: Runner) -> None:
        """Decode the rows of `runner` until all have ended."""
        try:
            with self._lock:
                while rows := runner.next_rows():
                    batch = [(row.adapter, row.scale) for row in rows]
                    served.activate_rows(batch)
                    between = partial(self._yield_model, served, batch)
                    decode_rows(served.model, rows, between, runner.has_waiting)
        except Exception as error:  # every request of the batch reports it
            runner.fail(error)
        finally:
            with self._runners_guard:
                self._runners[key].remove(runner)
                if not self._runners[key]:
                    del self._runners[key]

    def _yield_model(self, served: MultiAdapterModel, batch: list[tuple[str | None, float]]) -> None:
        """Let other batches compute a token, if any waits."""
        if self._lock.has_waiters():
            self._lock.release()
            self._lock.acquire()
            served.activate_rows(batch)

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


def server_stopped() -> Sentence:
    """The error for a request whose answer was cut off because the server shuts down."""
    return Sentence("The chat was stopped before the answer was complete. Ask again to restart it.")
