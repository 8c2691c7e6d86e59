"""The rules of the diagnosis, as data: when a rule applies, what it says, and which changes of the recipe mend it.

A condition gets the evidence and returns the values of its sentence, or None. The rules about failures come first: a
run that failed for a known reason needs no other. Of those about curves, the first that applies counts. Thresholds were
set on recorded runs (`tests/diagnosis/record.py`), so that healthy ones raise none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from studio.diagnosis.curves import trend, value_near
from studio.diagnosis.evidence import Evidence, Finding, Remedy
from studio.hardware import gigabytes
from studio.methods import METHODS
from studio.models.resolve import STARTERS
from studio.words import Sentence

_DEVICE_LOST = ("CUDA error", "CUDA driver error", "device-side assert", "GPU is lost", "fallen off the bus")
_FULL = 0.92  # share of the device's memory in use from which a killed worker counts as out of memory
_RISE = 1.25  # loss, relative to its start or its lowest value, from which it counts as risen
_FAR = 25  # learning rate, relative to the method's default, above which it counts as far too high
_STILL = 0.02  # differences along the loss, relative to its start, below which nothing moved
_TINY = 0.01  # learning rate, relative to the method's default, below which it cannot move anything
_SLOW = 0.12  # relative fall of the loss below which a low learning rate is suspected
_LOW_RATE = 0.2  # learning rate, relative to the method's default, below which it counts as low
_OVERFIT = 1.03  # last validation loss, relative to the lowest
_FLAT = 0.04  # share of the fall of the loss in the middle half of the run, below which it is flat


@dataclass(frozen=True)
class Rule:
    """See the module's docstring. remedies: (evidence, values) → lists of changes, the best first."""

    id: str
    applies: Callable[[Evidence], dict | None]
    sentence: str
    changes: Callable[[Evidence, dict], list[dict]]
    failure: bool = False


# ---- conditions on failures ------------------------------------------------------------------------------------


def _failed_with(*fragments: str) -> Callable[[Evidence], dict | None]:
    """A condition: the reason of the failure contains one of the fragments; its values are those of the reason."""

    def applies(evidence: Evidence) -> dict | None:
        if evidence.state != "failed" or evidence.reason is None:
            return None
        shown = f"{evidence.reason.text} {evidence.reason.values.get('error', '')}"
        return dict(evidence.reason.values) if any(fragment in shown for fragment in fragments) else None

    return applies


def _out_of_memory(evidence: Evidence) -> dict | None:
    if not evidence.memory or _failed_with("Not enough memory")(evidence) is None:
        return None
    return {
        "needed": gigabytes(evidence.memory["needed"]),
        "free": gigabytes(evidence.memory["free"]),
        "size": evidence.memory["batch_size"],
    }


def _killed_without_memory(evidence: Evidence) -> dict | None:
    if _failed_with("was killed by signal")(evidence) is None or not evidence.memory_total:
        return None
    used = evidence.values("memory_device")[-1:] or [0]
    share = used[0] / evidence.memory_total
    return {"used": gigabytes(used[0]), "total": gigabytes(evidence.memory_total)} if share >= _FULL else None


# ---- conditions on curves --------------------------------------------------------------------------------------


def _exploded(evidence: Evidence) -> dict | None:
    losses = evidence.values("loss")
    broken = next((step for step, loss in evidence.curves.get("loss", []) if not math.isfinite(loss)), None)
    if broken is not None:
        return {"step": f"{broken:,.0f}"}
    found = trend(losses)
    return {"step": f"{evidence.curves['loss'][-1][0]:,.0f}"} if found and found.end > 2 * found.start > 0 else None


