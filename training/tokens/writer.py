"""Writing a token cache document by document, for documents that are put together of others."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.errors import OutputError
from training.tokens import cache as caches
from training.tokens.cache import TokenCache


class Writer:
    """Writes a token cache aside and puts it into its place when it is whole.

    An error inside the `with` block removes what was written.
    """

    def __init__(self, cache: Path, key: str, kind: np.dtype[Any]) -> None:
        self.key, self.kind = key, kind
        self.folder = caches.folder_of(cache, key)
        self._temporary = cache / f"{self.folder.name}.tmp-{os.getpid()}"
        self._columns: dict[str, list[Any]] = {
            name: [] for name in ("content_id", "language", "source", "length", "text_bytes")
        }
        self._members: dict[str, list[int]] = {"document": [], "row": [], "token": []}
        self._sha = hashlib.sha256()

    def __enter__(self) -> Writer:
        with caches.writing(self._temporary):
            for stale in self._temporary.parent.glob(
                f"{self.folder.name}.tmp-*"
            ):  # of a process that was killed
                shutil.rmtree(stale)
            self._temporary.mkdir(parents=True)
            self._file = (self._temporary / "tokens.bin").open("wb")
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if error is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def add(
        self,
        ids: np.ndarray,
        *,
        content_id: str,
        language: int,
        source: int,
        text_bytes: int,
        rows: Sequence[int],
        offsets: Sequence[int],
    ) -> None:
        """One document, made of these rows of the corpus, whose tokens begin at these offsets."""
        part = ids.astype(self.kind, copy=False).tobytes()
        with caches.writing(self._temporary):
            self._file.write(part)
        self._sha.update(part)
        self._members["document"] += [len(self._columns["length"])] * len(rows)
        self._members["row"] += rows
        self._members["token"] += offsets
        values = (content_id, language, source, len(ids), text_bytes)
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)

    def done(self, *, fim: int) -> TokenCache:
        """The cache, in its place and read back; `fim` files of it were cut. Call it last in the `with` block."""
        with caches.writing(self._temporary):
            self._file.flush()
            os.fsync(self._file.fileno())
            pq.write_table(pa.table(self._columns), self._temporary / "documents.parquet")
            pq.write_table(pa.table(self._members), self._temporary / "members.parquet")
            about = {
                "key": self.key,
                "dtype": self.kind.name,
                "tokens_sha256": self._sha.hexdigest(),
                "documents_sha256": caches.sha256_of(self._temporary / "documents.parquet"),
                "members_sha256": caches.sha256_of(self._temporary / "members.parquet"),
                "fim": fim,
            }
            caches.write_json(self._temporary / "cache.json", about)
            self._temporary.rename(self.folder)
        made = caches.open_cache(self.folder, self.key)
        if made is None:
            raise OutputError(f"{self.folder}: the token cache does not read back as it was written")
        return made
