"""An archive of real git repositories: every branch and tag, all revisions, the trees of the branch tips.

What is recorded of one repository, as a loader of Software Heritage would: a snapshot of `refs/heads/*`,
`refs/tags/*` and HEAD (an alias when it is symbolic), annotated tags as releases, the metadata of every
revision that these reach, and the whole tree of every branch tip and of HEAD. Trees of older revisions are
not read: a dataset is made of what a branch shows. Remote-tracking, note and stash refs are not the
repository's own.

Ids are git's: an object is taken only if the bytes that git hands out have the id that was asked for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from pipeline.errors import ConfigError, SourceError
from pipeline.sources import swhid
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.git_objects import parse_commit, parse_tag, parse_tree
from pipeline.sources.git_process import ObjectReader, Repository
from pipeline.sources.origin_url import repository_url
from pipeline.sources.swhid import Branch

Progress = Callable[[str], None]

_SUBMODULE_TYPE = "rev"
_CHUNK_BYTES = 1 << 20
_BODIES_IN_FLIGHT = 32  # bodies read from git and not yet written; bounds memory, with the content limit
_THREADS = os.cpu_count() or 1
_OBJECT_TYPES = {git: ours for ours, git in swhid.GIT_TYPES.items()}


def add_git(
    writer: ArchiveWriter, path: Path, url: str | None = None, *, progress: Progress = lambda _: None
) -> None:
    """Add the repository at `path`, as the origin `url`, or else its remote's URL, or else its file URI.

    ConfigError if there is none or it has another hash than SHA-1; SourceError if git cannot read it. A blob
    that is not there (a partial clone) is counted and stays an entry without content, as in the real archive.
    """
    repository = Repository(path)
    form = repository.run("rev-parse", "--show-object-format")
    if form != b"sha1\n":
        raise ConfigError(f"--git {path}: its object ids are {(form or b'').decode().strip()}, not sha1")
    url = url or _origin_url(repository)
    writer.check_origin(url)
    refs = _read_refs(repository, writer.left_out)
    newest = _add_revisions(writer, repository, refs, progress)
    with ObjectReader(repository) as reader:
        _add_releases(writer, repository, reader, refs.tags)
        blobs = _add_trees(writer, repository, reader, refs)
        _add_contents(writer, repository, reader, blobs, progress)
    snapshot = writer.add_snapshot(refs.branches)
    writer.add_origin(url, snapshot, seconds=newest, visit_type="git")


# ------------------------------------------------------------------------------------------------- branches


@dataclass
class _Refs:
    """What the refs of a repository name; all lists are ids in the order found, maybe repeated."""

    branches: dict[bytes, Branch | None] = field(default_factory=dict)
    tips: list[str] = field(default_factory=list)  # commits whose trees are read
    commits: list[str] = field(default_factory=list)  # all commits, the tips too
    tags: list[str] = field(default_factory=list)  # annotated ones
    trees: list[str] = field(default_factory=list)  # named by a ref itself, as are `blobs`
    blobs: list[str] = field(default_factory=list)


def _read_refs(repository: Repository, left_out: Counter[str]) -> _Refs:
    refs = _Refs()
    # The NUL-terminated form leaves ref names as they are, whatever their bytes.
    warnings: list[bytes] = []
    listed = repository.run(
        "for-each-ref",
        "--format=%(objecttype)%00%(objectname)%00%(refname)%00",
        "refs/heads/",
        "refs/tags/",
        warnings=warnings,
    )
    assert listed is not None
    left_out["broken_ref"] += sum(b"broken ref" in line for line in warnings)
    fields = listed.split(b"\x00")
    for kind, object_id, name in zip(fields[0::3], fields[1::3], fields[2::3], strict=False):
        git_type, target = kind.strip().decode("ascii"), object_id.decode("ascii")
        if git_type not in _OBJECT_TYPES:
            raise SourceError(f"--git {repository.path}: the branch {name!r} points to nothing; see git fsck")
        refs.branches[name] = Branch(target, _OBJECT_TYPES[git_type])
        if git_type == "commit" and name.startswith(b"refs/heads/"):
            refs.tips.append(target)
        {"commit": refs.commits, "tag": refs.tags, "tree": refs.trees, "blob": refs.blobs}[git_type].append(
            target
        )
    symbolic = repository.run("symbolic-ref", "--quiet", "HEAD", absent_ok=True)
    if symbolic is not None:
        target_name = symbolic.removesuffix(b"\n")
        refs.branches[b"HEAD"] = Branch(target_name, "alias")
        if target_name in refs.branches:
            return refs
        name = target_name  # a branch without a commit yet (an empty repository), or a ref of another kind
    else:
        name = b"HEAD"  # detached
    head = repository.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", absent_ok=True)
    refs.branches[name] = None
    if head is not None:
        target = head.strip().decode("ascii")
        refs.tips.append(target)
        refs.commits.append(target)
        refs.branches[name] = Branch(target, "revision")
    return refs


def _origin_url(repository: Repository) -> str:
    """The URL of the remote `origin` without credentials, else the file URI of the repository."""
    found = repository.run("config", "--local", "--no-includes", "--get", "remote.origin.url", absent_ok=True)
    if found is not None:
        url = _without_credentials(found.decode("utf-8", "backslashreplace").strip())
        if url:
            return repository_url(url) or url
    return repository.path.resolve().as_uri()


def _without_credentials(url: str) -> str:
    """A remote's URL without user, password, query and fragment; empty for a path on this machine."""
    if "://" not in url:
        host, colon, path = url.partition(":")
        if not colon or "/" in host:  # a path on this machine says nothing about the origin
            return ""
        url = f"ssh://{host}/{path.lstrip('/')}"
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        host = parts.hostname or ""
    except ValueError:
        return ""
    if not host:
        return ""
    netloc = f"[{host}]{port}" if ":" in host else host + port
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


