"""What every section of the configuration has in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of all sections: unknown keys, wrong types and later changes are errors.

    The text below a field is its description in `pipeline train --schema`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
"""A list of at least one string."""

Settings = dict[str, Any]
"""Free keys that another library defines and checks."""
