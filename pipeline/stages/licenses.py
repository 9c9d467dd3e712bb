"""Wave W1: license-like files -> evidence -> attribution to directories -> which files may be used.

Most license files are known texts: those are recognised first, in the workers of every stage. For the rest ScanCode is
run in few processes of its own, each of which loads the index once, and only if there is a rest. The answers are kept
per (content, manifest name) and never asked for again. Attribution is a function of a root's evidence, computed per directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from licensing.attribution import ATTRIBUTIONS, EVIDENCE_FILES, attribute_directories
from licensing.decisions import Decisions
from licensing.evidence import DETECTIONS, detect_batch, known_batch
from licensing.links import followed
from licensing.path_statements import place_files
from licensing.policy import Policy
from licensing.scancode import ScanCode
from licensing.selection import takes
from pipeline.engine.annotations import Annotator, require_all
from pipeline.engine.measure import phase
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task, as_path
from pipeline.stages.fetch import BODIES_OF
from pipeline.tables import DROPPED, SURVIVORS, WANTED_LICENSES, Reason

DETECTED = pa.schema([("sha256", pa.string()), ("name", pa.binary()), *DETECTIONS])
_PLACE = ("root", "path", "directory", "name", "sha1_git", "sha256")
EVIDENCE = pa.schema([*(WANTED_LICENSES.field(name) for name in _PLACE), *DETECTIONS])
_MAX_GROUP = 16  # buckets of one unit, if these are worth loading the index: on a cluster they spread
WORTH_LOADING = 60  # texts that no table knows, at about 50 ms each: half of what loading the index takes
_SEGMENT = 64  # license files per segment: ScanCode takes up to seconds for one


DETECTIONS_OF = Annotator(
    name="licenses",
    ids=("sha256", "name"),
    schema=DETECTED,
    modules=("licensing.evidence", "licensing.scancode"),
    functions=("pipeline.stages.licenses:detect", "pipeline.stages.licenses:recognise"),
    libraries=("scancode-toolkit-mini", "license-expression"),
)


def recognise(task: Task) -> Mapping[str, pa.Table]:
    """Keep the answers that do not need ScanCode's index; the others are counted as `left`."""
    store = DETECTIONS_OF.open(task)
    for piece, names, contents in _segments(task, task.bucket):
        found, decided = known_batch(names, contents, scancode=ScanCode())
        rows = pa.table([piece["sha256"], piece["name"], *found.columns], names=DETECTED.names)
        store.append(rows.filter(decided))
        task.count("detected", pc.sum(decided).as_py() or 0)
        task.count("left", pc.sum(pc.invert(decided)).as_py() or 0)
    store.compact()
    return {}


def detect(task: Task) -> Mapping[str, pa.Table]:
    """Detect licenses in the files of some buckets that the store has no answer for."""
    scancode = None
    for bucket in task.item["buckets"]:
        store = DETECTIONS_OF.open(task, bucket)
        for piece, names, contents in _segments(task, bucket):
            if task.config["scancode"] and scancode is None:
                scancode = ScanCode()
                with phase("load"):
                    scancode.load()
            found = detect_batch(names, contents, scancode=scancode)
            store.append(pa.table([piece["sha256"], piece["name"], *found.columns], names=DETECTED.names))
            task.count("detected", piece.num_rows)
        store.compact()
    return {}


def _segments(task: Task, bucket: int) -> Iterator[tuple[pa.Table, pa.Array, pa.Array]]:
    """Of a bucket's files that the store has no answer for: ids, names and bodies, a segment at a time."""
    wanted = task.sql(
        "select distinct w.sha256, w.name from w join s using (sha256) where s.status = 'ok' order by all",
        w=task.read_bucket("wanted", bucket, columns=["sha256", "name"]),
        s=task.read_bucket("status", bucket),
    )
    missing = DETECTIONS_OF.open(task, bucket).missing(wanted)
    if missing.num_rows == 0:
        return
    bodies = BODIES_OF.open(task, bucket).read(wanted=missing.select(["sha256"]))
    rows = task.sql(
        "select m.sha256, m.name, b.body from m join b using (sha256) order by sha256, name",
        m=missing,
        b=bodies,
    )
    for start in range(0, rows.num_rows, _SEGMENT):
        piece = rows.slice(start, _SEGMENT).combine_chunks()
        names, contents = (piece[c].combine_chunks() for c in ("name", "body"))
        task.bytes_in += pc.sum(pc.binary_length(contents)).as_py() or 0
        yield piece, names.cast(pa.binary()), contents.cast(pa.large_binary())


