"""The draft: the recipe that is being prepared, changed piece by piece, judged by `outlook()`, queued by `start()`.

It lies in the store, so a refresh, a second window or a killed one finds it again; it may hold values that are wrong,
just as they were typed; `outlook()` says so.

What the person gives is looked at first and kept after that, so that a refused file leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path

from studio import hardware
from studio.data.dataset import DataSpec, OtherFile
from studio.data.mapping import Mapping, check_mapping, fits
from studio.data.read import fingerprint, open_source
from studio.data.resolve import resolve, stamp
from studio.data.shape import propose, separator_of
from studio.data.similar_columns import lost_rows
from studio.data.source import Source
from studio.desk.outlook import Outlook, look
from studio.desk.readings import Readings
from studio.home import Home
from studio.jobs import client
from studio.methods import METHODS
from studio.models.resolve import STARTERS, local_folder
from studio.models.shape import read_shape
from studio.presets import apply, presets
from studio.recipe import Recipe, recipe_from
from studio.store import Store
from studio.tasks import TASKS, Task
from studio.uploads import import_file
from studio.words import StudioError

_KEPT_MAPPINGS = 200
_FRESH = 2.0  # seconds that an outlook holds for the rest: free memory, speeds that a run has noted


def files_of(draft: dict) -> list[dict]:
    """The draft's files with what was chosen for each: the first one, those that are mixed in, and the validation one, which has no weight."""
    data = draft["data"]
    held = [{"source": data["validation"], "mapping": data.get("validation_mapping")}] if data.get("validation") else []
    return [data, *data.get("more", []), *held]


