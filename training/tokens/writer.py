"""Writing a token cache: aside, and put into its place when it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from training.errors import OutputError
from training.tokens import stored
from training.tokens.stored import TokenCache

DOCUMENTS = pa.schema(
    {
        "content_id": pa.large_string(),  # 32-bit offsets would end at 33 million documents
        "language": pa.int64(),
        "source": pa.int64(),
        "length": pa.int64(),
        "text_bytes": pa.int64(),
    }
)
MEMBERS = pa.schema({"document": pa.int64(), "row": pa.int64(), "token": pa.int64()})
"""Columns of the two tables: see `TokenCache`."""


class Writer:
    """A token cache that is being written.

    An error inside the `with` block removes what was written.

    Attributes:
        folder: where it is written, once the block has begun; no other attempt has its name.
        documents: number of documents so far.
    """

    folder: Path

    def __init__(self, cache: Path, key: str) -> None:
        self.key, self.place = key, stored.folder_of(cache, key)
        self.documents = 0
        self._sha, self._kind = hashlib.sha256(), ""
        self._documents, self._members = [DOCUMENTS.empty_table()], [MEMBERS.empty_table()]

    def __enter__(self) -> Writer:
        with stored.writing(self.place):
            self.folder = stored.aside(self.place)
            self._file = (self.folder / stored.PARTS["tokens"]).open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # of what a full disk did not take; nothing is left after `done`
            self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, ids: np.ndarray, documents: pa.Table, members: pa.Table) -> None:
        """Some documents with all of their tokens; `members` numbers them from 0."""
        number = pa.array(members["document"].to_numpy() + self.documents)
        members = members.set_column(members.column_names.index("document"), "document", number)
        self._documents.append(documents.select(DOCUMENTS.names).cast(DOCUMENTS))
        self._members.append(members.select(MEMBERS.names).cast(MEMBERS))
        self.documents += documents.num_rows
        self._kind = ids.dtype.name
        if len(ids):
            part = np.ascontiguousarray(ids).data.cast("B")
            self._sha.update(part)
            with stored.writing(self.folder):
                self._file.write(part)

    def done(self, *, fim: int) -> TokenCache:
        """The cache, in its place and read back; `fim` of its files were cut. Call it last in the `with` block."""
        with stored.writing(self.folder):
            self._file.flush()
            os.fsync(self._file.fileno())
            for part, tables in (("documents", self._documents), ("members", self._members)):
                stored.write_table(pa.concat_tables(tables), self.folder / stored.PARTS[part])
            about = {"key": self.key, "dtype": self._kind, "tokens_sha256": self._sha.hexdigest(), "fim": fim}
            stored.write_about(self.folder, about)
            stored.put(self.folder, self.place)
        made = stored.open_cache(self.place, self.key)
        if made is None:
            raise OutputError(f"{self.place}: the token cache does not read back as it was written")
        return made
