"""What the sections of the release configuration are made of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX = 1 << 53  # of any number: what JSON and SQL hold exactly
Bytes = Annotated[int, Field(ge=1, le=MAX)]
Count = Annotated[int, Field(ge=1, le=MAX)]


class Section(BaseModel):
    """A section: frozen, an unknown key is an error, and nothing is converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def hint(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, as the end of a message; nothing where none is close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
