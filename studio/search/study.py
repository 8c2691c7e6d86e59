"""The engine of a search, on Optuna: it proposes the values of the next try and decides which try is stopped early.

Optuna's words stay in this module: its trial is our try, its study our search, its pruner the rule by which weak tries
stop. It knows nothing of runs, recipes and data, so that something other than a hyperparameter search can use it. All
of its state is in one SQLite file, written before a function returns. Only what drives a search opens one.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.search.space import Parameter

_REDUCTION = 2  # of the tries that reach a look, the better 1/_REDUCTION go on
_MOST_REJECTED = 50  # proposals in a row that are refused or known already
_NOT_RANDOM = 4  # least number of tries before the sampler learns from them; the first ones are random
RUN, STOPPED_EARLY, ENDING = "run", "stopped_early", "ending"


@dataclass(frozen=True)
class Try:
    """One try: its number, and the values of its parameters by name."""

    number: int
    values: dict[str, Any]


class Study:
    """The record of all tries of a search. Several processes may open it; only one of them at a time may change it.

    file: SQLite file, made where there is none. lower_is_better: of the metric. looks: evaluations of a whole try.
    pruning: "halving", "hyperband" or "none". tries: expected number of tries.
    """

    def __init__(
        self,
        file: Path,
        parameters: list[Parameter],
        *,
        lower_is_better: bool,
        looks: int,
        pruning: str,
        tries: int,
        seed: int,
    ):
        import optuna

        optuna.logging.set_verbosity(logging.ERROR)
        self.parameters, self.looks, self.seed = parameters, looks, seed
        self._random = min(10, max(_NOT_RANDOM, tries // 3))
        pruner = {
            "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_REDUCTION),
            "hyperband": lambda: optuna.pruners.HyperbandPruner(
                min_resource=1, max_resource=looks, reduction_factor=_REDUCTION
            ),
            "none": optuna.pruners.NopPruner,
        }[pruning]()
        self._study = optuna.create_study(
            storage=optuna.storages.RDBStorage(f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": 30}}),
            study_name="search",
            direction="minimize" if lower_is_better else "maximize",
            pruner=pruner,
            load_if_exists=True,
        )

    def begin_with(self, values: dict[str, Any]) -> None:
        """Make these values the first try, if there is none yet."""
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial(values)

    def propose(self, accept: Callable[[Try], bool]) -> Try | None:
        """Begin the next try, whose values `accept` takes; None if it refuses every proposal.

        A try that was begun, but that no run was made of because the process was killed, must be ended or taken up with
        `open_tries` first.
        """
        import optuna

        for _ in range(_MOST_REJECTED):
            # A sampler anew for each try, with a seed of its own: after a restart it goes on, and does not start over.
            number = len(self._study.get_trials(deepcopy=False))
            self._study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=self._random, seed=self.seed * 100_003 + number
            )
            found = self._complete(self._study.ask())
            if accept(found):
                return found
            self.abandon(found.number)
        return None

    def open_tries(self) -> list[Try]:
        """The tries that have begun and not ended, oldest first."""
        import optuna

        found = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        return [self._complete(self._trial(trial.number)) for trial in found]

    def _complete(self, trial) -> Try:
        """The try with a value for every parameter; those that it has already stay as they are."""
        values = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an integer range whose end is not reached by its steps
            for parameter in self.parameters:
                name = parameter.name
                if parameter.choices:
                    value = trial.suggest_categorical(name, list(parameter.choices))
                elif parameter.whole:
                    value = trial.suggest_int(name, int(parameter.low), int(parameter.high), log=parameter.log)
                else:
                    value = trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
                values[name] = parameter.rounded(value)
        return Try(trial.number, values)

    def _trial(self, number: int):
        import optuna

        return optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)

    def look(self, number: int, values: list[float]) -> bool:
        """Record the values of a try's evaluations so far, oldest first; True if it is to be stopped now.

        The last evaluation stops nothing: the try is about to end.
        """
        trial = self._trial(number)
        frozen = self._study.get_trials(deepcopy=False)[number]
        if frozen.user_attrs.get(ENDING) == STOPPED_EARLY:
            return True
        for step, value in enumerate(values[: self.looks - 1], 1):
            if step in frozen.intermediate_values:
                continue
            trial.report(value, step)
            if trial.should_prune():
                trial.set_user_attr(ENDING, STOPPED_EARLY)  # before anything is done about it: a kill forgets nothing
                return True
        return False

    def was_stopped(self, number: int) -> bool:
        """Whether the try was to be stopped early."""
        return self._study.get_trials(deepcopy=False)[number].user_attrs.get(ENDING) == STOPPED_EARLY

    def finish(self, number: int, value: float) -> None:
        """End a try with its result."""
        self._study.tell(number, value, skip_if_finished=True)

    def give_up(self, number: int) -> None:
        """End a try that was stopped early or whose run broke; the sampler counts it among the bad ones."""
        import optuna

        self._study.tell(number, state=optuna.trial.TrialState.PRUNED, skip_if_finished=True)

    def abandon(self, number: int) -> None:
        """End a try that says nothing about its values; the sampler does not count it."""
        import optuna

        self._study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
