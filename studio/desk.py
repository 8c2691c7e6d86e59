"""The desk: the recipe that is being prepared, and what can be known of it before a run.

The draft lies in the store, so a refresh, a second window or a killed one finds it again; it may hold values that are wrong,
just as they were typed, until `recipe()` judges them. `outlook()` reads the data, counts tokens with the very `encode`
that training uses, and forecasts. The desk knows nothing about how a page looks, and imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from studio import hardware
from studio.data.dataset import Dataset, load
from studio.forecast import Forecast, forecast
from studio.home import Home
from studio.jobs import client
from studio.methods import METHODS
from studio.models.codec import Codec
from studio.models.resolve import local_folder
from studio.models.shape import Shape, read_shape
from studio.presets import apply, presets
from studio.recipe import Recipe, recipe_from
from studio.store import Store
from studio.words import Sentence, StudioError

_KEPT_DATASETS = 4


@dataclass
class Outlook:
    """What is known of a draft. Whatever could not be found out is None, with the reason in `problems` by part."""

    recipe: Recipe | None
    dataset: Dataset | None
    lengths: list[int] | None
    shape: Shape | None
    forecast: Forecast | None
    problems: dict[str, Sentence]


class Desk:
    """One home's draft. All methods may be called from any thread."""

    def __init__(self, home: Home, store: Store):
        self.home, self.store = home, store
        self._datasets: OrderedDict[str, Dataset] = OrderedDict()
        self._lengths: OrderedDict[str, list[int]] = OrderedDict()
        self._lock = threading.Lock()

    # ---- the draft --------------------------------------------------------------------------------------------

    def draft(self) -> dict:
        """The recipe as far as it is prepared, every part present, values as they were typed; at first the first example."""
        kept = self.store.note("draft") or apply(presets("sample")[0], Recipe().to_dict())
        try:
            return recipe_from(kept).to_dict()
        except StudioError:
            return {**Recipe().to_dict(), **kept}

    def change(self, **parts) -> dict:
        """Replace parts of the draft (model, data, task, method, training, machine, name). Returns the new draft."""
        with self._lock:
            draft = {**self.draft(), **parts}
            self.store.set_note("draft", draft)
        return draft

    def choose_method(self, name: str) -> dict:
        """Another method with its defaults, and the learning rate that suits it unless the person had set another."""
        draft = self.draft()
        before = METHODS.get(draft["method"].get("name"))
        training = dict(draft["training"])
        if before and training.get("learning_rate") == before.learning_rate:
            training["learning_rate"] = METHODS[name].learning_rate
        return self.change(method=METHODS[name]().model_dump(mode="json"), training=training)

    def recipe(self) -> Recipe:
        """The draft as a recipe; `StudioError` names what is wrong."""
        return recipe_from(self.draft(), "recipe")

    # ---- data -------------------------------------------------------------------------------------------------

    def take_in(self, path: str | Path, name: str | None = None) -> Path:
        """Copy a file that the person gave into the studio's uploads, under its own name as far as that is safe."""
        source = Path(path)
        stem = re.sub(r"[^\w.\- ]+", "_", Path(name or source.name).name).strip("._ ") or "upload"
        with open(source, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:8]
        folder = self.home.uploads / digest
        folder.mkdir(exist_ok=True)
        target = folder / stem[-100:]
        if not target.exists():
            part = folder / ".part"
            shutil.copyfile(source, part)
            part.replace(target)
        return target

    def give_back(self, path: Path) -> None:
        """Forget an upload that could not be used."""
        if self.home.uploads in path.parents:
            shutil.rmtree(path.parent, ignore_errors=True)

    def dataset(self, recipe: Recipe) -> Dataset:
        """The recipe's data, read once and kept while the file stays as it is."""
        key = json.dumps([recipe.data.model_dump(mode="json"), recipe.task.wants, _stamp(recipe.data.source)], sort_keys=True)
        return _kept(self._datasets, key, lambda: load(recipe.data, want=recipe.task.wants))

    def lengths(self, recipe: Recipe, dataset: Dataset, folder: Path) -> list[int]:
        """Tokens of each training example as the model will get it, before anything is cut."""
        key = json.dumps([recipe.data.model_dump(mode="json"), recipe.task.model_dump(mode="json"), str(folder), _stamp(recipe.data.source)], sort_keys=True)

        def count() -> list[int]:
            codec = Codec(folder)
            return [
                sum(len(part.ids) + part.cut for part in recipe.task.encode(record.value, codec, 1 << 30)) for record in dataset.train
            ]

        return _kept(self._lengths, key, count)

    # ---- before the run ---------------------------------------------------------------------------------------

    def outlook(self) -> Outlook:
        """All that can be said of the draft now. Never raises for what the person can mend."""
        problems: dict[str, Sentence] = {}
        found = Outlook(None, None, None, None, None, problems)

        def attempt(part: str, action):
            try:
                return action()
            except StudioError as error:
                problems[part] = error.sentence
                return None

        found.recipe = recipe = attempt("recipe", self.recipe)
        if recipe is None:
            return found
        folder = attempt("model", lambda: local_folder(recipe.model.name, recipe.model.revision))
        if folder is None and "model" not in problems:
            problems["model"] = Sentence("The model '{name}' is not on this machine yet; press Download next to it, or choose the starter model.", name=recipe.model.name)
        found.shape = attempt("model", lambda: read_shape(folder)) if folder else None
        refusal = recipe.method.refusal(found.shape, recipe.task.name, recipe.quantisation)
        if refusal:
            problems["method"] = refusal
        if not recipe.data.source:
            problems["data"] = Sentence("No data yet: choose an example or bring a file of your own on the Data tab.")
        else:
            found.dataset = attempt("data", lambda: self.dataset(recipe))
        if found.dataset and found.shape:
            found.lengths = attempt("data", lambda: self.lengths(recipe, found.dataset, folder))
        machine = attempt("machine", lambda: (hardware.pick_device(recipe.machine.device), hardware.machine())[1])
        if found.shape and machine and not refusal:
            rows = len(found.dataset.train) if found.dataset else 0
            found.forecast = forecast(recipe, found.shape, found.lengths, rows, machine, self.store)
        return found

    def start(self) -> str:
        """Queue the draft as a run; returns its id. `StudioError` says what stands in the way."""
        outlook = self.outlook()
        if outlook.problems:
            raise StudioError(next(iter(outlook.problems.values())))
        recipe = outlook.recipe
        name = recipe.name.strip() or f"{outlook.dataset.title} · {recipe.method.summary()}"
        return client.start_run(self.home, self.store, name, recipe.to_dict(), hardware.pick_device(recipe.machine.device))


def _stamp(source: str) -> float:
    path = Path(source).expanduser()
    return path.stat().st_mtime if source and path.exists() else 0.0


def _kept(cache: OrderedDict, key: str, make):
    if key not in cache:
        cache[key] = make()
        while len(cache) > _KEPT_DATASETS:
            cache.popitem(last=False)
    return cache[key]
