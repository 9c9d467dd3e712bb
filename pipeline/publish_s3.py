"""A release on S3, where there is no rename: every object goes to its final key, and `manifest.json` comes last.

A prefix without `manifest.json` is no release, whatever else lies there; it is put with `If-None-Match: *`, so that one of
two runs wins. Before the first shard is written the run claims the release, `<out>/<version>.claim/` (pipeline.engine.lock):

- a claim of this work directory is of a run that was killed, since a work directory has one run at a time: the rerun takes
  it over, and goes on where it stopped when it makes the same release, else removes what was written and starts anew;
- a claim of another work directory whose run is alive ends this one;
- one whose run is dead is reported with the remedy: that release is to be finished there, or removed by `pipeline clean`.

Shards are copied from the work directory on the server where both are in one bucket, else through a temporary file, one
by one for each of the few copies in flight: the local disk never holds them all.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manifests.facts import ShardFacts
from manifests.names import MANIFEST
from pipeline.engine.lock import Heir, Held, HeldObject, Holder, hold
from pipeline.engine.progress import Progress
from pipeline.engine.runner import workdir_id
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, SourceError
from pipeline.publish import Parts, address_of, state_of

CLAIM = ".claim"  # end of the prefix of a claim, beside the release
_AT_ONCE = 8  # copies in flight


def publish_objects(parts: Parts, out: Store, version: str, *, workdir: Held) -> tuple[str, str]:
    """Put the release at `out/version` on S3. Returns digest and state (`made`, `identical`).

    `workdir` is the lock of the work directory: asked once more before the manifest, as the claim is.
    """
    place, store, progress = out.sub(version), parts.runner.store, parts.runner.progress
    identity = workdir_id(store)
    with tempfile.TemporaryDirectory(prefix="stackmill-release-") as folder:
        staging = Path(folder, version)
        staging.mkdir()
        made = parts.finish(staging, shards_elsewhere=True)
        if (state := state_of(place, made)) is not None:
            return made, state
        claim = f"{version}{CLAIM}"
        facts = {"workdir": store.uri, "workdir_id": identity, "release": made}
        with hold(
            out,
            claim,
            what=address_of(place),
            note=progress.note,
            facts=facts,
            heir=_heir(place, identity, made),
        ) as held:
            if (state := state_of(place, made)) is None:  # it may have been finished meanwhile
                _put_shards(parts, place, held, progress)
                for file in sorted(path for path in staging.iterdir() if path.name != MANIFEST):
                    place.put(file.name, file.read_bytes())
                workdir.check()
                held.check()
                first = place.put_new(MANIFEST, (staging / MANIFEST).read_bytes())
                state = "made" if first else state_of(place, made)
            held.remove()
    assert state is not None
    return made, state


def _heir(place: Store, identity: str, made: str) -> Heir:
    def inherit(found: Holder) -> bool:
        if found.facts.get("workdir_id") != identity:
            return False
        if found.facts.get("release") != made:
            # Before the claim changes hands: afterwards nobody could tell whose these objects are.
            place.delete(*(entry.key for entry in place.list()))
        return True

    def stale(found: Holder) -> str:
        return (
            f"{address_of(place)} was begun from another work directory, {found.facts.get('workdir')}, and not finished"
            f" ({found.words()}); run the same command there to finish it, or remove what it wrote with"
            f" `pipeline clean --out {place.uri.rsplit('/', 1)[0]} --drop-unfinished`, or give another --version"
        )

    return Heir(inherit=inherit, stale=stale)


def _put_shards(parts: Parts, place: Store, held: HeldObject, progress: Progress) -> None:
    present = {entry.key: entry.size for entry in place.list()}
    if present and held.previous is None:
        raise ConfigError(
            f"{address_of(place)} holds objects, but no release and no claim (first: {min(present)});"
            " remove them, or give another --version or --out"
        )
    described = parts.described()
    # Objects appear whole, and under this claim only those of this very release were written.
    todo = [(shard, key) for shard, key in described if present.get(shard.path) != shard.bytes]

    def copy(one: tuple[ShardFacts, str]) -> ShardFacts:
        place.copy_from(parts.runner.store, one[1], one[0].path)
        return one[0]

    progress.begin("publish", len(described), len(described) - len(todo))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for shard in pool.map(copy, todo):
            progress.unit({"rows_in": shard.rows, "bytes_in": shard.bytes, "counts": {}})
    progress.end()
    sizes = {entry.key: entry.size for entry in place.list()}
    for shard, _ in described:
        if sizes.get(shard.path) != shard.bytes:
            raise SourceError(
                f"{address_of(place)}: {shard.path} has {sizes.get(shard.path)} bytes after it was copied, not"
                f" {shard.bytes}; run the release again"
            )
