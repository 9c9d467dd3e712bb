"""What a finished archive says of itself: the marker `archive.json` that is written with its tables, last."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.tables import GRAPH

MARKER = "archive.json"

FORMAT_VERSION = 1
"""Version of the marker and of the layout it stands for."""


@dataclass(frozen=True, kw_only=True)
class ArchiveSummary:
    """What an archive holds. `tables` (Parquet) and `orc_tables` are name -> {rows, bytes, sha256}, empty for a form that was
    not written; `left_out` is reason -> files.
    """

    archive: str
    export: str
    origins: int
    files: int  # in the trees; a content counts wherever it lies, a folder that branches share once
    contents: int
    content_bytes: int  # of the unique contents, uncompressed
    left_out: dict[str, int] = field(default_factory=dict)
    tables: dict[str, dict[str, int | str]] = field(default_factory=dict)
    orc_tables: dict[str, dict[str, int | str]] = field(default_factory=dict)
    inputs_digest: str = ""
    reused: bool = False

    @property
    def forms(self) -> dict[str, dict[str, dict[str, int | str]]]:
        """The forms that the tables were written in, with what is known of each table."""
        found = {"parquet": self.tables, "orc": self.orc_tables}
        return {form: tables for form, tables in found.items() if tables}

    def to_json(self) -> dict[str, Any]:
        """Plain values with stable keys."""
        return asdict(self)


def marker_text(summary: ArchiveSummary) -> str:
    """The text of the marker: all of the summary but where the archive is and how it was come by."""
    marker = {k: v for k, v in summary.to_json().items() if k not in ("archive", "reused")}
    return json.dumps(marker | {"format_version": FORMAT_VERSION}, indent=1, sort_keys=True) + "\n"


def read_summary(archive: Path, export: str = "local") -> ArchiveSummary | None:
    """The summary of a finished export, or None when there is none that this version wrote and that is whole.

    Whole: the tables have their sizes and there are no fewer objects than contents. Bytes are not read.
    """
    folder = archive / "graph" / export
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if marker.pop("format_version", None) == FORMAT_VERSION:
            summary = ArchiveSummary(archive=str(archive), **marker)
            if (
                all(_whole(folder, form, summary.forms[form]) for form in summary.forms)
                and summary.forms
                and sum(1 for _ in (archive / "content").iterdir()) >= summary.contents
            ):
                return summary
    return None


def _whole(folder: Path, form: str, tables: Mapping[str, Mapping[str, int | str]]) -> bool:
    sizes = {name: table_path(folder, name, form).stat().st_size for name in GRAPH}
    return sizes == {name: table["bytes"] for name, table in tables.items()}


def table_path(export_folder: Path, table: str, form: str = "parquet") -> Path:
    """The file of one table; a table is one file here, many in public exports."""
    return export_folder / form / table / f"{table}-00000.{form}"
