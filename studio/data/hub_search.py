"""Search models and datasets on the Hugging Face Hub, and list those in the local Hub cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from studio.data.hub import reachable
from studio.words import StudioError

Kind = Literal["model", "dataset"]
LIMIT = 12


@dataclass(frozen=True)
class HubEntry:
    """A repository on the Hub. downloads: in the last 30 days; gated: its licence must be accepted on the Hub first."""

    id: str
    downloads: int
    gated: bool


def search(kind: Kind, words: str) -> list[HubEntry]:
    """At most `LIMIT` public repositories whose names contain `words`, most downloaded first.

    Models are limited to those tagged transformers. Raises StudioError if the Hub is unreachable or returns an error.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if not reachable():
        raise StudioError(
            "The Hugging Face Hub cannot be reached, so only what is on this machine is listed. Check the network, "
            "then search again."
        )
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        if kind == "model":
            found = list(api.list_models(search=words, filter="transformers", sort="downloads", limit=LIMIT))
        else:
            found = list(api.list_datasets(search=words, sort="downloads", limit=LIMIT))
    except (HfHubHTTPError, OSError, ValueError) as error:
        detail = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise StudioError(
            "The Hugging Face Hub refused the search ({detail}). Try again later.", detail=detail
        ) from error
    return [HubEntry(item.id, item.downloads or 0, bool(getattr(item, "gated", False))) for item in found]


def cached(kind: Kind) -> list[str]:
    """Ids of the repositories in the local Hub cache, most recently used first."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = [item for item in repositories if item.repo_type == kind]
    return [item.repo_id for item in sorted(found, key=lambda item: item.last_accessed, reverse=True)]
