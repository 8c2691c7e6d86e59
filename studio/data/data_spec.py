"""The data section of a recipe, as options: sources, column mappings, weights, remedies and the validation split."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from studio.data.mapping import Mapping
from studio.data.remedies import checked
from studio.options import Options, option

MORE_FILES = 32
_WEIGHT = {"gt": 0, "le": 100}


class OtherFile(Options):
    """An additional file of training data."""

    source: str = option(
        "", "Data", "An example, a file on this computer, or hub:owner/name for a dataset on the Hugging Face Hub."
    )
    mapping: Mapping | None = option(None, "Columns", "Which column plays which role. Empty: as proposed.", hidden=True)
    weight: float = option(
        1.0,
        "Weight",
        "How often each row is seen in an epoch: 2 is twice, 0.5 takes half of the rows.",
        unit="×",
        **_WEIGHT,
    )


class DataSpec(Options):
    """The data section of a recipe: sources, column mappings, weights, remedies and the validation split."""

    source: str = option(
        "captain",
        "Data",
        "An example, a file on this computer, or hub:owner/name for a dataset on the Hugging Face Hub.",
    )
    mapping: Mapping | None = option(None, "Columns", "Which column plays which role. Empty: as proposed.", hidden=True)
    weight: float = option(
        1.0,
        "Weight",
        "How often each row is seen in an epoch: 2 is twice, 0.5 takes half of the rows.",
        unit="×",
        hidden=True,
        **_WEIGHT,
    )
    more: list[OtherFile] = option(
        [],
        "More files",
        "Files that are mixed in, each with its own columns and weight.",
        hidden=True,
        max_length=MORE_FILES,
    )
    remedies: Annotated[dict[str, str], AfterValidator(checked)] = option(
        {},
        "Remedies",
        "What is done about findings while the file is read; the file itself stays as it is.",
        hidden=True,
    )
    validation: str | None = option(
        None,
        "Validation file",
        "A file for validation. Empty: the example's own, or else a part of the data.",
        advanced=True,
    )
    validation_mapping: Mapping | None = option(
        None,
        "Columns of the validation file",
        "Which column plays which role. Empty: as in the training data, or as proposed where that does not fit.",
        hidden=True,
    )
    validation_fraction: float = option(
        0.1,
        "Validation fraction",
        "Part of the data for validation, 2,000 rows at most, where there is no validation file and no part called "
        "test or validation. 0: none.",
        ge=0.0,
        le=0.5,
        slider=True,
    )
    max_rows: int | None = option(
        None,
        "Max rows",
        "Train on the first rows of each file only. Empty: from all.",
        unit="rows",
        ge=1,
        advanced=True,
    )
    encoding: str | None = option(
        None,
        "Encoding",
        "How the file's bytes stand for characters, for example utf-8 or gb18030. Empty: recognised.",
        advanced=True,
    )
    seed: int = option(0, "Seed of the split", "The same seed chooses the same validation rows.", ge=0, advanced=True)

    @property
    def sources(self) -> list[str]:
        """All sources that are read: the training files, then the validation file if one is given."""
        return [self.source, *(other.source for other in self.more), *([self.validation] if self.validation else [])]
