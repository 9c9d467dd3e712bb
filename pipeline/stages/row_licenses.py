"""The license of a released row: what its own header states, else what holds in its directory; both are told.

license_expression    the header's, where it states terms; else that of the directory
detected_licenses     the ids of both, and of all directories above
license_evidence      the file itself, then what speaks for the directory
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from licensing.expressions import ids
from manifests.schema import EVIDENCE
from pipeline.content.names import escape_paths

_COLUMNS = ("license_type", "license_expression", "detected_licenses", "license_evidence")


def with_headers(rows: pa.Table) -> pa.Table:
    """`rows` with the license columns of their directories put right by `header` and `header_evidence`, where given."""
    stating = pc.is_valid(rows["header"])
    mine = rows.filter(stating)
    if mine.num_rows == 0:
        return rows
    changed = _changed(mine)
    # Rows with a header behind those without, then back to where they were.
    places = pa.concat_arrays([pc.indices_nonzero(pc.invert(stating)), pc.indices_nonzero(stating)])
    both = pa.concat_tables([rows.filter(pc.invert(stating)), changed])
    return both.take(pc.sort_indices(places))


def _changed(rows: pa.Table) -> pa.Table:
    headers = rows["header"].combine_chunks().dictionary_encode()
    found = [ids(header) for header in headers.dictionary.to_pylist()]
    above = rows["detected_licenses"].to_pylist()
    codes = headers.indices.to_pylist()
    paths = escape_paths(rows["path"].combine_chunks().cast(pa.binary())).to_pylist()
    evidence = [
        [{"path": path, "swhid": f"swh:1:cnt:{sha1_git}", **one} for one in own] + list(directory or ())
        for path, sha1_git, own, directory in zip(
            paths,
            rows["sha1_git"].to_pylist(),
            rows["header_evidence"].to_pylist(),
            rows["license_evidence"].to_pylist(),
            strict=True,
        )
    ]
    new = {
        "license_type": rows["header_type"],
        "license_expression": rows["header"],
        "detected_licenses": pa.array(
            [sorted({*found[code], *(more or ())}) for code, more in zip(codes, above, strict=True)],
            pa.list_(pa.string()),
        ),
        "license_evidence": pa.array(evidence, pa.list_(EVIDENCE)),
    }
    for name in _COLUMNS:
        rows = rows.set_column(
            rows.column_names.index(name), rows.schema.field(name), _cast(new[name], rows, name)
        )
    return rows


def _cast(column: pa.Array | pa.ChunkedArray, rows: pa.Table, name: str) -> pa.Array | pa.ChunkedArray:
    return column.cast(rows.schema.field(name).type)
