"""Read a dataset from the Hugging Face Hub: "hub:owner/name", "hub:owner/name:config" or "hub:owner/name:config:split".

`datasets` is imported inside functions only; no code from the Hub is executed.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from studio.data.calls import without_fill
from studio.data.readers_binary import filled_columns, plain
from studio.data.rows import Row
from studio.data.source import Source
from studio.words import StudioError

PREFIX = "hub:"
_REACH_SECONDS = 5


class HubId(NamedTuple):
    """Dataset "owner/name" or "name"; config: None for its only or default one; split: "train" unless given."""

    name: str
    config: str | None
    split: str


def parse(source: str) -> HubId:
    """Parse a Hub source string. Raises StudioError if it is malformed."""
    parts = source.removeprefix(PREFIX).strip().split(":")
    if len(parts) > 3 or not re.fullmatch(r"[\w.\-]+(/[\w.\-]+)?", parts[0]) or ".." in parts[0]:
        raise StudioError(
            "'{source}' is not the id of a dataset on the hub. Write it as hub:owner/name, or "
            "hub:owner/name:config:split.",
            source=source[:120],
        )
    config = parts[1] if len(parts) > 1 and parts[1] else None
    return HubId(parts[0], config, parts[2] if len(parts) > 2 and parts[2] else "train")


def read_hub(source: Source) -> Iterator[Row]:
    """Yield the rows of the dataset, numbered from 1; the first call downloads it into the `datasets` cache."""
    hub = parse(source.origin)
    table = _load(hub)
    source.layout = list(table.column_names)
    filled = filled_columns(table.features.arrow_schema)
    for number, values in enumerate(table, start=1):
        values = plain(values)
        yield Row(number, values | {name: without_fill(values[name]) for name in filled} if filled else values)


def reachable() -> bool:
    """Whether the Hub responds within `_REACH_SECONDS`; the `datasets` library itself retries for half a minute."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in {"1", "true", "yes", "on"}:
        return False
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_REACH_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


@lru_cache(maxsize=2)
def _load(hub: HubId):
    """Load the split, from the cache only if the Hub is not reachable. Raises StudioError if that fails."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    if not reachable():
        datasets.config.HF_HUB_OFFLINE = True
    try:
        return datasets.load_dataset(hub.name, hub.config, split=hub.split)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise StudioError(
            "The dataset '{name}' is not on the hub, or it is private. Check its name, or log in to the hub first.",
            name=hub.name,
        ) from error
    except (ConnectionError, TimeoutError) as error:
        raise StudioError(
            "Cannot reach the hub to get the dataset '{name}'. Check the network, or use a local file or an example.",
            name=hub.name,
        ) from error
    except Exception as error:  # dataset builders raise exceptions of many types
        detail = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise StudioError(
            "The dataset '{name}' cannot be loaded from the hub ({detail}). Check its configuration and split, or use "
            "a local file.",
            name=hub.name,
            detail=detail,
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = before
