"""The `inspect` job: download a hub model, report progress, and read its size.

Runs in a worker, so that a slow or broken network never blocks the window. Only safetensors, tokenizer, configuration
and documentation files are downloaded: no pickles, no code.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.models.folders import INDEX_FILE, WEIGHTS_FILE, files_to_download, read_index
from studio.models.shape import read_shape
from studio.words import Sentence, StudioError


def inspect(job) -> dict:
    """Download the model. payload: {"model": hub id, "revision": optional}. Returns {"folder", "parameters", "bytes"}.

    Raises StudioError if the model is unknown, gated or has no safetensors weights, or if the hub is unreachable.
    """
    name = job.payload["model"]
    job.doing(Sentence("Asking the hub about {name}", name=name))
    with _readable_hub_errors(name):
        folder = _download(name, job.payload.get("revision"), _progress_bar(job, name))
    shape = read_shape(folder)
    return {"folder": str(folder), "parameters": shape.parameters, "bytes": shape.bytes}


def _progress_bar(job, name: str) -> type:
    """The progress bar class for `huggingface_hub`, which reports the downloaded bytes of `name` to the store."""
    from tqdm.auto import tqdm

    class Progress(tqdm):
        """Reports at most once a second."""

        def __init__(self, *args, **kwargs):
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "mininterval": 1.0})

        def display(self, *args, **kwargs):
            if self.unit == "B" and self.total:
                job.doing(
                    Sentence(
                        "Downloading {name}: {done} of {total} MB",
                        name=name,
                        done=int(self.n / 1e6),
                        total=int(self.total / 1e6),
                    )
                )

    return Progress


def _download(name: str, revision: str | None, progress: type) -> str:
    """Download the files of a hub model that the studio needs; return their folder in the cache."""
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    info = HfApi().model_info(name, revision=revision, files_metadata=True)
    if not any(item.rfilename.endswith(".safetensors") for item in info.siblings):
        raise StudioError(
            "The hub model '{name}' has no safetensors weights; choose another one, pickle files are not opened here.",
            name=name,
        )
    names = [item.rfilename for item in info.siblings]
    indexed = INDEX_FILE in names and WEIGHTS_FILE not in names
    weight_map = read_index(Path(hf_hub_download(name, INDEX_FILE, revision=info.sha)).parent) if indexed else None
    # Escaped, because allow_patterns takes glob patterns.
    patterns = [glob.escape(file) for file in files_to_download(names, weight_map)]
    return snapshot_download(name, revision=revision, allow_patterns=patterns, tqdm_class=progress)


@contextmanager
def _readable_hub_errors(name: str) -> Iterator[None]:
    """Raise errors of the hub and the network as `StudioError`."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise StudioError(
            "The model '{name}' is gated: accept its licence on its hub page, log in with `hf auth login`, then "
            "try again.",
            name=name,
        ) from error
    except RepositoryNotFoundError as error:
        raise StudioError(
            "The hub has no model called '{name}' (or it is private); check the spelling, or log in with `hf "
            "auth login`.",
            name=name,
        ) from error
    except (OSError, ConnectionError) as error:
        raise _hub_unreachable(name) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "huggingface_hub"):
            raise _hub_unreachable(name) from error
        raise


def _hub_unreachable(name: str) -> StudioError:
    return StudioError(
        "The hub cannot be reached, so '{name}' was not downloaded; check the network, or use the starter model "
        "or a local folder.",
        name=name,
    )
