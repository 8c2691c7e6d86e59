"""Find the columns that a mapping does not use, how much text they hold, and which hold images, audio or video.

Cells are examined in the first rows; columns that first appear later are included. Independent of shapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from studio.data.cells import as_text
from studio.data.pictures import PREFIX
from studio.data.row_cells import is_empty
from studio.data.rows import Row

LOOKED_AT = 200
"""Number of rows whose unused cells are examined."""
_PROSE = 40  # mean characters per cell above which a text column counts as substantial
MEDIA = re.compile(
    r"(?:^|_)(?:image|images|img|imgs|picture|pictures|photo|photos|audio|audios|video|videos|图片|图像|音频|视频)"
    r"(?:$|_(?:path|paths|url|urls|file|files|name|bytes)$)"
)
_FILE = re.compile(r"\.(?:png|jpe?g|webp|gif|bmp|tiff?|wav|mp3|flac|ogg|m4a|mp4|avi|mov|mkv|webm)$", re.IGNORECASE)


@dataclass
class Seen:
    """Counts over the cells of one unused column in the first rows."""

    filled: int = 0
    characters: int = 0
    prose: int = 0
    nested: int = 0
    media: int = 0

    def see(self, value: object) -> None:
        if is_empty(value) or value in ([], {}):
            return
        self.filled += 1
        self.media += holds_media(value)
        self.nested += isinstance(value, list | dict)
        text = "" if isinstance(value, bytes) else as_text(value)
        self.characters += len(text)
        self.prose += isinstance(value, str) and " " in text.strip()

    @property
    def has_substance(self) -> bool:
        """Whether the column holds substantial prose or nested values, which may have been overlooked."""
        return (
            bool(self.filled)
            and (self.nested + self.prose) * 2 > self.filled
            and self.characters > _PROSE * self.filled
        )


@dataclass
class Unused:
    """The unused columns of one file. known: columns that are read; columns: all columns, extended while reading."""

    known: frozenset[str]
    columns: list[str]
    seen: dict[str, Seen] = field(default_factory=dict)
    _looked: int = 0

    def __post_init__(self) -> None:
        self._every = frozenset(self.columns) | self.known
        self.seen = {name: Seen() for name in self.columns if name not in self.known}

    def look(self, row: Row) -> None:
        """Count the unused cells of a row, if it is among the first rows or has a new column."""
        values = row.values
        if not values.keys() <= self._every:
            self.seen.update({name: Seen() for name in values if name not in self._every})
            self.columns = [*self.columns, *(name for name in values if name not in self._every)]
            self._every |= values.keys()
            for name in self.seen.keys() & values.keys():
                self.seen[name].see(values[name])
        elif self.seen and self._looked < LOOKED_AT:
            self._looked += 1
            for name, seen in self.seen.items():
                seen.see(values.get(name))

    @property
    def names(self) -> list[str]:
        return list(self.seen)

    @property
    def media(self) -> list[str]:
        """The columns that hold images, audio or video, or names of such files."""
        return [
            name
            for name, seen in self.seen.items()
            if seen.filled and (2 * seen.media > seen.filled or MEDIA.search(str(name).lower()))
        ]

    @property
    def has_substance(self) -> list[str]:
        return [name for name, seen in self.seen.items() if seen.has_substance or name in self.media]


def holds_media(value: object) -> bool:
    """Whether a cell is an image, audio or video: as bytes, data URL, file name, or location from `pictures.py`."""
    if isinstance(value, list):
        return bool(value) and all(map(holds_media, value))
    if isinstance(value, dict):
        return isinstance(value.get("bytes"), bytes) or holds_media(value.get("path") or value.get("url") or "")
    return isinstance(value, bytes) or (
        isinstance(value, str)
        and (
            value.startswith((PREFIX, "data:image/", "data:audio/", "data:video/"))
            or bool(_FILE.search(value.split("?")[0].strip()))
        )
    )
