"""A recorded license decision, taken once more from the bytes of the evidence alone.

Of the record only these are used: which files are evidence, where they lie, and where their bytes are. The bytes are read
from the store of bodies by the SWHID that stands in the evidence and held against it; then the detectors run again, the
place is attributed again, and the policy that was kept with the release decides again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from licensing.attribution import DIRECTORIES, EVIDENCE_FILES, attribute_directories
from licensing.decisions import Decisions
from licensing.evidence import DETECTIONS, detect_batch
from licensing.headers import HEADER_BYTES, Header, answered, ask, read_header
from licensing.known import KnownTexts
from licensing.names import detection_class, split
from licensing.path_statements import STATING, base_of, place_files
from licensing.policy import Policy
from licensing.scancode import ScanCode
from pipeline.content.decode import decode_batch
from pipeline.engine import inputs
from pipeline.errors import ConfigError, IntegrityError
from pipeline.records import Record

COMPARED = (
    "license_expression",
    "permitted",
    "sub_reason",
    "license_type",
    "detected_licenses",
    "license_evidence",
)
"""What of an attribution must come out again."""


@dataclass(frozen=True)
class File:
    """One file of the evidence, as it was recorded and as it came out again."""

    recorded: Mapping[str, Any]
    """A row of attribution.EVIDENCE_FILES."""
    again: Mapping[str, Any]
    body: bytes | None = field(repr=False)
    """None: its bytes were not read, then as now."""

    @property
    def same(self) -> bool:
        """Whether the same was detected."""
        return all(self.recorded[name] == self.again[name] for name in DETECTIONS.names)


class Replay:
    """Decisions of one release, from its work directory. `policy`: another policy file than the one of the release."""

    def __init__(self, record: Record, policy: Path | None = None) -> None:
        self._record = record
        self._scancode = ScanCode() if record.facts["config"]["licenses"]["scancode"] else None
        licenses = record.facts["config"]["licenses"]
        self._headers = str(licenses.get("headers", "tags"))
        self._known = None if self._headers == "tags" else KnownTexts.load()
        self._decisions = _kept_decisions(record)
        self.recorded_policy = str(record.facts["policies"]["license"])
        self.policy = Policy.load(policy) if policy is not None else _kept_policy(record)
        self._files: dict[tuple[str, bytes], tuple[bytes | None, dict[str, Any]]] = {}

    @property
    def same_policy(self) -> bool:
        """Whether the policy is the one that the release names."""
        return self.policy.digest == self.recorded_policy

    def recorded_evidence(self, root: str) -> pa.Table:
        """The files of evidence of a root (EVIDENCE_FILES) as the release recorded them."""
        try:
            return self._record.rows("attributions", "evidence", "root", root)
        except KeyError:
            raise ConfigError(
                f"release {self._record.version} was made by an earlier version of this program, which did not keep the files"
                " of its evidence; make a release with this one"
            ) from None

    def recorded_attribution(self, root: str, place: bytes) -> dict[str, Any] | None:
        """The row of attribution.ATTRIBUTIONS of a place, as the release recorded it."""
        rows = self._record.rows("attributions", "attributions", "root", root)
        for row in rows.filter(pc.equal(rows["dir"], pa.scalar(place, pa.binary()))).to_pylist():
            return dict(row)
        return None

    def detect(self, evidence: pa.Table) -> list[File]:
        """Run the detectors again over the bytes of recorded evidence."""
        return [self._detect(row) for row in evidence.to_pylist()]

    def _detect(self, row: dict[str, Any]) -> File:
        name = detection_class(pa.array([row["path"].rpartition(b"/")[2]], pa.binary()))[0].as_py()
        key = (row["sha1_git"], name)
        if key not in self._files:
            body = self.body(row["sha1_git"])
            found: dict[str, Any] = {"expression": None, "detections": []}
            if body is not None:
                table = detect_batch(
                    pa.array([name]), pa.array([body], pa.large_binary()), scancode=self._scancode
                )
                found = self._decided(body, table)
            self._files[key] = (body, found)
        body, found = self._files[key]
        return File(row, {**row, **found}, body)

    def body(self, sha1_git: str) -> bytes | None:
        """The bytes of a content, held against its id; None when the work directory does not have them."""
        contents = self._record.rows("contents", "contents", "sha1_git", sha1_git, ["sha256"])
        for sha256 in sorted({one for one in contents["sha256"].to_pylist() if one is not None}):
            rows = self._record.annotations("bodies", "sha256", sha256)
            if rows.num_rows == 0:
                continue
            body: bytes = rows["body"][0].as_py()
            if _blob(body) != sha1_git:
                raise IntegrityError(
                    f"{self._record.store.uri}: the bytes of swh:1:cnt:{sha1_git} in the store of bodies are others"
                )
            return body
        return None

    def bodies(self, contents: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
        """The bytes of many contents (sha256 -> sha1_git), each once, held against both; in the order of the store.

        A piece of the store is read once for all that lies in it.
        """
        folder = next(f for f in self._record.facts["uses"] if f.startswith("annotations/bodies/"))
        store, left = self._record.store, set(contents)
        for bucket in sorted({self._record.bucket(sha256) for sha256 in contents}):
            for entry in store.list(f"{folder}/{bucket:04x}"):
                if not entry.key.endswith(".parquet"):
                    continue
                with store.parquet(entry.key) as file:
                    for group in range(file.num_row_groups):
                        ids = file.read_row_group(group, columns=["sha256"], use_threads=False)["sha256"]
                        mask = pc.is_in(ids, value_set=pa.array(sorted(left), pa.string()))
                        if not pc.any(mask).as_py():
                            continue
                        table = file.read_row_group(group, use_threads=False).filter(mask)
                        for sha256, body in zip(table["sha256"].to_pylist(), table["body"], strict=True):
                            if sha256 in left:
                                left.remove(sha256)
                                data: bytes = body.as_py()
                                if (
                                    hashlib.sha256(data).hexdigest() != sha256
                                    or _blob(data) != contents[sha256]
                                ):
                                    raise IntegrityError(
                                        f"{store.uri}: other bytes than those of {sha256} in the store of bodies"
                                    )
                                yield sha256, data

    def attribute(
        self, root: str, files: Sequence[File], places: Iterable[bytes]
    ) -> dict[bytes, dict[str, Any]]:
        """The rows of ATTRIBUTIONS of some places of a root, decided again from these files."""
        asked = list(places)
        again = [dict(one.again) for one in files]
        paths = [place[1:] for place in asked if place.startswith(b"/")]
        table = pa.table(
            {
                "root": pa.array([root] * len(paths), pa.string()),
                "directory": pa.array([path.rpartition(b"/")[0] for path in paths], pa.binary()),
                "path": pa.array(paths, pa.binary()),
            }
        )
        _, evidence = place_files(table, pa.Table.from_pylist(again, schema=EVIDENCE_FILES))
        directories = pa.table({"root": [root] * len(asked), "dir": asked}, schema=DIRECTORIES)
        rows = attribute_directories(directories, evidence, self.policy).to_pylist()
        return dict(zip(asked, rows, strict=True))

    def header(self, body: bytes) -> tuple[Header, Header]:
        """What a source file states of itself, detected again: before and after ScanCode was asked for what is left."""
        text = decode_batch(pa.array([body], pa.large_binary()))["text"][0].as_py() or b""
        first = read_header(text[:HEADER_BYTES], self._known)
        if first.notice is None or self._headers != "full" or self._scancode is None:
            return first, first
        (answer,) = ask([first.notice], self._scancode)
        return first, answered(first, answer)

    def _decided(self, body: bytes, found: pa.Table) -> dict[str, Any]:
        """What was detected in a file, or what a reviewer decided in its place."""
        sha256 = pa.chunked_array([[hashlib.sha256(body).hexdigest()]], pa.string())
        said = self._decisions.apply(sha256, found)
        return dict(zip(DETECTIONS.names, (column[0].as_py() for column in said.columns), strict=True))

    def stated(self, body: bytes) -> str | None:
        """The expression of a file's header in the end; a reviewer's decision on the bytes comes first."""
        header = self.header(body)[1]
        one = {"expression": header.expression, "detections": [asdict(d) for d in header.detections]}
        found = self._decided(body, pa.Table.from_pylist([one], schema=DETECTIONS))
        expression: str | None = found["expression"]
        return expression


def place_in(root: str, path: bytes, evidence: pa.Table) -> bytes:
    """Where the license of a file is asked for, by what the evidence of its root states of paths."""
    files = pa.table(
        {
            "root": pa.array([root], pa.string()),
            "directory": pa.array([path.rpartition(b"/")[0]], pa.binary()),
            "path": pa.array([path], pa.binary()),
        }
    )
    places, _ = place_files(files, evidence)
    place: bytes = places[0].as_py()
    return place


def relevant(evidence: pa.Table, place: bytes) -> pa.Table:
    """The evidence that can bear on a place: what lies in a directory above it, or speaks for one."""
    parts = split(place)
    above = {b"/".join(parts[:n]) for n in range(len(parts) + 1)}
    paths = evidence["path"].combine_chunks().cast(pa.binary())
    stating = pc.match_substring_regex(paths, STATING).to_pylist()
    mask = [
        directory in above or (states and base_of(path) in above)
        for directory, path, states in zip(
            evidence["dir"].to_pylist(), paths.to_pylist(), stating, strict=True
        )
    ]
    return evidence.filter(pa.array(mask, pa.bool_()))


def differences(recorded: Mapping[str, Any] | None, again: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What of a decision came out otherwise: name, recorded value, value now."""
    if recorded is None:
        return [{"what": "attribution", "recorded": None, "now": again["sub_reason"]}]
    return [
        {"what": name, "recorded": recorded[name], "now": again[name]}
        for name in COMPARED
        if name in recorded and recorded[name] != again[name]
    ]


def _kept_policy(record: Record) -> Policy:
    key = record.facts.get("license_policy")
    if key is None:
        return Policy.load()
    with tempfile.TemporaryDirectory(prefix="stackmill-policy-") as folder:
        return Policy.load(inputs.kept(record.store, key, Path(folder)))


def _kept_decisions(record: Record) -> Decisions:
    key = record.facts.get("license_decisions")
    if key is None:
        return Decisions.load(None)
    with tempfile.TemporaryDirectory(prefix="stackmill-decisions-") as folder:
        return Decisions.load(inputs.kept(record.store, key, Path(folder)))


def _blob(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\x00" % len(body) + body, usedforsecurity=False).hexdigest()