def evidence(task: Task) -> Mapping[str, pa.Table]:
    """Every place of a license-like file with what was detected in it, routed to its root.

    A file without a detection, or whose bytes could not be had, stays, with a null expression: the attribution must know
    that a license file is there which nobody could read. What a reviewer decided on a content stands in place of what was
    detected in it.
    """
    wanted, status = task.read("wanted"), task.read("status")
    had = task.sql("select w.* from w join s using (sha256) where s.status = 'ok'", w=wanted, s=status)
    found = DETECTIONS_OF.open(task).read(wanted=had)
    names = ", ".join(f"d.{name}" for name in DETECTIONS.names)
    rows = task.sql(
        f"""
        select w.root, w.path, w.directory, w.name, w.sha1_git, w.sha256, {names}, d.sha256 is not null as seen
        from w left join d using (sha256, name)
        """,
        w=wanted,
        d=found,
    )
    require_all("licenses", had.num_rows, pc.sum(rows["seen"]).as_py() or 0)
    decisions = Decisions.load(task.kept("decisions"))
    task.facts["decided"] = decisions.used(rows["sha256"])
    said = decisions.apply(rows["sha256"], rows.select(DETECTIONS.names))
    return {
        "rows": pa.table(
            {
                **{name: rows[name] for name in _PLACE},
                **dict(zip(DETECTIONS.names, said.columns, strict=True)),
            }
        )
    }


def attribute(task: Task) -> Mapping[str, pa.Table]:
    """The license of every directory that holds candidates; files without a permitted one leave the flow."""
    policy = Policy.load(task.kept("policy"))
    roots = task.read("roots")
    files = task.sql(
        "select f.* from f join r on r.root = f.root and r.opted_out < r.origins where f.reason is null",
        f=task.read("files"),
        r=roots,
    )
    evidence_rows = task.read("evidence").rename_columns({"directory": "dir"}).select(EVIDENCE_FILES.names)
    evidence_rows = followed(evidence_rows.cast(EVIDENCE_FILES), task.read("unread"))
    places, found = place_files(files, evidence_rows)
    # From here on the directory of a file is where its license is asked for; a file of which something is stated by its
    # name is a place of its own.
    files = files.set_column(files.schema.get_field_index("directory"), "directory", places)
    directories = task.sql("select distinct root, directory as dir from f", f=files)
    attributed = attribute_directories(directories, found, policy)
    rows = task.sql(
        """
        select f.*, a.permitted, a.sub_reason, a.license_expression, a.taken
        from f join a on a.root = f.root and a.dir = f.directory
        """,
        f=files,
        a=_taken(attributed, task.config["selected"], policy),
    )
    # What the header of a file may permit is decided when its body has been read.
    left = "permitted and not taken" if task.config["header_grants"] else "not (permitted and taken)"
    dropped = task.sql(
        f"""
        select root, path, sha1_git,
            case when permitted then '{Reason.LICENSE_NOT_SELECTED}' else '{Reason.LICENSE}' end as reason,
            case when permitted then license_expression else sub_reason end as detail,
            null::varchar as stand_in, null::varchar as similarity, null::varchar as language
        from t where {left}
        """,
        t=rows,
    )
    survivors = task.sql(
        f"""
        select t.root, t.path, t.directory, t.name_class, t.sha1_git, t.sha1, t.sha256, t.blake2s256, t.length, t.is_vendor,
            r.origins - r.opted_out as origins, r.is_fork, r.stars, r.forks, r.revision_date,
            t.components as path_components, r.origin, case when not t.permitted then t.sub_reason end as refusal
        from t join r using (root) where not ({left})
        """,
        t=_with_components(rows),
        r=roots,
    )
    for item in pc.value_counts(dropped["reason"]).to_pylist():
        task.count(f"dropped.{item['values']}", item["counts"])
    return {
        "attributions": attributed,
        "evidence": evidence_rows,
        "dropped": dropped,
        "survivors": survivors,
    }


def _taken(attributed: pa.Table, selected: list[str], policy: Policy) -> pa.Table:
    """The attributions, and whether `select.licenses` takes each."""
    expressions = attributed["license_expression"].combine_chunks().dictionary_encode()
    verdicts = [
        not selected or takes(selected, value, policy) for value in expressions.dictionary.to_pylist()
    ]
    taken = pc.fill_null(pa.array(verdicts, pa.bool_()).take(expressions.indices), not selected)
    names = ["root", "dir", "permitted", "sub_reason", "license_expression"]
    return attributed.select(names).append_column("taken", taken)