def _rate_too_high(evidence: Evidence) -> dict | None:
    losses = evidence.values("loss")
    found = trend(losses)
    if found is None or found.start <= 0 or _underway(evidence):
        return None
    rate, usual = evidence.recipe.training.learning_rate, METHODS[evidence.recipe.method.name].learning_rate
    rose = found.highest > _RISE * found.start and found.end > 0.95 * found.start
    turned = found.end > _RISE * found.lowest and found.quarters[3] > _RISE * min(found.quarters)
    # Far above what is usual, the first steps break the model, and it learns a part of that back.
    broke = rate > _FAR * usual and max(losses[: len(losses) // 2]) > _RISE * found.start and found.drop < 0.5
    return {"rate": f"{rate:.1e}"} if broke or ((rose or turned) and _validation_agrees(evidence)) else None


def _validation_agrees(evidence: Evidence) -> bool:
    """Whether the validation loss, far less noisy than that of small batches, has risen as well, or is not known."""
    seen = evidence.values("eval_loss")
    return len(seen) < 2 or seen[-1] >= 0.97 * seen[0] or seen[-1] > _RISE * min(seen)


def _overfits(evidence: Evidence) -> dict | None:
    curve = [point for point in evidence.curves.get("eval_loss", []) if math.isfinite(point[1])]
    if len(curve) < 3:
        return None
    step, lowest = min(curve, key=lambda point: point[1])
    last_step, last = curve[-1]
    losses = evidence.curves.get("loss", [])
    before, after = value_near(losses, step), value_near(losses, last_step)
    if last <= _OVERFIT * lowest or before is None or after >= 0.97 * before:
        return None
    return {"step": f"{step:,.0f}", "lowest": f"{lowest:.3g}", "last": f"{last:.3g}", "_step": step}


def _nothing_moved(evidence: Evidence) -> dict | None:
    found = trend(evidence.values("loss"))
    if found is None or _underway(evidence):
        return None
    rate, usual = evidence.recipe.training.learning_rate, METHODS[evidence.recipe.method.name].learning_rate
    flat = max(found.quarters) - min(found.quarters) < _STILL * abs(found.start)
    tiny = rate < _TINY * usual and abs(found.drop) < _SLOW  # a fall within the noise of small batches
    return {"start": f"{found.start:.3g}"} if flat or tiny else None


def _rate_too_low(evidence: Evidence) -> dict | None:
    found = trend(evidence.values("loss"))
    if found is None or _underway(evidence) or not abs(found.drop) < _SLOW:
        return None
    rate, usual = evidence.recipe.training.learning_rate, METHODS[evidence.recipe.method.name].learning_rate
    if rate > _LOW_RATE * usual:
        return None
    return {"share": f"{max(0.0, found.drop):.0%}", "rate": f"{rate:.1e}", "usual": f"{usual:.1e}"}


def _plateau(evidence: Evidence) -> dict | None:
    losses = evidence.values("loss")
    found = trend(losses)
    if found is None or _underway(evidence) or found.drop < _SLOW or found.end < 0.4 * found.start:
        return None
    middle = trend(losses[len(losses) // 4 : 3 * len(losses) // 4])
    fell = found.start - found.end
    if middle is None or middle.start - middle.end > _FLAT * fell or found.quarters[1] - found.end > 2 * _FLAT * fell:
        return None
    return {"loss": f"{found.end:.3g}"}


def _underway(evidence: Evidence) -> bool:
    """Whether the run is still in its first half, too early for a verdict on its progress."""
    last = evidence.curves["loss"][-1][0] if evidence.curves.get("loss") else 0
    return evidence.state == "running" and last < evidence.steps / 2


# ---- remedies --------------------------------------------------------------------------------------------------


def _smaller_batch(evidence: Evidence, values: dict) -> list[dict]:
    training, machine = evidence.recipe.training, evidence.recipe.machine
    size = evidence.memory.get("batch_size") or max(1, training.batch_size // 2)
    batch = (
        {"training.batch_size": size, "training.gradient_accumulation_steps": -(-training.effective_batch // size)}
        if size < training.batch_size
        else {}
    )
    can_recompute = not machine.gradient_checkpointing and not evidence.recipe.method.unsupported_reason(
        "gradient_checkpointing"
    )
    recompute = {"machine.gradient_checkpointing": True} if can_recompute else {}
    if evidence.memory.get("checkpointing"):
        return [changes for changes in ({**batch, **recompute}, recompute) if changes]
    shorter = {"training.max_length": max(8, training.max_length // 2)}
    return [changes for changes in (batch, recompute, shorter) if changes][:2]


def _lower_rate(divisor: float) -> Callable[[Evidence, dict], list[dict]]:
    def changes(evidence: Evidence, values: dict) -> list[dict]:
        training = evidence.recipe.training
        usual = METHODS[evidence.recipe.method.name].learning_rate
        rate = _rounded(min(training.learning_rate / divisor, usual if training.learning_rate > 2 * usual else 10.0))
        warm = {"training.warmup_ratio": 0.1} if training.warmup_ratio < 0.1 else {}
        clip = {"training.max_grad_norm": 1.0} if not training.max_grad_norm else {}
        return [{"training.learning_rate": rate, **warm, **clip}]

    return changes


def _higher_rate(evidence: Evidence, values: dict) -> list[dict]:
    rate, usual = evidence.recipe.training.learning_rate, METHODS[evidence.recipe.method.name].learning_rate
    return [{"training.learning_rate": usual if rate < usual else min(10.0, _rounded(rate * 10))}]


def _end_at_the_best(evidence: Evidence, values: dict) -> list[dict]:
    training = evidence.recipe.training
    keep = {} if training.load_best_model_at_end else {"training.load_best_model_at_end": True}
    patience = {"training.early_stopping_patience": 2} if training.early_stopping_patience is None else {}
    share = values["_step"] / (evidence.steps or values["_step"])
    shorter = (
        {"training.max_steps": max(1, round(values["_step"]))}
        if training.max_steps
        else {"training.epochs": max(0.1, round(training.epochs * share, 1))}
    )
    return [changes for changes in ({**keep, **patience}, shorter) if changes]


def _more_capacity(evidence: Evidence, values: dict) -> list[dict]:
    rank = getattr(evidence.recipe.method, "rank", None)
    wider = [{"method.rank": 2 * rank}] if isinstance(rank, int) else []
    return [*wider, {"training.learning_rate": _rounded(2 * evidence.recipe.training.learning_rate)}]


def _longer_rows(evidence: Evidence, values: dict) -> list[dict]:
    return [{"training.max_length": min(1_048_576, 4 * evidence.recipe.training.max_length)}]


def _fewer_checkpoints(evidence: Evidence, values: dict) -> list[dict]:
    wanted = {"training.save_total_limit": 1, "training.keep_best_checkpoint": False}
    return [wanted] if evidence.recipe.training.save_total_limit > 1 else []


def _starter(evidence: Evidence, values: dict) -> list[dict]:
    return [{"model.name": STARTERS[evidence.recipe.task.modality], "model.revision": None}]


def _any_device(evidence: Evidence, values: dict) -> list[dict]:
    other = "auto" if evidence.recipe.machine.device != "auto" else "cpu"
    return [{"machine.device": other}]


def _rounded(rate: float) -> float:
    """The learning rate with two significant digits."""
    return float(f"{rate:.1e}")


RULES = (
    Rule(
        "out_of_memory",
        _out_of_memory,
        "Memory ran out: the run needed {needed} GB or more, and {free} GB were there. A batch of {size} fits.",
        _smaller_batch,
        failure=True,
    ),
    Rule(
        "killed_without_memory",
        _killed_without_memory,
        "The worker was killed when {used} of {total} GB of memory were in use, so the system most likely ended it "
        "because memory ran out.",
        _smaller_batch,
        failure=True,
    ),
    Rule(
        "not_finite",
        _failed_with("The loss became {loss}"),
        "The loss was no number any more at step {step}: the steps were so large that the model broke. "
        "A lower learning rate and a warm-up prevent that.",
        _lower_rate(10),
        failure=True,
    ),
    Rule(
        "nothing_labelled",
        _failed_with("token to learn"),
        "No token to learn was left: rows are cut before their answers begin. Longer rows keep them.",
        _longer_rows,
        failure=True,
    ),
    Rule(
        "disk_full",
        _failed_with("The disk is full"),
        "The disk was full. Free some space and press Resume, or keep fewer checkpoints.",
        _fewer_checkpoints,
        failure=True,
    ),
    Rule(
        "model_missing",
        _failed_with("There is no model folder", "is not on this machine yet"),
        "The base model '{name}' was not found. Put it back or download it on the Method tab, then press Resume; "
        "or use the starter model.",
        _starter,
        failure=True,
    ),
    Rule(
        "device_lost",
        _failed_with("There is no device", "This machine has no GPU", "cannot be used. {reason}", *_DEVICE_LOST),
        "The device of this run failed or is gone. Press Resume once it is back, or start again on another one.",
        _any_device,
        failure=True,
    ),
    Rule(
        "exploded",
        _exploded,
        "The loss exploded (step {step}): each step makes the model worse. "
        "A lower learning rate and a warm-up prevent that.",
        _lower_rate(10),
    ),
    Rule(
        "learning_rate_too_high",
        _rate_too_high,
        "The loss rose where it should have fallen: a learning rate of {rate} is too high for this model and method.",
        _lower_rate(5),
    ),
    Rule(
        "overfitting",
        _overfits,
        "The model learns the examples by heart: the validation loss was lowest at step {step} ({lowest}) "
        "and rose to {last}, while the training loss went on falling.",
        _end_at_the_best,
    ),
    Rule(
        "nothing_moved",
        _nothing_moved,
        "Nothing moved: the loss is where it began ({start}). The learning rate is too low to change anything.",
        _higher_rate,
    ),
    Rule(
        "learning_rate_too_low",
        _rate_too_low,
        "The loss fell by {share} only: a learning rate of {rate} is too low; {usual} is usual for this method.",
        _higher_rate,
    ),
    Rule(
        "plateau",
        _plateau,
        "The loss stopped falling early, at {loss}, with most of the run still ahead. "
        "More capacity or a higher learning rate may get it further.",
        _more_capacity,
    ),
)


def diagnose(evidence: Evidence) -> list[Finding]:
    """What the rules find: the failure if it is a known one, else the first finding about the curves, else []."""
    for failure, known in ((True, evidence), (False, evidence.recovered())):
        for rule in RULES:
            if rule.failure == failure and (values := rule.applies(known)) is not None:
                shown = {key: value for key, value in values.items() if not key.startswith("_")}
                remedies = [Remedy(describe(known, changes), changes) for changes in rule.changes(known, values)]
                return [Finding(rule.id, Sentence(rule.sentence, **shown), remedies)]
    return []


def describe(evidence: Evidence, changes: dict) -> Sentence:
    """The changes in words: "Learning rate: 0.0001, Warm-up: 0.1"."""
    parts = []
    for key, value in changes.items():
        part, _, name = key.partition(".")
        info = type(getattr(evidence.recipe, part)).model_fields[name]
        shown = Sentence("on") if value is True else Sentence("off") if value is False else _plain(value)
        if value is not None:
            parts.append(Sentence("{title}: {value}", title=Sentence(info.title or name), value=shown))
    whole = parts[0]
    for part in parts[1:]:
        whole = Sentence("{first}, {second}", first=whole, second=part)
    return whole


def _plain(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
