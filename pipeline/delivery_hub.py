"""A release to a dataset repository of the Hugging Face Hub: large files first, then one commit, then the tag of the version.

Large files are uploaded by their SHA-256 before the commit that names them: no reader sees them, and a rerun finds them
there. The commit replaces the release before it on the branch, in one step, and only if the branch is still at the commit
that was compared with; then the tree of that commit is held against the release, and the tag is set. Earlier releases stay
reachable by their tags, until you remove them: see docs/publish.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifests.errors import ManifestError
from manifests.manifest import Manifest
from manifests.names import CARD, MANIFEST, UNLISTED
from manifests.versions import Version
from pipeline.delivery import SIGNATURES, Delivery, LocalFile, LocalRelease, Target, Watch, other_release
from pipeline.errors import ConfigError, IntegrityError
from pipeline.hub import Hub, NoRepositoryError, NoRevisionError, Remote
from pipeline.publish import sha256_of

OURS = frozenset({".gitattributes"})
"""Files of the Hub's own that stay beside a release."""

_BATCH_FILES, _BATCH_BYTES = 64, 4 << 30
"""Files that are uploaded between two reports of progress, at most."""

MAX_OPERATIONS = 20_000
"""Files of one commit: the Hub takes 25,000 large ones."""


def publish_to_hub(
    release: LocalRelease,
    target: Target,
    hub: Hub,
    *,
    watch: Watch,
    dry_run: bool,
    create: bool,
    threads: int,
) -> Delivery:
    """Publish to `target`; see the module's words."""
    version = release.manifest.version
    delivery = Delivery(target.address, version, release.digest)
    tags, head = _find(hub, target, dry_run=dry_run, create=create)
    tagged = tags.get(version)
    if tagged is not None:
        there = sha256_of(hub.read(MANIFEST, tagged))
        if there != release.digest:
            raise other_release(target.address, version, there, release.digest)
    tree = hub.tree(head) if head is not None else {}
    before = _release_there(hub, tree, head, target.address)
    if tagged is not None and (before is None or sha256_of(before.to_bytes()) != release.digest):
        # The branch has moved on; the release is where its tag is.
        _check(hub, release, tagged, target.address)
        delivery.state, delivery.keep, delivery.commit = "unchanged", release.files, tagged
        return delivery
    if before is not None:
        _check_succession(before, release, target.address)
    _compare(release, tree, before, delivery)
    if dry_run:
        return delivery
    changed = bool(delivery.upload or delivery.delete)
    if changed:
        assert head is not None
        head = _commit(hub, release, target, delivery, parent=head, watch=watch, threads=threads, tree=tree)
    assert head is not None
    _check(hub, release, head, target.address)
    if tagged is None:
        _tag(hub, release, head, target.address)
    elif changed:
        watch.note(f"the tag {version} stays at commit {tagged[:12]}; the branch has what is new")
    delivery.commit = head
    delivery.state = "published" if changed or tagged is None else "unchanged"
    return delivery


def _find(hub: Hub, target: Target, *, dry_run: bool, create: bool) -> tuple[dict[str, str], str | None]:
    """The tags and the head of the branch; makes repository and branch where that is asked for."""
    try:
        tags = hub.tags()
    except NoRepositoryError:
        if not create:
            raise
        if dry_run:
            return {}, None
        with hub.errors("make the repository"):
            hub.api.create_repo(**hub.where, private=True)
        tags = {}
    try:
        return tags, hub.head(target.revision)
    except NoRevisionError:
        if not create:
            raise
        if dry_run:
            return tags, None
        with hub.errors(f"make the branch {target.revision}"):
            hub.api.create_branch(**hub.where, branch=target.revision)
        return tags, hub.head(target.revision)


def _release_there(hub: Hub, tree: dict[str, Remote], head: str | None, address: str) -> Manifest | None:
    if head is None or MANIFEST not in tree:
        return None
    try:
        return Manifest.parse(hub.read(MANIFEST, head))
    except ManifestError as error:
        raise ConfigError(
            f"{address} holds a {MANIFEST} that is not one of a release as this version of the software knows them ({error});"
            " publish to another repository or branch"
        ) from error


def _check_succession(before: Manifest, release: LocalRelease, address: str) -> None:
    """What is on the branch may be replaced by this release: its own, or an older one of the same data set."""
    ours = release.manifest
    if before.name != ours.name:
        raise ConfigError(f"{address} holds another data set, {before.name}; this one is {ours.name}")
    there = sha256_of(before.to_bytes())
    if before.version == ours.version and there != release.digest:
        raise other_release(address, ours.version, there, release.digest)
    if Version(before.version) > Version(ours.version):
        raise ConfigError(
            f"{address} is at {before.version}, which is newer than {ours.version}; publishing it there would take readers"
            " back: name another branch, hf://datasets/OWNER/NAME@BRANCH"
        )