def _with_components(rows: pa.Table) -> pa.Table:
    slashes = pc.count_substring(rows["path"], pattern=b"/")
    return rows.append_column("components", pc.add(slashes.cast(pa.int32()), pa.scalar(1, pa.int32())))


def license_wave(
    runner: Runner,
    files: Done,
    roots: Done,
    fetched: Done,
    *,
    scancode: bool,
    processes: int,
    policy: str | None,
    decisions: str | None = None,
    selected: tuple[str, ...] = (),
    header_grants: bool = False,
) -> tuple[Done, Done]:
    """Run wave W1 on fetched license-like files. Returns the stage with attributions, drops and survivors, and the one
    with the evidence.
    """
    wanted = files.ref("licenses")
    stores = {"bodies": BODIES_OF.key(), "licenses": DETECTIONS_OF.key(scancode=scancode)}
    inputs: dict[str, Ref] = {"wanted": wanted, "status": fetched.ref("status")}
    left = dict.fromkeys(range(runner.buckets), WORTH_LOADING)
    if scancode:
        recognised = runner.run(
            Stage(
                name="licenses.known",
                run=recognise,
                inputs=inputs,
                outputs={},
                config={"stores": stores},
                libraries=("duckdb", "pyarrow", "scancode-toolkit-mini", "license-expression"),
            )
        )
        if not recognised.planned:
            units = recognised.summary["units"]
            left = {int(unit, 16): done["counts"].get("left", 0) for unit, done in units.items()}
    of_units = groups(left, processes)
    if of_units:
        runner.run(
            Stage(
                name="licenses.detect",
                run=detect,
                inputs=inputs,
                outputs={},
                units=tuple({"unit": f"{g[0]:04x}-{g[-1]:04x}", "buckets": g} for g in of_units),
                config={"scancode": scancode, "stores": stores},
                extra={"processes": processes},
                libraries=("scancode-toolkit-mini", "license-expression"),
                heavy=scancode,
            )
        )
    found = runner.run(
        Stage(
            name="licenses.evidence",
            run=evidence,
            inputs=inputs,
            outputs={"rows": Output(schema=EVIDENCE, order=("root", "path", "sha1_git"), route="root")},
            config={"stores": stores, "decisions": Decisions.load(as_path(decisions)).digest},
            extra={"decisions": runner.keep(decisions)},
        )
    )
    attributed = runner.run(
        Stage(
            name="licenses.attribute",
            run=attribute,
            inputs={
                "files": files.ref("files"),
                "unread": files.ref("unread"),
                "roots": roots.ref("roots"),
                "evidence": found.ref("rows"),
            },
            outputs={
                "attributions": Output(schema=ATTRIBUTIONS, order=("root", "dir")),
                # In the bucket of its root, for `pipeline license explain`.
                "evidence": Output(schema=EVIDENCE_FILES, order=("root", "path", "sha1_git")),
                "dropped": Output(schema=DROPPED, order=("root", "path", "sha1_git")),
                "survivors": Output(schema=SURVIVORS, order=("sha256", "root", "path"), route="sha256"),
            },
            config={
                "policy": Policy.load(as_path(policy)).digest,
                "selected": list(selected),
                "header_grants": header_grants,
            },
            extra={"policy": runner.keep(policy)},
            libraries=("duckdb", "pyarrow", "license-expression"),
        )
    )
    return attributed, found


def groups(left: Mapping[int, int], processes: int, worth: int = WORTH_LOADING) -> list[list[int]]:
    """The buckets with files left, in groups that are worth a process; `left`: bucket -> its files; `worth`: files
    that are worth loading the index.

    A group ends when it has its share of the files for so many processes, but not with fewer than are worth loading the
    index for; with so many it ends at `_MAX_GROUP` buckets.
    """
    share = max(worth, -(-sum(left.values()) // processes))
    found: list[list[int]] = []
    held = 0
    for bucket in sorted(bucket for bucket, files in left.items() if files):
        # A bucket is on the side where more of it fits.
        full = held + left[bucket] // 2 >= share or (found and len(found[-1]) >= _MAX_GROUP)
        if not found or (full and held >= worth):
            found.append([])
            held = 0
        found[-1].append(bucket)
        held += left[bucket]
    return found
