"""What every section of the configuration has in common."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of all sections: unknown keys, wrong types and later changes are errors.

    The text below a field is its description in `pipeline train --schema`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
"""A list of at least one string."""


def _possible(path: str) -> str:
    try:
        if b"\0" not in os.fsencode(path):
            return path
    except UnicodeEncodeError:
        pass
    raise ValueError("no file can have this name: it holds a NUL or half of a surrogate pair")


Place = Annotated[str, Field(min_length=1), AfterValidator(_possible)]
"""Path of a file or folder."""

Settings = dict[str, Any]
"""Free keys that another library defines and checks."""
