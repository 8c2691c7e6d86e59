"""Which columns of a file a mapping leaves unread, how much they say, and which of them hold pictures, sound or video.

Looks into the first rows; a column that comes later is noticed too. Knows nothing about shapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from studio.data.cells import as_text
from studio.data.pictures import PREFIX
from studio.data.row_cells import is_empty
from studio.data.rows import Row

LOOKED_AT = 200
"""Rows whose unused cells are looked into."""
_PROSE = 40  # characters on average from which a column of texts is one of weight
MEDIA = re.compile(
    r"(?:^|_)(?:image|images|img|imgs|picture|pictures|photo|photos|audio|audios|video|videos|图片|图像|音频|视频)(?:$|_(?:path|paths|url|urls|file|files|name|bytes)$)"
)
_FILE = re.compile(r"\.(?:png|jpe?g|webp|gif|bmp|tiff?|wav|mp3|flac|ogg|m4a|mp4|avi|mov|mkv|webm)$", re.IGNORECASE)


@dataclass
class Seen:
    """What the first rows show of one unused column."""

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
    def has_weights(self) -> bool:
        """Whether it holds text that somebody may have wanted to be learnt."""
        return (
            bool(self.filled)
            and (self.nested + self.prose) * 2 > self.filled
            and self.characters > _PROSE * self.filled
        )


@dataclass
class Unused:
    """The unused columns of one file. known: the columns that are read from; columns: those of the file, more are added as they come."""

    known: frozenset[str]
    columns: list[str]
    seen: dict[str, Seen] = field(default_factory=dict)
    _looked: int = 0

    def __post_init__(self) -> None:
        self._every = frozenset(self.columns) | self.known
        self.seen = {name: Seen() for name in self.columns if name not in self.known}

    def look(self, row: Row) -> None:
        """Notes the cells of a row that are not read, of the first rows what they hold."""
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
        """Those that hold pictures, sound or video, or the names of such files."""
        return [
            name
            for name, seen in self.seen.items()
            if seen.filled and (2 * seen.media > seen.filled or MEDIA.search(str(name).lower()))
        ]

    @property
    def has_weights(self) -> list[str]:
        return [name for name, seen in self.seen.items() if seen.has_weights or name in self.media]


def holds_media(value: object) -> bool:
    """Whether a cell is a picture, a sound or a video, by its bytes or by its file's name."""
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
