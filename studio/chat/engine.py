"""One base model, many adapters, many askers at a time.

Each answer is one `model.generate` in its asker's thread. Only one computes at a time: after each token it gives the turn to
whoever waits, and puts its adapter (and its random numbers) back when its turn comes again, so that the base and its adapters
answer side by side exactly as they would one after the other. What cannot share the model (adapters of two injected
types, two whole models) waits until the other is done. It knows nothing about HTTP or jobs.
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

from studio.chat import answer
from studio.chat.adapted import Adapted, Kind, kind_of
from studio.chat.pieces import Pieces
from studio.chat.sampling import Sampling
from studio.chat.turns import Turn
from studio.data.reasoning import OPEN
from studio.models.codec import Codec
from studio.words import Sentence, StudioError

warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")


@dataclass(frozen=True)
class Outcome:
    """How an answer ended: "stop" (by itself), "length" or "cancelled"."""

    finish: str
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True)
class Want:
    """What an answer needs: the base (all fields empty), an adapter of some `kind`, or the whole model `whole`."""

    adapter: str | None = None
    kind: Kind | None = None
    whole: str | None = None

    @property
    def group(self) -> tuple[str, str] | None:
        """The group whose layers must be in the base while this answers; None if it only needs the base to be clean."""
        return self.kind.group if self.kind and not self.kind.prompt else None

    def fits(self, group: tuple[str, str] | None, whole: str | None) -> bool:
        """Whether this can answer while the base has the layers of `group` and `whole` is the other model in memory."""
        if self.whole:
            return self.whole == whole
        return self.group == group if self.group else group is None or not group[1]


class Engine:
    """Answers with `model` (loaded, in eval mode) and the adapters that `find` knows.

    name: the base's name as in a recipe. find(adapter id) → (folder, card), or `StudioError`. load_whole(folder) → the model in
    a folder, for adapters that are whole models.
    """

    def __init__(
        self,
        model,
        codec: Codec,
        *,
        name: str,
        find: Callable[[str], tuple[Path, dict]],
        load_whole: Callable[[Path], torch.nn.Module],
    ):
        self.base, self.codec, self.name = Adapted(model), codec, name
        self._find, self._load_whole = find, load_whole
        self._turn, self._door = Turn(), Turn()
        self._changed = threading.Condition()
        self._running: list[Want] = []
        self._whole: tuple[str, Adapted, Codec] | None = None

    def chat(
        self,
        who: str | None,
        messages: list[dict],
        sampling: Sampling,
        emit: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Outcome:
        """Answer the conversation as adapter `who` (None: the base). `emit` gets the text in pieces, in this thread."""

        def prepare(codec: Codec) -> tuple[list[int], answer.End]:
            prompt = codec.render(messages, for_answer=True)
            if prompt.rstrip().endswith(OPEN):  # the template opens the reasoning, which the model then only closes
                emit(f"{OPEN}\n")
            return codec.encode(prompt).ids, answer.chat_end(codec)

        return self._answer(who, prepare, sampling, emit, cancelled)

    def complete(
        self, who: str | None, text: str, sampling: Sampling, emit: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        """Continue `text`, likewise."""
        return self._answer(
            who, lambda codec: (answer.text_ids(codec, text), answer.text_end(codec)), sampling, emit, cancelled
        )

    def _answer(
        self, who, prepare: Callable[[Codec], tuple[list[int], answer.End]], sampling, emit, cancelled
    ) -> Outcome:
        want, folder = self._want(who)
        if not self._enter(want, folder, cancelled):
            return Outcome("cancelled", 0, 0)
        try:
            unit, codec = (
                (self._whole[1], self._whole[2]) if want.whole else (self.base, self.codec.for_adapter(folder))
            )
            prompt, end = prepare(codec)
            with self._turn:
                unit.activate(want.adapter)
                return self._generate(unit, codec, want.adapter, prompt, end, sampling, emit, cancelled)
        finally:
            with self._changed:
                self._running.remove(want)
                self._changed.notify_all()

    # ---- who may be in the model at the same time ---------------------------------------------------------------

    def _want(self, who: str | None) -> tuple[Want, Path | None]:
        if who is None:
            return Want(), None
        folder, card = self._find(who)
        if card.get("base") != self.name:
            raise StudioError(
                "The adapter '{name}' belongs to the base model {base}, but {loaded} is loaded; choose an adapter of this base.",
                name=who,
                base=card.get("base"),
                loaded=self.name,
            )
        if card.get("kind") == "model":
            return Want(whole=who), folder
        return Want(adapter=who, kind=kind_of(who, folder)), folder

    def _enter(self, want: Want, folder: Path | None, cancelled: Callable[[], bool]) -> bool:
        """Wait until the model can serve `want`, in order of arrival, then make it so. False if it was cancelled meanwhile."""
        with self._door:
            group, whole = self._state_for(want)
            with self._changed:
                while not all(other.fits(group, whole) for other in self._running):
                    if cancelled():
                        return False
                    self._changed.wait(0.1)
            with self._turn:
                self._bring(want, folder)
            with self._changed:
                self._running.append(want)
        return True

    def _state_for(self, want: Want) -> tuple[tuple[str, str] | None, str | None]:
        """The injected group and the whole model that there must be for `want`, changing as little as possible."""
        whole = want.whole or (self._whole[0] if self._whole else None)
        if want.group:
            return want.group, whole
        return self.base.injected if self.base.clean or want.whole else None, whole

    def _bring(self, want: Want, folder: Path | None) -> None:
        if want.whole:
            if self._whole is None or self._whole[0] != want.whole:
                self._whole = None  # the old one's memory comes back before the new one is loaded
                self._whole = (want.whole, Adapted(self._load_whole(folder)), Codec(folder))
            return
        if not self.base.clean and self.base.injected != want.group:
            self.base.unload()
        if want.adapter:
            keep = {other.adapter for other in self._running if other.adapter}
            self.base.load(want.adapter, folder, want.kind, keep)

    # ---- one answer -----------------------------------------------------------------------------------------------

    def _generate(
        self,
        unit: Adapted,
        codec: Codec,
        who: str | None,
        prompt: list[int],
        end: answer.End,
        sampling: Sampling,
        emit,
        cancelled,
    ) -> Outcome:
        room = self._room(unit, who, len(prompt), sampling.max_tokens)
        device = next(unit.model.parameters()).device
        if sampling.temperature:
            torch.manual_seed(secrets.randbits(31) if sampling.seed is None else sampling.seed)
        steps = _Steps(
            self._turn,
            lambda: unit.activate(who),
            Pieces(codec, end),
            emit,
            cancelled,
            device if sampling.temperature else None,
        )
        ids = torch.tensor([prompt], device=device)
        unit.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=_settings(codec, end, sampling, room),
            stopping_criteria=[steps],
        )
        emit(steps.pieces.rest())
        finish = "cancelled" if steps.was_cancelled else "stop" if steps.pieces.ended else "length"
        return Outcome(finish, len(prompt), steps.pieces.count)

    def _room(self, unit: Adapted, who: str | None, tokens: int, wanted: int) -> int:
        """How many tokens the answer may have."""
        if not tokens:
            raise StudioError("There is nothing to answer; write a message first.")
        context = answer.context_of(unit.model)
        if context is None:
            return wanted
        context -= unit.virtual_tokens(who)
        if tokens >= context:
            raise StudioError(
                "The conversation is {tokens} tokens long, but the model holds {context}; start a new chat, or write less.",
                tokens=tokens,
                context=context,
            )
        return min(wanted, context - tokens)


def _settings(codec: Codec, end: answer.End, sampling: Sampling, room: int) -> GenerationConfig:
    """`sampling` as generate's settings; at temperature 0 those of the evaluation."""
    made = answer.greedy(codec, end, room)
    made.repetition_penalty = sampling.repetition_penalty
    if sampling.temperature:
        made.do_sample, made.temperature, made.top_p, made.top_k = (
            True,
            sampling.temperature,
            sampling.top_p,
            sampling.top_k,
        )
    return made


