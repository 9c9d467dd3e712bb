"""From a file's bytes to the text that is released of it, before secrets are taken out: decode, then convert.

Everyone who makes or derives again a released text calls `text_of`, so that it is the same text everywhere.
"""

from __future__ import annotations

from typing import Literal, get_args

import pyarrow as pa

from pipeline.content.decode import SCHEMA as DECODED
from pipeline.content.decode import decode_batch
from pipeline.content.notebook import strip_outputs

Notebooks = Literal["strip_outputs", "keep"]
NOTEBOOKS: tuple[str, ...] = get_args(Notebooks)
"""Forms in which Jupyter notebooks are released."""

SCHEMA = DECODED.append(pa.field("notebook", pa.string()))
"""As `decode.SCHEMA`; `notebook`: how the text was converted, `malformed` where that could not be, null for all else."""


def text_of(bodies: pa.LargeBinaryArray, notebooks: str) -> pa.Table:
    """Text, encoding or reason of every body (`SCHEMA`); three nulls for a null body. `notebooks` is one of `NOTEBOOKS`."""
    return convert(decode_batch(bodies), notebooks)


def convert(decoded: pa.Table, notebooks: str) -> pa.Table:
    """What `decode_batch` made, in the form that is released (`SCHEMA`)."""
    assert notebooks in NOTEBOOKS, notebooks
    text, told = decoded["text"].combine_chunks(), pa.nulls(len(decoded), pa.string())
    if notebooks == "strip_outputs":
        text, told = strip_outputs(text)
    return pa.Table.from_arrays([decoded["encoding"], decoded["reason"], text, told], schema=SCHEMA)