# ------------------------------------------------------------------------------------------ revisions, tags


def _add_revisions(writer: ArchiveWriter, repository: Repository, refs: _Refs, progress: Progress) -> int:
    """Add every revision that branches, tags and HEAD reach; returns the newest committer date, 0 if none."""
    starts = sorted({*refs.commits, *refs.tags})
    if not starts:
        return 0
    listed = repository.run("rev-list", "--stdin", stdin="".join(f"{start}\n" for start in starts).encode())
    assert listed is not None
    ids = listed.decode("ascii").split()
    newest = 0
    with ObjectReader(repository) as reader:
        for count, (revision_id, kind, raw) in enumerate(reader.bodies(ids), 1):
            _check(repository, revision_id, "revision", kind, raw)
            try:
                revision = parse_commit(raw)
            except ValueError as error:
                raise SourceError(f"--git {repository.path}: commit {revision_id}: {error}") from error
            writer.add_revision(revision, revision_id)
            if revision.committer_date is not None:
                newest = max(newest, revision.committer_date.seconds)
            if count % 10_000 == 0:
                progress(f"{repository.path.name}: {count:,} of {len(ids):,} revisions")
    return newest


def _add_releases(
    writer: ArchiveWriter, repository: Repository, reader: ObjectReader, tags: Iterable[str]
) -> None:
    wanted = sorted({tag for tag in tags if not writer.knows("release", tag)})
    while wanted:  # a tag may point to a tag
        found: list[str] = []
        for release_id, kind, raw in reader.bodies(wanted):
            _check(repository, release_id, "release", kind, raw)
            try:
                release = parse_tag(raw)
            except ValueError as error:
                raise SourceError(f"--git {repository.path}: tag {release_id}: {error}") from error
            writer.add_release(release, release_id)
            if release.target_type == "release" and not writer.knows("release", release.target):
                found.append(release.target)
        wanted = sorted(set(found))


def _check(repository: Repository, object_id: str, object_type: str, kind: str, raw: bytes) -> None:
    """SourceError unless git handed out an object of this type and id."""
    if kind == "missing":
        raise SourceError(
            f"--git {repository.path}: {object_type} {object_id} is missing; is this a partial clone?"
        )
    if kind != swhid.GIT_TYPES[object_type] or swhid.object_id(object_type, raw) != object_id:
        raise SourceError(f"--git {repository.path}: object {object_id} is damaged; see git fsck")


# ---------------------------------------------------------------------------------------------------- trees


def _add_trees(writer: ArchiveWriter, repository: Repository, reader: ObjectReader, refs: _Refs) -> list[str]:
    """Add the trees of all tips; returns the ids of the contents that they name, each once."""
    roots = set(refs.trees)
    for _, _, raw in reader.bodies(sorted(set(refs.tips))):  # commits that were checked as revisions
        roots.add(parse_commit(raw).directory)
    blobs = dict.fromkeys(refs.blobs)
    level = sorted(roots)
    known = set(level)
    while level:  # one level of directories after the other: a request per level, no recursion
        below: dict[str, None] = {}
        for directory_id, kind, raw in reader.bodies(level):
            _check(repository, directory_id, "directory", kind, raw)
            try:
                entries, raw_manifest = parse_tree(raw)
            except ValueError as error:
                raise SourceError(f"--git {repository.path}: tree {directory_id}: {error}") from error
            writer.add_directory(entries, directory_id=directory_id, raw_manifest=raw_manifest)
            for entry in entries:
                if entry.type == "dir":
                    if entry.target not in known:
                        known.add(entry.target)
                        below[entry.target] = None
                elif entry.type != _SUBMODULE_TYPE:
                    blobs[entry.target] = None
                    writer.files += 1
        level = list(below)
    return [blob for blob in blobs if not writer.knows("content", blob)]


def _add_contents(
    writer: ArchiveWriter,
    repository: Repository,
    reader: ObjectReader,
    blobs: list[str],
    progress: Progress,
) -> None:
    """Store the blobs; those that the repository does not have are counted."""
    missing = 0
    pending: list[tuple[str, Future[swhid.ContentHashes]]] = []

    def settle(until: int) -> None:
        while len(pending) > until:
            blob, future = pending.pop(0)
            if future.result().sha1_git != blob:
                raise SourceError(f"--git {repository.path}: object {blob} is damaged; see git fsck")

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="archive") as pool:
        for count, (blob, kind, size, stream) in enumerate(reader.read(blobs), 1):
            if kind == "missing":
                missing += 1
            elif kind != "blob":
                raise SourceError(f"--git {repository.path}: object {blob} is a {kind}, its tree says a file")
            elif size > writer.max_content_bytes:
                writer.add_large(_chunks(stream, size), size)
            else:
                pending.append((blob, pool.submit(writer.add_content, stream.read(size))))
                settle(_BODIES_IN_FLIGHT)
            if count % 10_000 == 0:
                progress(f"{repository.path.name}: {count:,} of {len(blobs):,} contents")
        settle(0)
    if missing:
        reader.check_missing()
    writer.left_out["missing_blob"] += missing


def _chunks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0:
        chunk = stream.read(min(size, _CHUNK_BYTES))
        if not chunk:
            return
        size -= len(chunk)
        yield chunk
