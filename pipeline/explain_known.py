"""Look-ups in the tables of a finished release, each by one id; see `pipeline.stages.index`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.shown import escape
from pipeline.engine.point import scalar
from pipeline.explain_rows import Rows
from pipeline.records import Record
from pipeline.row_ids import row_id

_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Content:
    """A content by its hashes, as the graph has them."""

    sha1_git: str
    sha256: str | None
    sha1: str | None
    length: int | None = None

    def told(self) -> dict[str, Any]:
        """The same for a story."""
        return {"swhid": f"swh:1:cnt:{self.sha1_git}", **vars(self)}


@dataclass(frozen=True)
class Known:
    """Look-ups in the tables of a finished release."""

    record: Record
    rows: Rows

    def content(self, kind: str, value: str) -> Content | None:
        """The content that an id means."""
        if kind == "row":
            row = self.rows.of_ids([value])
            if not row:
                return None
            kind, value = "sha256", row[value]["sha256"]
        if kind == "sha1":
            value = self._git("by_sha1", "sha1", value)
        elif kind == "sha256":
            value = self._git("by_sha256", "sha256", value) or self._of_text(value)
        found = self.record.rows("contents", "contents", "sha1_git", value) if value else pa.table({})
        if found.num_rows == 0:
            return None
        one = found.slice(0, 1).to_pylist()[0]
        return Content(one["sha1_git"], one["sha256"], one["sha1"])

    def _git(self, output: str, column: str, value: str) -> str:
        """The sha1_git of a content by another hash; '' for none."""
        found = self.record.rows("index", output, column, value)
        return str(found["sha1_git"][0].as_py()) if found.num_rows else ""

    def _of_text(self, content_sha256: str) -> str:
        """The sha1_git of the content with a released text: of the one that is kept, where several have it."""
        texts = self.record.rows("index", "by_text", "content_sha256", content_sha256)["sha256"].to_pylist()
        kept = self.rows.places_of(row_id(one) for one in texts)
        sha256 = next((one for one in texts if row_id(one) in kept), next(iter(texts), None))
        return "" if sha256 is None else self._git("by_sha256", "sha256", sha256)

    def fates(self, sha256: str) -> list[dict[str, Any]]:
        """What stands in for a content."""
        return list(self.record.rows("index", "by_sha256", "sha256", sha256).to_pylist())

    def places(self, root: str, origin: str | None = None) -> pa.Table:
        """The origins of a root, or one of them."""
        table = self.record.rows("index", "places", "root", root)
        return table if origin is None else table.filter(pc.equal(table["origin_id"], scalar(origin)))

    def origins_at(self, kind: str, value: str) -> list[str]:
        """URLs of the origins with a root directory, revision or snapshot; those that speak for their root first."""
        if kind == "root":
            table = self.record.rows("index", "places", "root", value, ["origin", "speaks"])
            return [
                one["origin"]
                for one in sorted(table.to_pylist(), key=lambda one: (not one["speaks"], one["origin"]))
            ]
        table = self.record.rows("index", "names", "id", value)
        return sorted({one["origin"] for one in table.to_pylist() if one["kind"] == kind})

    def earliest(self, sha1_git: str) -> dict[str, Any] | None:
        """Where the archive has the content first, whatever became of that occurrence; None for what is no file."""
        known = self.record.rows("earliest", "contents", "sha1_git", sha1_git).to_pylist()
        if not known:
            return None
        one = known[0]
        return {
            "revision_date": shown_date(one["revision_date"]),
            "origin": one["origin"],
            "path": escape(one["path"]),
        }

    def told_origin(self, one: Mapping[str, Any]) -> dict[str, Any]:
        """A row of the origin ledger."""
        network = self.record.rows("networks", "networks", "network", one["network"]).to_pylist()
        return {
            "url": one["origin"],
            "resolved": one["reason"] is None,
            "reason": one["reason"],
            "opted_out": one["opted_out"],
            "snapshot": one["snapshot"],
            "branch": escape(one["branch"]) if one["branch"] is not None else None,
            "revision": one["revision"],
            "revision_date": shown_date(one["revision_date"]),
            "root": one["directory"],
            "visit_date": one["visit_date"].isoformat() if one["visit_date"] is not None else None,
            "fork_of": one["fork_of"],
            "network": {"id": one["network"], "origins": network[0]["origins"] if network else 1},
        }


def shown_date(microseconds: int | None) -> str | None:
    """A date of the archive, in ISO form; None for one that is unknown or beyond the calendar."""
    if microseconds is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return None
