"""Which rows of a source are taken: licenses, vendored and generated files, ranges of numbers.

A row must pass every filter that is given. A row is left out by the first that it does not pass, in the order of
`FilterConfig`; each has a reason of its own, and all are counted:

    filters.licenses, filters.exclude_licenses, filters.vendored, filters.generated, filters.ranges.COLUMN

A row of which the thing asked is not known (no license expression, no number) does not pass; one of which it is not known
whether it is vendored or generated does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from training.config import FilterConfig
from training.corpus import licenses
from training.corpus.sources import hint
from training.errors import TrainingConfigError


def columns(filters: FilterConfig) -> list[str]:
    """The columns that the filters look at."""
    found = ["license_expression"] if filters.licenses or filters.exclude_licenses else []
    found += ["is_vendor"] if filters.vendored == "drop" else []
    found += ["is_generated"] if filters.generated == "drop" else []
    return found + sorted(filters.ranges)


def check_ranges(name: str, filters: FilterConfig, known: Sequence[str]) -> None:
    """Refuse a range over a column that the source `name` does not have.

    Raises:
        TrainingConfigError: names the column, and the one that was probably meant.
    """
    for column in filters.ranges:
        if column not in known:
            raise TrainingConfigError(
                f"filters.ranges: source {name!r} has no numeric column {column!r}{hint(column, known)} "
                f"(it has: {', '.join(known) or 'none'})"
            )


def left_out(table: pa.Table, filters: FilterConfig) -> Iterator[tuple[str, np.ndarray]]:
    """(reason, bool per row: this filter does not let it pass), in order.

    Raises:
        TrainingConfigError: a license that is neither known to SPDX nor named by any row.
    """
    if filters.licenses or filters.exclude_licenses:
        encoded = table["license_expression"].combine_chunks().dictionary_encode()
        distinct = [text or "" for text in encoded.dictionary.to_pylist()]
        row = encoded.indices.fill_null(len(distinct)).to_numpy()
        distinct.append("")  # of a row without an expression
        _check_ids((*(filters.licenses or ()), *(filters.exclude_licenses or ())), distinct)
        tests: list[tuple[str, tuple[str, ...] | None, Callable[[str, frozenset[str]], bool]]] = [
            ("filters.licenses", filters.licenses, licenses.can_be_met),
            ("filters.exclude_licenses", filters.exclude_licenses, licenses.can_be_met_without),
        ]
        for reason, given, passes in tests:
            if given:
                names = frozenset(" ".join(name.lower().split()) for name in given)
                passed = np.array([passes(text, names) for text in distinct], dtype=bool)
                yield reason, ~passed[row]
    for column, setting in (("is_vendor", filters.vendored), ("is_generated", filters.generated)):
        if setting == "drop":
            yield f"filters.{setting_name(column)}", table[column].fill_null(False).to_numpy()
    for column in sorted(filters.ranges):
        least, most = filters.ranges[column]
        values = table[column].to_numpy().astype(np.float64)  # null becomes NaN, which is in no range
        inside = ~np.isnan(values)
        if least is not None:
            inside &= values >= least
        if most is not None:
            inside &= values <= most
        yield f"filters.ranges.{column}", ~inside


def setting_name(column: str) -> str:
    """The key of `FilterConfig` that a boolean column belongs to."""
    return {"is_vendor": "vendored", "is_generated": "generated"}[column]


def _check_ids(given: Sequence[str], expressions: Sequence[str]) -> None:
    """Refuse a misspelt license, and what is not one: a filter that never applies would say nothing."""
    for name in given:
        if len(words := name.split()) > 1 and (len(words) != 3 or words[1].upper() != "WITH"):
            raise TrainingConfigError(
                f"filters: {name!r} is not one license; give ids such as MIT, or GPL-2.0-only WITH Classpath-exception-2.0"
            )
    known = {name.lower(): name for text in expressions for name in licenses.ids(text)}
    wanted = [part for name in given for part in licenses.ids(name)] + [
        name for name in given if not any(licenses.ids(name))
    ]
    if all(name.lower() in known for name in wanted):
        return
    from license_expression import get_license_index

    for entry in get_license_index():
        for name in (entry.get("spdx_license_key"), *entry.get("other_spdx_license_keys", ())):
            if name:
                known.setdefault(name.lower(), name)
    for name in wanted:
        if name.lower() not in known:
            raise TrainingConfigError(
                f"filters: {name!r} is no SPDX license, and no row has it{hint(name, list(known.values()))}"
            )
