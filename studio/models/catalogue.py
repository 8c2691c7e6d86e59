"""The catalogue of base models, as written in `presets/models.yaml`.

Any other model can be used as well; these are described before they are downloaded. Uses no network.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from studio.home import PRESETS
from studio.models.resolve import STARTERS, local_folder
from studio.models.shape import read_shape
from studio.words import Sentence, StudioError
from studio.yaml_text import parse_yaml

_MXFP4 = 4.25 / 8  # bytes per weight: 4 bits, plus an 8-bit scale per 32 weights (OCP Microscaling Formats, §5.2)
_FILE = PRESETS / "models.yaml"


class CatalogueEntry(BaseModel):
    """One base model.

    parameters: in billions. context: in tokens, or patches of a picture. gated: whether the licence must be accepted on
    the hub first. experts: share of the parameters in the experts of a mixture of experts, which the studio does not
    quantise. stored_as: storage format of the experts; "" for 16 bit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    id: str = Field(pattern=r"starter|starter-vit|[A-Za-z0-9][\w.\-]*/[\w.\-]+")
    title: str = Field(min_length=1)
    family: str = Field(min_length=1)
    parameters: float = Field(gt=0, le=200)
    licence: str = Field(min_length=1)
    context: int = Field(ge=16)
    gated: bool
    model_type: str = Field(min_length=1)
    modality: Literal["text", "image"] = "text"
    experts: float = Field(0, ge=0, lt=1)
    stored_as: Literal["", "mxfp4"] = ""
    note: str = ""

    @property
    def size(self) -> int:
        """Size of the stored weights in bytes, which is about the size of the download."""
        return round(
            self.parameters * 1e9 * (2 if not self.stored_as else (1 - self.experts) * 2 + self.experts * _MXFP4)
        )

    @property
    def hub_url(self) -> str:
        """The model's page on the hub; "" for a starter."""
        return "" if self.id in STARTERS.values() else f"https://huggingface.co/{self.id}"

    def label(self) -> Sentence:
        """One line for a list of models."""
        values = {"title": self.title, "size": format_size(self.size), "licence": self.licence}
        return (
            Sentence("{title} · {size} · {licence} · gated", **values)
            if self.gated
            else Sentence("{title} · {size} · {licence}", **values)
        )


def format_size(size: int) -> str:
    """Format bytes in decimal units, as the hub does: "16 MB", "1.2 GB", "141 GB"."""
    if size < 1e9:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.1f} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"


def catalogue() -> list[CatalogueEntry]:
    """All entries, the starters first. Raises `StudioError` where models.yaml is invalid."""
    return list(_read(_FILE))


def read_catalogue(path: Path) -> list[CatalogueEntry]:
    """Read and validate the entries in `path`."""
    values = parse_yaml(path.read_text(encoding="utf-8"), path.name)
    try:
        entries = TypeAdapter(list[CatalogueEntry]).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise StudioError(
            "{file}, entry {number}: {detail}; fix it there.",
            file=path.name,
            number=int(first["loc"][0]) + 1 if first["loc"] else 1,
            detail=f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}",
        ) from error
    return [_with_measured_size(entry) for entry in entries]


@cache
def _read(path: Path) -> tuple[CatalogueEntry, ...]:
    return tuple(read_catalogue(path))


def _with_measured_size(entry: CatalogueEntry) -> CatalogueEntry:
    """A starter's entry with the parameter count and context of its folder, where that is present."""
    if entry.id not in STARTERS.values():
        return entry
    try:
        shape = read_shape(local_folder(entry.id))
    except StudioError:
        return entry
    return entry.model_copy(update={"parameters": shape.parameters / 1e9, "context": shape.context})


def catalogue_entry(name: str) -> CatalogueEntry | None:
    """The entry with the hub id `name` (or "starter"); None for a model that is not in the catalogue."""
    return next((entry for entry in catalogue() if entry.id.lower() == name.lower()), None)