class Desk:
    """One home's draft. All methods may be called from any thread."""

    def __init__(self, home: Home, store: Store):
        self.home, self.store = home, store
        self.readings = Readings()
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._seen: tuple[str, float, Outlook] | None = None

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

    # ---- data -------------------------------------------------------------------------------------------------

    def use(self, source: str) -> None:
        """Make `source` (an example, a path, a hub id) the draft's data if it can be read; the task follows what it is."""
        self._choose(source, _look_at(source))

    def use_upload(self, path: str | Path, name: str | None = None) -> Path:
        """Like `use`, for a file that is somebody else's to delete: a copy is kept, but only of what can be read."""
        opened = _look_at(str(path))
        kept = self.import_file(path, name)
        self._choose(str(kept), opened)
        return kept

    def _choose(self, source: str, opened: Source) -> None:
        mapping = self._remembered_mapping(source, opened)
        try:
            shown = mapping or propose(opened).mapping
        except StudioError:  # the outlook says so, and the person says which column is what
            shown = None
        parts: dict = {"data": DataSpec(source=source, mapping=mapping).model_dump(mode="json")}
        if self.draft().get("name") in {item.values.get("name") for item in presets("sample")}:
            parts["name"] = ""  # an example's name would be a wrong one here
        task = self._task_for(shown) if shown else None
        if task:
            parts |= {"task": task().model_dump(mode="json"), **self._model_for(task)}
        self.change(**parts)
        if shown:
            self._suit_task(shown, opened)

    def _suit_task(self, mapping: Mapping, opened: Source) -> None:
        """Set the task's options that depend on how the data is mapped, and on what its labels look like."""
        task = self.draft()["task"]
        if cls := TASKS.get(task.get("name")):
            self.change(task={**task, **cls.options_for_mapping(mapping, separator_of(opened, mapping))})

    def _task_for(self, mapping: Mapping) -> type[Task] | None:
        """The task that data under `mapping` is made for, where the present one is another: its own, else the first that it can serve."""
        current = TASKS.get(self.draft()["task"].get("name"))
        made_for = {"label_columns": "label", "label": "label_sets" if mapping.labels else "label"}.get(
            mapping.shape, mapping.shape
        )
        own = next((item for item in TASKS.values() if item.record_kind == made_for), None)
        if own:
            return None if current and current.record_kind == own.record_kind else own
        if current and fits(mapping, current.record_kind):
            return None
        return next((item for item in TASKS.values() if fits(mapping, item.record_kind)), None)

    def choose_task(self, name: str) -> dict:
        """Another task with its defaults; the columns are proposed anew, and the base model changes where it cannot serve it."""
        draft = self.draft()
        self.change(
            task=TASKS[name]().model_dump(mode="json"),
            data={**draft["data"], "mapping": None, "validation_mapping": None},
            **self._model_for(TASKS[name]),
        )
        with contextlib.suppress(StudioError):  # the outlook says what is wrong with the data
            opened = _look_at(draft["data"]["source"])
            self._suit_task(propose(opened, TASKS[name].record_kind).mapping, opened)
        return self.draft()

    def _model_for(self, task: type[Task]) -> dict:
        """{"model": …} where the draft's base model cannot read what `task` is about; else nothing."""
        model = self.draft()["model"]
        try:
            folder = local_folder(model.get("name", ""), model.get("revision"))
            unfit = task.model_refusal(read_shape(folder)) if folder else None
        except StudioError:
            return {}
        return {"model": {"name": STARTERS[task.modality], "revision": None}} if unfit else {}

    def change_mapping(self, mapping: dict | None, file: int = 0) -> dict:
        """Set which column of a file plays which role, None for what is proposed; one that fits is offered again for the same file."""
        before = self._label_column(file)
        self.change_file(file, mapping=mapping)
        draft = self.draft()
        source = str(files_of(draft)[file].get("source", ""))
        labelled = file <= len(draft["data"].get("more", []))  # what is only measured on does not say how to learn
        if (
            labelled
            and mapping
            and (mapping.get("shape") == "label_columns" or mapping.get("roles", {}).get("label") not in (None, before))
        ):
            with contextlib.suppress(StudioError):  # the outlook says what is wrong with the data
                self._suit_task(Mapping.model_validate(mapping), _look_at(source))
                draft = self.draft()
        if mapping is None or self.outlook().dataset:
            kept = self.store.note("mappings", {})
            kept.pop(key := _fingerprint(source), None)
            if mapping is not None:
                kept[key] = mapping
            self.store.set_note("mappings", dict(list(kept.items())[-_KEPT_MAPPINGS:]))
        return draft

    def _label_column(self, file: int) -> str | None:
        """Which column of a file is its label now, given or proposed; the same one again leaves the task's options to the person."""
        data = self.outlook().dataset
        return data.files[file].mapping.roles.get("label") if data and file < len(data.files) else None

    def lost_rows_with(self, mapping: dict, file: int = 0) -> tuple[list[int], int]:
        """(lines of a file that could not be used under `mapping`, how many of its first rows were looked at)."""
        draft = self.draft()
        source, recipe = _look_at(files_of(draft)[file]["source"]), self.outlook().recipe
        return lost_rows(
            source,
            Mapping.model_validate(mapping),
            TASKS[draft["task"]["name"]].record_kind,
            recipe.task.label_separator,
        )

    def _remembered_mapping(self, source: str, opened: Source) -> Mapping | None:
        """How the person mapped this file before, where that still fits it."""
        kept = self.store.note("mappings", {}).get(_fingerprint(source))
        if not kept:
            return None
        try:
            mapping = Mapping.model_validate(kept)
            want = next(item.record_kind for item in TASKS.values() if fits(mapping, item.record_kind))
            check_mapping(mapping, opened.columns, want, opened.name)
        except (ValueError, StopIteration, StudioError):  # pydantic's ValidationError is a ValueError
            return None
        return mapping

    def import_file(self, path: str | Path, name: str | None = None) -> Path:
        """Copy a file that the person gave into the studio's uploads, under its own name as far as that is safe."""
        return import_file(self.home.uploads, Path(path), name)

    def set_remedy(self, kind: str, action: str | None) -> None:
        """Choose what is done about a kind of finding; None undoes it."""
        data = self.draft()["data"]
        remedies = {name: chosen for name, chosen in data.get("remedies", {}).items() if name != kind}
        self.change(data={**data, "remedies": remedies | ({kind: action} if action else {})})

    def add_file(self, source: str) -> None:
        """Add a file to the draft's data, if it can be read."""
        opened = _look_at(source)
        data = self.draft()["data"]
        other = OtherFile(source=source, mapping=self._remembered_mapping(source, opened))
        self.change(data={**data, "more": [*data.get("more", []), other.model_dump(mode="json")]})

    def change_file(self, index: int, **values) -> None:
        """Set weight or mapping of one file of the draft's data, as `files_of` counts them; the validation one has a mapping only."""
        data = self.draft()["data"]
        if index == 0:
            self.change(data={**data, **values})
        elif index > len(data.get("more", [])):
            self.change(data={**data, "validation_mapping": values["mapping"]})
        else:
            more = [dict(item) for item in data["more"]]
            more[index - 1].update(values)
            self.change(data={**data, "more": more})

    def split(self, values: dict) -> None:
        """Set what is for validation. Another validation file is mapped as the person mapped it before, or as is proposed."""
        data = self.draft()["data"]
        if values.get("validation") != data.get("validation"):
            mapping = None
            with contextlib.suppress(StudioError):  # the outlook says what is wrong with the file
                mapping = (
                    self._remembered_mapping(values["validation"], _look_at(values["validation"]))
                    if values.get("validation")
                    else None
                )
            task = TASKS.get(self.draft()["task"].get("name"))
            values = {
                **values,
                "validation_mapping": mapping.model_dump(mode="json")
                if mapping and task and fits(mapping, task.record_kind)
                else None,
            }
        self.change(data={**data, **values})

    def remove_file(self, index: int) -> None:
        """Take a file out of the mixture; the first one only where another can take its place."""
        data = self.draft()["data"]
        files = [{key: data.get(key) for key in ("source", "mapping", "weight")}, *data.get("more", [])]
        if len(files) > 1:
            first, *rest = files[:index] + files[index + 1 :]
            self.change(data={**data, **first, "more": rest})

    # ---- before the run ---------------------------------------------------------------------------------------

    def outlook(self) -> Outlook:
        """All that can be said of the draft now. Never raises for what the person can mend.

        Every tab asks after every change: for a moment all of them get the same one, which none of them may change.
        """
        with self._looking:
            key, now = self._made_from(), time.monotonic()
            if (
                self._seen is None
                or self._seen[0] != key
                or now - self._seen[1] > _FRESH
                or self._seen[2].waiting
                or self.readings.under_way()
            ):
                self._seen = (key, now, look(self.draft(), self.readings, self.store))
            return self._seen[2]

    def _made_from(self) -> str:
        """Changes whenever the draft does, or a file that it names."""
        draft = self.draft()
        parts: list = [draft, self.readings.ended()]
        with contextlib.suppress(
            StudioError, ValueError, OSError
        ):  # an odd name; the outlook says what is wrong with it
            recipe = recipe_from(draft)
            parts += [stamp(recipe.data.sources), str(local_folder(recipe.model.name, recipe.model.revision))]
        return json.dumps(parts, sort_keys=True, default=str)

    def inference_settings(self, base: str) -> dict:
        """Device and quantisation with which Chat loads the base model: those of the draft where it has this model."""
        draft = self.draft()
        quantisation = draft["machine"].get("quantisation", "none") if draft["model"].get("name") == base else "none"
        return {"device": hardware.choose_device("auto"), "quantisation": quantisation}

    def start(self) -> str:
        """Queue the draft as a run; returns its id. `StudioError` says what stands in the way."""
        outlook = self.outlook()
        if outlook.problems:
            raise StudioError(next(iter(outlook.problems.values())))
        recipe = outlook.recipe
        name = recipe.name.strip() or f"{outlook.dataset.title} · {recipe.method.summary()}"
        return client.start_run(
            self.home, self.store, name, recipe.to_dict(), hardware.choose_device(recipe.machine.device)
        )


def _look_at(source: str) -> Source:
    """The source opened, with its columns; `StudioError` where it cannot be read."""
    return open_source(resolve(source).train)


def _fingerprint(source: str) -> str:
    """What a mapping is remembered by: the file itself, or the hub's id."""
    try:
        return fingerprint(resolve(source).train)
    except StudioError:
        return source
