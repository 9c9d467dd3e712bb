"""A random sample of a release for people to look at: kept rows, and dropped occurrences by stage and reason.

Which ones is a function of the release's digest and the seed, whatever machine, number of buckets or version of Python: a
draw is SHA-256 in counter mode, taken to a number among the population, without replacement.

- kept: uniform over the rows, numbered in the order of their ids.
- dropped: a stratum for each reason, of at least two where it has them, the rest in proportion; in a stratum uniform over its
  occurrences, numbered by (root, path, kind, content, origin). The ledger knows how many of a reason each bucket has, so only
  buckets that are hit are multiplied out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from manifests.names import IDS_FILE
from pipeline.content.shown import escape
from pipeline.errors import ConfigError
from pipeline.explain_detected import detected, licenses
from pipeline.explain_rows import COLUMNS, Rows
from pipeline.explain_words import BY
from pipeline.occurrences import expanded, quoted
from pipeline.records import Record
from pipeline.row_ids import row_id
from pipeline.sources.contents import Contents, Wanted
from pipeline.tables import STAGES, Reason

LEAST = 2  # of a stratum: with one there is nothing to compare it with
DUPLICATES = (Reason.EXACT_DUPLICATE, Reason.NEAR_DUPLICATE)
_UNSEEN = (Reason.OPTED_OUT,)  # their text is nobody's to look at
_CANDIDATES = 5
SHOWN = 100_000  # characters of a text
_FETCHED_BYTES = 4 << 20  # of an object that is fetched for a form


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """The dropped occurrences of one reason, and how many of them are drawn."""

    stage: str
    reason: str
    population: int
    n: int


@dataclass(frozen=True, kw_only=True)
class Item:
    """What one person judges: `facts` to be shown, `text` (None: there is none), and of a duplicate what stands in for it."""

    item: str
    kind: str  # kept | dropped
    id: str
    reason: str | None
    facts: Mapping[str, Any]
    text: str | None
    stand_in: str | None = None


def draw(seed: str, population: int, n: int) -> list[int]:
    """`n` different numbers below `population`, ascending; all of them where there are no more."""
    if n >= population:
        return list(range(population))
    found: set[int] = set()
    counter = 0
    while len(found) < n:
        digest = hashlib.sha256(f"{seed} {counter}".encode()).digest()
        found.add(int.from_bytes(digest[:16], "big") % population)
        counter += 1
    return sorted(found)


def strata(dropped: Mapping[str, int], n: int) -> list[Stratum]:
    """How many of each reason. Raises ConfigError when `n` is too few to have any of each."""
    reasons = {
        reason: (stage, amount)
        for stage, names in STAGES.items()
        for reason, amount in sorted(dropped.items())
        if reason.split(".")[0] in names
    }
    total = sum(amount for _, amount in reasons.values())
    least = {reason: min(LEAST, amount) for reason, (_, amount) in reasons.items()}
    if n < sum(least.values()):
        raise ConfigError(
            f"--dropped {n}: files were dropped for {len(reasons)} reasons, of each of which a few must be looked at;"
            f" give at least {sum(least.values())}"
        )
    taken = dict(least)
    # Largest remainders, never more than there are; ties in the order of the names.
    while (left := min(n, total) - sum(taken.values())) > 0:
        open_ = {
            reason: amount - taken[reason]
            for reason, (_, amount) in reasons.items()
            if amount > taken[reason]
        }
        whole = sum(open_.values())
        shares = {reason: left * amount / whole for reason, amount in open_.items()}
        for reason, share in shares.items():
            taken[reason] += int(share)
        rest = min(n, total) - sum(taken.values())
        for reason in sorted(shares, key=lambda name: (-(shares[name] % 1), name))[:rest]:
            taken[reason] += taken[reason] < reasons[reason][1]
    return [
        Stratum(stage=stage, reason=reason, population=amount, n=taken[reason])
        for reason, (stage, amount) in reasons.items()
    ]


def kept_items(rows: Rows, record: Record, seed: str, n: int) -> Iterator[Item]:
    """Kept rows, as they were released."""
    numbers = draw(f"{rows.release.digest} {seed} kept", rows.release.manifest.totals.kept, n)
    ids = _ids_at(rows, numbers)
    found = rows.of_ids(ids, (*COLUMNS, "content"))
    for number, identity in enumerate(ids, 1):
        row = dict(found[identity])
        text = row.pop("content", None)
        seen = detected(record, row["sha256"], _CANDIDATES)
        facts = {
            "swhid": row["swhid"], "origin": row["origin"], "path": row["path"], "language": row["language"],
            "language told": "; ".join(BY[one["by"]] for one in seen["languages"]),
            "license": row["license_expression"], "evidence": _evidence(row.get("license_evidence") or []),
            "license header of the file": seen["header"],
            "redacted": ", ".join(sorted({one["kind"] for one in row["redactions"]})) or "nothing",
        }  # fmt: skip
        yield Item(item=f"k{number:04d}", kind="kept", id=identity, reason=None, facts=facts, text=_cut(text))


def _ids_at(rows: Rows, numbers: list[int]) -> list[str]:
    """Row ids by their numbers in `ids.parquet`."""
    found, first = [], 0
    with rows.open(IDS_FILE) as file:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            here = [number - first for number in numbers if first <= number < first + size]
            if here:
                column = file.read_row_group(group, columns=["row_id"], use_threads=False)["row_id"]
                found += [column[number].as_py() for number in here]
            first += size
    return found


def dropped_items(
    rows: Rows, record: Record, seed: str, drawn: list[Stratum], archive: Contents | None = None
) -> Iterator[Item]:
    """Dropped occurrences with the evidence of their reason; of an origin that opted out no text is shown.

    What was dropped before its bytes were needed is fetched from `archive`, if it is given.
    """
    digest = rows.release.digest
    wanted = {one.reason: draw(f"{digest} {seed} {one.reason}", one.population, one.n) for one in drawn}
    for number, found in enumerate(_at(record, wanted), 1):
        reason, sha256 = str(found["reason"]), found["sha256"]
        seen = detected(record, sha256, _CANDIDATES) if sha256 and reason not in _UNSEEN else None
        raw: bytes = found["path"]
        license_ = licenses(record, found["root"], [raw.rpartition(b"/")[0]])
        facts = {
            "swhid": found["swhid"], "origin": found["origin"], "path": escape(raw), "kind": found["kind"],
            "stage": found["stage"], "reason": reason, "detail": found["detail"], "bytes": found["length"],
            "language": found["language"], "similarity": found["similarity"], "stand-in": found["stand_in_row_id"],
            "license": license_[0]["expression"] or license_[0]["reason"] if license_ else None,
            "evidence": _evidence(license_[0]["evidence"]) if license_ else None,
            "license header of the file": seen and seen["header"],
            "fails": seen and "; ".join(_failed(one) for one in seen["quality"] or []),
            "findings": seen and "; ".join(f"{one['count']} {one['kind']}" for one in seen["findings"] or []),
        }  # fmt: skip
        place = b"\0".join(
            (found["origin"].encode(errors="surrogateescape"), raw, str(found["sha1_git"]).encode())
        )
        yield Item(
            item=f"d{number:04d}",
            kind="dropped",
            id=hashlib.sha256(place).hexdigest()[:32],
            reason=reason,
            facts=facts,
            text=_cut(_text(record, sha256, _wanted(found), archive)) if seen is not None else None,
            stand_in=_cut(_stand_in(rows, record, found["stand_in"])) if reason in DUPLICATES else None,
        )


def _at(record: Record, wanted: Mapping[str, list[int]]) -> Iterator[dict[str, Any]]:
    """The occurrences of each reason with some numbers, bucket after bucket."""
    before = dict.fromkeys(wanted, 0)
    for bucket, facts in enumerate(record.facts_of("ledger")):
        here = {}
        for reason, numbers in wanted.items():
            size = int(facts["totals"].get(reason, 0))
            first = before[reason]
            here[reason] = [number - first for number in numbers if first <= number < first + size]
            before[reason] += size
        if any(here.values()):
            yield from _numbered(
                record, bucket, {reason: numbers for reason, numbers in here.items() if numbers}
            )


def _numbered(record: Record, bucket: int, wanted: Mapping[str, list[int]]) -> list[dict[str, Any]]:
    reasons = ", ".join(quoted(reason) for reason in wanted)
    hits = " or ".join(
        f"(reason = {quoted(reason)} and n in ({', '.join(map(str, numbers))}))"
        for reason, numbers in wanted.items()
    )
    with duckdb.connect(":memory:") as connection:
        connection.execute("set threads=1; set memory_limit='1GB'")
        for name, table, output in (("l", "ledger", "ledger"), ("p", "index", "places")):
            with record.part(table, output, bucket) as file:
                assert file is not None, (table, bucket)  # the ledger counted rows here
                connection.register(name, file.read(use_threads=False))
        query = f"""
            select * from (
                select *, row_number() over (
                    partition by reason order by root, path, kind, sha1_git, encode(origin)) - 1 as n
                from ({expanded("l", "p", where=f"reason in ({reasons})")}))
            where {hits} order by root, path, kind, sha1_git, encode(origin)
        """
        return list(connection.sql(query).to_arrow_table().to_pylist())


def _wanted(found: Mapping[str, Any]) -> Wanted | None:
    """The object of an occurrence; None where there is none, or it is too large for a form."""
    if found["kind"] != "file" or None in (found["sha1"], found["sha256"], found["length"]):
        return None
    return (
        Wanted(found["sha1"], found["sha256"], found["length"]) if found["length"] <= _FETCHED_BYTES else None
    )


def _text(
    record: Record, sha256: str, wanted: Wanted | None = None, archive: Contents | None = None
) -> str | None:
    """The converted text of a content with all that may be a secret taken out; None where it has none, or was never fetched."""
    from pipeline.content.text import text_of
    from pipeline.shown_text import STRICTEST, safe_texts
    from pipeline.stages.scopes import settings_from

    bodies = record.annotations("bodies", "sha256", sha256)
    if bodies.num_rows:
        body = bodies["body"].combine_chunks().slice(0, 1).cast(pa.large_binary())
    else:
        fetched = archive.fetch(wanted) if archive is not None and wanted is not None else None
        if fetched is None or fetched.body is None:
            return None
        body = pa.array([fetched.body], pa.large_binary())
    form = record.facts["config"]["quality"].get("notebooks", "keep")
    text = text_of(body, form)["text"].combine_chunks()
    if text.null_count:
        return None
    asked = record.facts.get("secrets")
    (safe,) = safe_texts(
        text.cast(pa.large_string()).to_pylist(), settings_from(asked) if asked else STRICTEST
    )
    return safe


def _stand_in(rows: Rows, record: Record, sha256: str | None) -> str | None:
    """The text of what stands in for a duplicate: as released, or, where that was replaced in its turn, redacted."""
    if sha256 is None:
        return None
    kept = rows.of_ids([row_id(sha256)], (*COLUMNS, "content")).get(row_id(sha256))
    return kept["content"] if kept is not None and "content" in kept else _text(record, sha256)


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= SHOWN:
        return text
    return f"{text[:SHOWN]}\n[... cut here: {len(text):,} characters in all]"


def _evidence(evidence: list[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{one['path']} ({one['swhid']}): {one['expression']} by {one['detector']} ({one['rule']})"
        for one in evidence[:_CANDIDATES]
    )


def _failed(one: Mapping[str, Any]) -> str:
    bound = f" above {one['above']}" if "above" in one else f" below {one['below']}" if "below" in one else ""
    return f"{one['rule']}: {one['signal']} is {one['value']}{bound}"
