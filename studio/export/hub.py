"""Publish an adapter or a merged model on the Hugging Face Hub, or a Space, through huggingface_hub. In workers only.

What is uploaded was proven here before, and is compared with the Hub's list of files after. The token is handed over by
the window (`token_handover`) or is the one that this machine is logged in with; it is never stored, logged or shown.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from studio.export import adapter_zip, merge, token_handover
from studio.export.hub_card import write_card
from studio.export.targets import REPOSITORY, MergedOptions, merge_refusal
from studio.export.work import Work
from studio.words import Sentence, StudioError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_ALWAYS_THERE = {".gitattributes"}


def write(work: Work) -> None:
    """Make the files, prove them, write their card, and upload them; adds "address" to the manifest."""
    check_repository(work.options.repository)
    api = api_with_token(work)
    files = work.folder / "files"
    files.mkdir()
    merged = work.options.what == "merged"
    if merged:
        if refusal := merge_refusal(work.source.card):
            raise StudioError(refusal)
        options = MergedOptions(dtype=work.options.dtype)
        merge.write(Work(work.job, work.source, options, files, work.proofs))
    else:
        adapter_zip.write(work)
        unpack(work.folder, files)
    proofs = [proof.to_json() for proof in work.proofs]
    write_card(work.source, work.job.store, files, proofs, whole=merged or work.source.whole)
    upload(work, api, files, "model")
    shutil.rmtree(files)


def unpack(folder: Path, target: Path) -> None:
    """Unpack the only zip in `folder` to `target`, and remove it."""
    path = next(folder.glob("*.zip"))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(target)
    path.unlink()


def check_repository(name: str) -> None:
    """Raise StudioError unless `name` is owner/name as the Hub allows it."""
    if not re.match(REPOSITORY, name) or "--" in name or ".." in name or name.endswith((".git", ".")):
        raise StudioError(
            "'{name}' is no name of a repository: write owner/name with letters, digits, '-', '_' and '.'.", name=name
        )


def api_with_token(work: Work) -> HfApi:
    """The Hub's client. Raises StudioError if there is no token."""
    from huggingface_hub import HfApi, get_token

    token = token_handover.take(work.job.payload) or get_token()
    if not token:
        raise StudioError(
            "The Hub needs a token that may write. Make one at huggingface.co/settings/tokens and enter it, or log in "
            "with `hf auth login`."
        )
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)


def upload(work: Work, api: HfApi, files: Path, kind: str) -> None:
    """Upload the folder `files` to the work's repository. kind: "model" or "space"."""
    options, repository = work.options, work.options.repository
    work.step(0.9, Sentence("Uploading to {repository}", repository=repository))
    more = {"space_sdk": "gradio"} if kind == "space" else {}
    with readable_errors(repository, api.endpoint):
        made = api.create_repo(repository, repo_type=kind, private=options.private, exist_ok=True, **more)
        there = set(api.list_repo_files(repository, repo_type=kind)) - _ALWAYS_THERE
        if there and not options.replace:
            raise StudioError(
                "The repository {repository} has other content already, such as {file}. Choose another name, or switch "
                "on that files are added to it.",
                repository=repository,
                file=sorted(there)[0],
            )
        work.job.check_stop()
        api.upload_folder(
            repo_id=repository,
            folder_path=files,
            repo_type=kind,
            commit_message=f"{work.source.name}, made in Delta Studio",
        )
        _compare_sizes(api, repository, kind, files)
    work.extra["address"] = str(made)


def _compare_sizes(api: HfApi, repository: str, kind: str, files: Path) -> None:
    ours = {path.relative_to(files).as_posix(): path.stat().st_size for path in files.rglob("*") if path.is_file()}
    theirs = {
        item.path: item.size
        for item in api.list_repo_tree(repository, repo_type=kind, recursive=True)
        if hasattr(item, "size")
    }
    wrong = sorted(name for name, size in ours.items() if theirs.get(name) != size)
    if wrong:
        raise StudioError(
            "The Hub does not hold {file} as it was uploaded; look at {repository} and export again.",
            file=wrong[0],
            repository=repository,
        )


@contextmanager
def readable_errors(repository: str, endpoint: str) -> Iterator[None]:
    """Turn the errors of the Hub's client into sentences."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        if code in (401, 403):
            raise StudioError(
                "The Hub refuses the token for {repository}: it needs the right to write there. Make one at "
                "huggingface.co/settings/tokens.",
                repository=repository,
            ) from None  # the chain would carry the request, token included
        raise StudioError(
            "The Hub answered with error {code} for {repository}: {detail}.",
            code=code,
            repository=repository,
            detail=(error.server_message or "no reason given")[:200].rstrip("."),
        ) from None
    except (HTTPError, OfflineModeIsEnabled, ConnectionError) as error:  # of the connection, not of an answer
        raise StudioError(
            "The Hub ({endpoint}) cannot be reached; check the connection and export again.", endpoint=endpoint
        ) from error
