"""The draft recipe: edited part by part, validated by `preflight()`, queued as a run by `start()`.

The draft is kept in the store, so it survives a page reload, a second window and a killed process. It may contain
invalid values, exactly as the user typed them; `preflight()` reports them.

A file given by the user is opened before it is stored, so that a rejected file is never kept.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path

from studio import hardware
from studio.data.data_spec import DataSpec, OtherFile
from studio.data.mapping import Mapping, check_mapping, fits
from studio.data.read import fingerprint, open_source
from studio.data.resolve import resolve, stamp
from studio.data.shape import propose, separator_of
from studio.data.similar_columns import lost_rows
from studio.data.source import Source
from studio.draft.dataset_cache import DatasetCache
from studio.draft.preflight import Preflight, check_draft
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
# Seconds for which a `Preflight` is reused although inputs outside the draft (free memory, measured speeds) may change.
_FRESH = 2.0


def files_of(draft: dict) -> list[dict]:
    """The draft's data files, each with its settings: the first file, the files mixed in, and the validation file.

    The validation file, if there is one, comes last and has no weight.
    """
    data = draft["data"]
    held = [{"source": data["validation"], "mapping": data.get("validation_mapping")}] if data.get("validation") else []
    return [data, *data.get("more", []), *held]


class DraftEditor:
    """The draft recipe of one home directory. Thread-safe."""

    def __init__(self, home: Home, store: Store):
        self.home, self.store = home, store
        self.datasets = DatasetCache()
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._seen: tuple[str, float, Preflight] | None = None

    # ---- the draft --------------------------------------------------------------------------------------------

    def draft(self) -> dict:
        """The draft with every part present and values as the user typed them; initially the first sample preset."""
        kept = self.store.note("draft") or apply(presets("sample")[0], Recipe().to_dict())
        try:
            return recipe_from(kept).to_dict()
        except StudioError:
            return {**Recipe().to_dict(), **kept}

    def change(self, **parts) -> dict:
        """Replace parts of the draft (model, data, task, method, training, machine, name) and return the new draft."""
        with self._lock:
            draft = {**self.draft(), **parts}
            self.store.set_note("draft", draft)
        return draft

    def choose_method(self, name: str) -> dict:
        """Switch to a method with its default options and return the new draft.

        The learning rate becomes the method's default too, unless the user had changed it.
        """
        draft = self.draft()
        before = METHODS.get(draft["method"].get("name"))
        training = dict(draft["training"])
        if before and training.get("learning_rate") == before.learning_rate:
            training["learning_rate"] = METHODS[name].learning_rate
        return self.change(method=METHODS[name]().model_dump(mode="json"), training=training)

    # ---- data -------------------------------------------------------------------------------------------------

    def use(self, source: str) -> None:
        """Make `source` (an example, a path or a Hub id) the draft's data and adapt the task to its format.

        Raises StudioError, and leaves the draft unchanged, if the source cannot be read.
        """
        self._choose(source, _look_at(source))

    def use_upload(self, path: str | Path, name: str | None = None) -> Path:
        """Like `use`, for a temporary file: copies it into the uploads if it can be read; returns the copy's path."""
        opened = _look_at(str(path))
        kept = self.import_file(path, name)
        self._choose(str(kept), opened)
        return kept

    def _choose(self, source: str, opened: Source) -> None:
        mapping = self._remembered_mapping(source, opened)
        try:
            shown = mapping or propose(opened).mapping
        except StudioError:  # reported by the preflight check; the user then assigns the columns
            shown = None
        parts: dict = {"data": DataSpec(source=source, mapping=mapping).model_dump(mode="json")}
        if self.draft().get("name") in {item.values.get("name") for item in presets("sample")}:
            parts["name"] = ""  # the name of a sample preset does not describe other data
        task = self._task_for(shown) if shown else None
        if task:
            parts |= {"task": task().model_dump(mode="json"), **self._model_for(task)}
        self.change(**parts)
        if shown:
            self._suit_task(shown, opened)

    def _suit_task(self, mapping: Mapping, opened: Source) -> None:
        """Set the task options that depend on the column mapping and on the format of the labels."""
        task = self.draft()["task"]
        if cls := TASKS.get(task.get("name")):
            self.change(task={**task, **cls.options_for_mapping(mapping, separator_of(opened, mapping))})

    def _task_for(self, mapping: Mapping) -> type[Task] | None:
        """The task to switch to for data with this mapping; None to keep the current one.

        Preferred is the task whose record kind is that of the mapping. If there is none and the current task cannot use
        the mapping, it is the first task that can.
        """
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
        """Switch to a task with its default options and return the new draft.

        The column mappings are reset to the proposed ones, and a base model that does not support the task is replaced.
        """
        draft = self.draft()
        self.change(
            task=TASKS[name]().model_dump(mode="json"),
            data={**draft["data"], "mapping": None, "validation_mapping": None},
            **self._model_for(TASKS[name]),
        )
        with contextlib.suppress(StudioError):  # problems with the data are reported by the preflight check
            opened = _look_at(draft["data"]["source"])
            self._suit_task(propose(opened, TASKS[name].record_kind).mapping, opened)
        return self.draft()

    def _model_for(self, task: type[Task]) -> dict:
        """{"model": the starter model of the task's modality} if the draft's model does not support `task`, else {}."""
        model = self.draft()["model"]
        try:
            folder = local_folder(model.get("name", ""), model.get("revision"))
            unfit = task.model_refusal(read_shape(folder)) if folder else None
        except StudioError:
            return {}
        return {"model": {"name": STARTERS[task.modality], "revision": None}} if unfit else {}

    def change_mapping(self, mapping: dict | None, file: int = 0) -> dict:
        """Set the column mapping of a file, None for the proposed one, and return the new draft.

        A mapping under which the data can be read is remembered for the next time this file is used.
        """
        before = self._label_column(file)
        self.change_file(file, mapping=mapping)
        draft = self.draft()
        source = str(files_of(draft)[file].get("source", ""))
        labelled = file <= len(
            draft["data"].get("more", [])
        )  # the validation file does not determine the task's options
        if (
            labelled
            and mapping
            and (mapping.get("shape") == "label_columns" or mapping.get("roles", {}).get("label") not in (None, before))
        ):
            with contextlib.suppress(StudioError):  # problems with the data are reported by the preflight check
                self._suit_task(Mapping.model_validate(mapping), _look_at(source))
                draft = self.draft()
        if mapping is None or self.preflight().dataset:
            kept = self.store.note("mappings", {})
            kept.pop(key := _fingerprint(source), None)
            if mapping is not None:
                kept[key] = mapping
            self.store.set_note("mappings", dict(list(kept.items())[-_KEPT_MAPPINGS:]))
        return draft

    def _label_column(self, file: int) -> str | None:
        """The current label column of a file, chosen or proposed; None if it has none.

        `change_mapping` compares it with the new one, so as to keep the user's task options if the label is the same.
        """
        data = self.preflight().dataset
        return data.files[file].mapping.roles.get("label") if data and file < len(data.files) else None

    def lost_rows_with(self, mapping: dict, file: int = 0) -> tuple[list[int], int]:
        """(numbers of the rows of a file that cannot be used under `mapping`, number of its first rows examined)."""
        draft = self.draft()
        source, recipe = _look_at(files_of(draft)[file]["source"]), self.preflight().recipe
        return lost_rows(
            source,
            Mapping.model_validate(mapping),
            TASKS[draft["task"]["name"]].record_kind,
            recipe.task.label_separator,
        )

    def _remembered_mapping(self, source: str, opened: Source) -> Mapping | None:
        """The mapping that the user last chose for this file, if it still fits the file's columns; else None."""
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
        """Copy a file into the uploads folder, under its own sanitised name (or `name`), and return the copy's path."""
        return import_file(self.home.uploads, Path(path), name)

    def set_remedy(self, kind: str, action: str | None) -> None:
        """Choose the remedy for a kind of finding in the data report; None removes the choice."""
        data = self.draft()["data"]
        remedies = {name: chosen for name, chosen in data.get("remedies", {}).items() if name != kind}
        self.change(data={**data, "remedies": remedies | ({kind: action} if action else {})})

    def add_file(self, source: str) -> None:
        """Add a file to the draft's data. Raises StudioError if it cannot be read."""
        opened = _look_at(source)
        data = self.draft()["data"]
        other = OtherFile(source=source, mapping=self._remembered_mapping(source, opened))
        self.change(data={**data, "more": [*data.get("more", []), other.model_dump(mode="json")]})

    def change_file(self, index: int, **values) -> None:
        """Set the weight or mapping of the file at `index` in `files_of`; the validation file has only a mapping."""
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
        """Set how the validation rows are chosen.

        A new validation file gets the mapping that the user last chose for it, or else the proposed one.
        """
        data = self.draft()["data"]
        if values.get("validation") != data.get("validation"):
            mapping = None
            with contextlib.suppress(StudioError):  # problems with the file are reported by the preflight check
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
        """Remove a file from the mixture, unless it is the only one. After the first, the next takes its place."""
        data = self.draft()["data"]
        files = [{key: data.get(key) for key in ("source", "mapping", "weight")}, *data.get("more", [])]
        if len(files) > 1:
            first, *rest = files[:index] + files[index + 1 :]
            self.change(data={**data, **first, "more": rest})

    # ---- before the run ---------------------------------------------------------------------------------------

    def preflight(self) -> Preflight:
        """Validate the draft and forecast its run. Errors that the user can fix are in `Preflight.problems`.

        All tabs call this after every change, so the result is shared for `_FRESH` seconds: do not modify it.
        """
        with self._looking:
            key, now = self._made_from(), time.monotonic()
            if (
                self._seen is None
                or self._seen[0] != key
                or now - self._seen[1] > _FRESH
                or self._seen[2].waiting
                or self.datasets.in_progress()
            ):
                self._seen = (key, now, check_draft(self.draft(), self.datasets, self.store))
            return self._seen[2]

    def preflight_of(self, draft: dict) -> Preflight:
        """Like `preflight`, for a variant of the draft."""
        with self._looking:
            return check_draft(draft, self.datasets, self.store)

    def _made_from(self) -> str:
        """Cache key of a `Preflight`: the draft, its data files and model folder, and whether a reading has ended."""
        draft = self.draft()
        parts: list = [draft, self.datasets.ended()]
        # A malformed name or path is reported by the preflight check.
        with contextlib.suppress(StudioError, ValueError, OSError):
            recipe = recipe_from(draft)
            parts += [stamp(recipe.data.sources), str(local_folder(recipe.model.name, recipe.model.revision))]
        return json.dumps(parts, sort_keys=True, default=str)

    def inference_settings(self, base: str) -> dict:
        """Device and quantisation with which Chat loads `base`. Quantisation is the draft's if it has this model."""
        draft = self.draft()
        quantisation = draft["machine"].get("quantisation", "none") if draft["model"].get("name") == base else "none"
        return {"device": hardware.choose_device("auto"), "quantisation": quantisation}

    def start(self) -> str:
        """Queue the draft as a run and return its id. Raises StudioError with the first problem of its check."""
        preflight = self.preflight()
        if preflight.problems:
            raise StudioError(next(iter(preflight.problems.values())))
        recipe = preflight.recipe
        name = recipe.name.strip() or f"{preflight.dataset.title} · {recipe.method.summary()}"
        return client.start_run(
            self.home, self.store, name, recipe.to_dict(), client.choose_device(self.store, recipe.machine.device)
        )


def _look_at(source: str) -> Source:
    """Open a source and read its columns. Raises StudioError if it cannot be read."""
    return open_source(resolve(source).train)


def _fingerprint(source: str) -> str:
    """The key under which a mapping is remembered: the file's fingerprint, or `source` if it cannot be read."""
    try:
        return fingerprint(resolve(source).train)
    except StudioError:
        return source