class _Steps(StoppingCriteria):
    """Called by generate after each token: hands the text out, looks whether to stop, and gives the turn to who waits.

    random: the device whose random state belongs to this answer, None for greedy answers.
    """

    def __init__(
        self, turn: Turn, activate: Callable[[], None], pieces: Pieces, emit, cancelled, random: torch.device | None
    ):
        self.turn, self.activate, self.pieces, self.emit, self.cancelled, self.random = (
            turn,
            activate,
            pieces,
            emit,
            cancelled,
            random,
        )
        self.was_cancelled = False

    def __call__(self, input_ids, scores, **kwargs):
        piece = self.pieces.add(int(input_ids[0, -1]))
        if piece:
            self.emit(piece)
        self.was_cancelled = not self.pieces.ended and bool(self.cancelled())
        if not self.pieces.ended and not self.was_cancelled and self.turn.wanted():
            state = _random_state(self.random)
            self.turn.give()
            self.turn.take()
            self.activate()
            _set_random_state(self.random, state)
        return torch.tensor([self.pieces.ended or self.was_cancelled], device=input_ids.device)


def _random_state(device: torch.device | None) -> torch.Tensor | None:
    if device is None:
        return None
    return torch.get_rng_state() if device.type == "cpu" else torch.cuda.get_rng_state(device)


def _set_random_state(device: torch.device | None, state: torch.Tensor | None) -> None:
    if device is not None:
        torch.set_rng_state(state) if device.type == "cpu" else torch.cuda.set_rng_state(state, device)


def stopped() -> Sentence:
    """What an asker is told whose answer was cut off because the server leaves."""
    return Sentence("The chat was stopped before the answer was complete. Ask again to start it anew.")
