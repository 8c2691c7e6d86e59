"""The layout of the home folder on disk: the database and, beside it, plain folders of artefacts.

    studio.sqlite3     runs, jobs, metrics, events, adapters, draft (see `studio.store`)
    runs/ID/           recipe.yaml, log.txt, checkpoints/ of one run
    adapters/ID/       one finished adapter in the format of stock `peft`, with its README.md
    previews/ID/       adapters that were blended or converted and not saved yet, see `studio.library.previews`
    trash/ID/          deleted adapters, which can be restored
    uploads/           files uploaded by the user, never changed
    exports/           ID/: finished exports of adapters; what a window offers for download, which is not kept
    logs/              output of the supervisor and the workers
    searches/ID/       one hyperparameter search, see `studio.search.plan`
    trackers/          what trackers such as TensorBoard keep on this machine, each in a folder of its own
    incoming/          what the browser sends or fetches, until it is copied; cleared by Gradio after a day

Only the user that runs the studio may read any of it. This module only defines paths and their permissions; the
contents are up to its callers.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
from pathlib import Path

from studio.words import StudioError

_log = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parent.parent
ASSETS = REPOSITORY / "assets"
PRESETS = REPOSITORY / "presets"
PREVIEW = "preview-"
"""Prefix of the ids of adapters that are previews: not in the library, but Chat can answer with them."""
STARTER = ASSETS / "starter"
STARTER_VIT = ASSETS / "starter_vit"
SAMPLES = ASSETS / "samples"


_FOLDERS = ("runs", "adapters", "previews", "trash", "uploads", "exports", "logs", "incoming")
_PRIVATE_UMASK = 0o077  # files 0600, folders 0700


class Home:
    """The home folder: `root`, else the environment variable DELTA_STUDIO_HOME, else `~/.delta-studio`.

    From then on this process creates files that only its own user may read: uploads, recipes and logs are private, and
    the database holds the chat server's key. Raises `StudioError` where the folder cannot be written.
    """

    def __init__(self, root: str | Path | None = None):
        chosen = root or os.environ.get("DELTA_STUDIO_HOME") or Path.home() / ".delta-studio"
        self.root = Path(chosen).expanduser().resolve()
        os.umask(_PRIVATE_UMASK)
        try:
            ours = not self.root.exists() or self.database.exists() or not any(self.root.iterdir())
            for name in _FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable(self.root, error.strerror) from error
        if not os.access(self.root, os.W_OK):
            raise _not_writable(self.root, os.strerror(errno.EACCES))
        # A folder with the user's other files keeps its own mode; only what is the studio's is closed.
        private = [self.root] if ours else [self.database, *(self.root / name for name in _FOLDERS)]
        for path in private:
            _close_to_others(path)

    @property
    def database(self) -> Path:
        return self.root / "studio.sqlite3"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def run(self, run_id: str) -> Path:
        return self.root / "runs" / safe_name(run_id)

    def checkpoints(self, run_id: str) -> Path:
        return self.run(run_id) / "checkpoints"

    def adapter(self, adapter_id: str) -> Path:
        """The folder of an adapter of the library, or of a preview."""
        return self.root / ("previews" if adapter_id.startswith(PREVIEW) else "adapters") / safe_name(adapter_id)

    def trash(self, adapter_id: str) -> Path:
        return self.root / "trash" / safe_name(adapter_id)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free


def _not_writable(root: Path, why: str | None) -> StudioError:
    return StudioError(
        "The studio's folder {folder} cannot be written ({why}). Make it writable for the user who runs the studio, or "
        "choose another one with --home or DELTA_STUDIO_HOME.",
        folder=str(root),
        why=why,
    )


def _close_to_others(path: Path) -> None:
    """Take all permissions from group and others, which earlier versions left; a mounted bucket may have no modes."""
    if not path.exists() or not stat.S_IMODE(path.stat().st_mode) & _PRIVATE_UMASK:
        return
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_PRIVATE_UMASK)
    except OSError as error:
        _log.warning("%s stays readable by other users of this machine: %s", path, error)


def safe_name(name: str) -> str:
    """Return `name` if it is one plain path component, else raise `StudioError`. Guards paths made from user input."""
    if not re.fullmatch(r"[\w][\w.\- ]{0,127}", name) or ".." in name:
        raise StudioError(
            "'{name}' cannot be used as a name here: use letters, digits, spaces, '-', '_' and '.'.", name=name[:80]
        )
    return name
