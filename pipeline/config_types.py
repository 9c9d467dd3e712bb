"""What the sections of the release configuration are made of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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


def _in_share(value: str) -> str:
    """A number above 0 and at most 1, of at most six decimals, as dedup.verify.Threshold reads it."""
    try:
        if not re.fullmatch(r"[0-9./]{1,20}", value):
            raise ValueError(value)
        fraction = Fraction(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError("must be a decimal number in quotes, such as '0.7'") from None
    if not 0 < fraction <= 1:
        raise ValueError("must be above 0 and at most 1")
    if fraction.denominator > 1_000_000:
        raise ValueError("must have six decimals at most")
    return value


Share = Annotated[str, AfterValidator(_in_share)]
