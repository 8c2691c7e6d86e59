"""Finds models and datasets on the Hugging Face Hub, and those that are in its cache on this machine."""

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
    """A repository of the hub. downloads: of the last 30 days; gated: its licence must be accepted on the hub first."""

    id: str
    downloads: int
    gated: bool


def search(kind: Kind, words: str) -> list[HubEntry]:
    """At most `LIMIT` public repositories whose names hold `words`, the most downloaded first; models are those of transformers.

    Raises StudioError where the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if not reachable():
        raise StudioError(
            "The Hugging Face Hub cannot be reached, so only what is on this machine is listed. Check the network, then search again."
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
    """Ids of the repositories in the hub's cache on this machine, the latest used first."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = [item for item in repositories if item.repo_type == kind]
    return [item.repo_id for item in sorted(found, key=lambda item: item.last_accessed, reverse=True)]