def _compare(
    release: LocalRelease, tree: dict[str, Remote], before: Manifest | None, delivery: Delivery
) -> None:
    """Fill in what is to be uploaded, kept and deleted. Refuses to delete what no release has brought."""
    upload, keep = [], []
    for file in release.files:
        (keep if _same(release, file, tree.get(file.path)) else upload).append(file)
    same = before is not None and sha256_of(before.to_bytes()) == release.digest
    extra = sorted(tree.keys() - release.by_path.keys() - OURS - (SIGNATURES if same else set()))
    known = set(before.listed()) | UNLISTED if before is not None else set()
    if foreign := [path for path in extra if path not in known]:
        raise ConfigError(
            f"{delivery.target} holds {len(foreign)} files that no release has brought (first: {ascii(foreign[0])[:200]});"
            " remove them there, or publish to another repository or branch"
        )
    delivery.upload, delivery.keep, delivery.delete = upload, keep, extra


def _same(release: LocalRelease, file: LocalFile, there: Remote | None) -> bool:
    if there is None or there.size != file.bytes:
        return False
    data = (release.folder / file.path).read_bytes() if there.sha256 is None else None
    return there.is_file(data, file.sha256, file.bytes)


def _commit(
    hub: Hub,
    release: LocalRelease,
    target: Target,
    delivery: Delivery,
    *,
    parent: str,
    watch: Watch,
    threads: int,
    tree: dict[str, Remote],
) -> str:
    """Upload and commit; returns the commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions: list[tuple[LocalFile, Any]] = []
    for file in delivery.upload:
        operation = CommitOperationAdd(file.path, release.folder / file.path)
        operation.upload_info.sha256 = bytes.fromhex(file.sha256)  # known: it need not be hashed again
        additions.append((file, operation))
    watch.total("publish", sum(file.bytes for file in delivery.upload))
    for batch in _batches(additions):
        with hub.errors(f"upload {batch[0][0].path}"):
            hub.api.preupload_lfs_files(
                **hub.where,
                additions=[operation for _, operation in batch],
                revision=target.revision,
                num_threads=threads,
                free_memory=False,
            )
        watch.advance(sum(file.bytes for file, _ in batch))
    # Beyond what one commit takes, files that nobody has seen yet go first: they change nothing for a reader.
    new = [
        operation
        for file, operation in additions
        if file.path not in tree and file.path not in (MANIFEST, CARD)
    ]
    size = len(additions) + len(delivery.delete)
    while size > MAX_OPERATIONS and new:
        part, new = new[:MAX_OPERATIONS], new[MAX_OPERATIONS:]
        parent = _send(hub, target, part, parent, f"Shards of release {release.manifest.version}")
        size -= len(part)
        sent = {id(operation) for operation in part}
        additions = [pair for pair in additions if id(pair[1]) not in sent]
    operations: list[Any] = [CommitOperationDelete(path, is_folder=False) for path in delivery.delete]
    operations += [operation for _, operation in additions]
    return _send(hub, target, operations, parent, f"Release {release.manifest.version}")


def _send(hub: Hub, target: Target, operations: list[Any], parent: str, message: str) -> str:
    with hub.errors("commit"):
        made = hub.api.create_commit(
            **hub.where,
            operations=operations,
            commit_message=message,
            revision=target.revision,
            parent_commit=parent,
        )
    return str(made.oid)


def _batches(additions: list[tuple[LocalFile, Any]]) -> Iterator[list[tuple[LocalFile, Any]]]:
    batch: list[tuple[LocalFile, Any]] = []
    size = 0
    for file, operation in additions:
        if batch and (len(batch) == _BATCH_FILES or size + file.bytes > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((file, operation))
        size += file.bytes
    if batch:
        yield batch


def _check(hub: Hub, release: LocalRelease, commit: str, address: str) -> None:
    """The tree of a commit is the release: every file by its hash, no other, and the manifest read back."""
    tree = hub.tree(commit)
    for file in release.files:
        if not _same(release, file, tree.get(file.path)):
            what = "is not there" if file.path not in tree else "is not the file of the release"
            raise IntegrityError(
                f"{address}, commit {commit[:12]}: {file.path} {what}; it was not tagged, run again"
            )
    if extra := sorted(tree.keys() - release.by_path.keys() - OURS - SIGNATURES):
        raise IntegrityError(
            f"{address}, commit {commit[:12]}: {ascii(extra[0])[:200]} is there and not in the release; run again"
        )
    if sha256_of(hub.read(MANIFEST, commit)) != release.digest:
        raise IntegrityError(
            f"{address}, commit {commit[:12]}: {MANIFEST} does not read back as it was sent; run again"
        )


def _tag(hub: Hub, release: LocalRelease, commit: str, address: str) -> None:
    version = release.manifest.version
    with hub.errors(f"set the tag {version}"):
        hub.api.create_tag(
            **hub.where,
            tag=version,
            tag_message=f"manifest.json sha256 {release.digest}",
            revision=commit,
            exist_ok=True,
        )
    there = hub.tags().get(version)
    if there != commit and (there is None or sha256_of(hub.read(MANIFEST, there)) != release.digest):
        raise ConfigError(
            f"{address}: the tag {version} was set by somebody else meanwhile, to another release; run again"
        )
