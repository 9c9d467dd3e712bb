"""Rows that must stay on one side of the evaluation split: files of one owner, and of one fork network.

Files of one owner quote each other, and a fork, a mirror or an import into another host holds the same files under another
name: a split by rows, or by repositories, would measure memory. Put together are rows whose repositories have

    the same owner      the account or organisation in the origin's URL
    the same root       `directory_id`: the same files at the same paths, under whatever name
    the same history    `revision_id` or `snapshot_id`: a commit names all commits before it
    the same name       `repo_name` as `owner/name`: the same repository on another host

and whatever is connected through several of these. A row of which neither origin nor repository is known stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

COLUMNS = ["origin", "repo_name", "directory_id", "revision_id", "snapshot_id"]
"""What is looked at; all but `content_sha256`, which names a row that stands alone."""

_SHORT_SSH = re.compile(r"[^@/:]+@([^@/:]+):(?!//)(.+)")


def owner_of(origin: str) -> str:
    """The account that an origin belongs to, `host/account` in lower case; the origin itself without one.

    A package URL (`pkg:type/namespace/name@version`) belongs to its namespace if it has one, else it stands
    alone. Who logs in is no part of it, and `git@host:account/name` is read as `ssh://git@host/account/name`.
    """
    if origin.startswith("pkg:"):
        name = origin.partition("?")[0].rpartition("@")[0] or origin
        return name.rpartition("/")[0] if name.count("/") >= 2 else name
    short = _SHORT_SSH.fullmatch(origin)
    try:
        parts = urlsplit("ssh://{}/{}".format(*short.groups()) if short else origin)
    except ValueError:
        return origin
    folders = [folder for folder in parts.path.split("/") if folder]
    if not parts.netloc or len(folders) < 2:
        return origin
    return f"{parts.netloc.rpartition('@')[2]}/{folders[0]}".lower()


_SCP = re.compile(r"(?:[^@/\s]+@)?([^@/:\s]+\.[^@/:\s]+):(?![0-9]+(?:/|\Z)|//)(.*)", re.DOTALL)
"""`git@host:owner/name`: what ssh takes."""


def plain(origin: str) -> str:
    """One spelling for all ways to write the address of a repository: `host/path` in lower case, percent-decoded, without
    scheme, user, port, `www.`, query, and slashes or `.git` at the end."""
    text = origin.strip()
    if "://" in text:
        text = text.partition("://")[2]
    elif scp := _SCP.fullmatch(text):
        text = f"{scp[1]}/{scp[2]}"
    host, _, path = re.split(r"[?#]", text, maxsplit=1)[0].partition("/")
    host = re.sub(r":[0-9]*\Z", "", host.rpartition("@")[2]).rstrip(".").lower().removeprefix("www.")
    folders = [folder for folder in unquote(path).casefold().split("/") if folder]
    if folders:
        folders[-1] = folders[-1].removesuffix(".git") or folders[-1]
    return "/".join([host, *folders])


class Names(Sequence[str]):
    """Names of groups: of those that a key connects, then of the rows that stand alone, which may be millions."""

    def __init__(self, connected: list[str], alone: pa.ChunkedArray) -> None:
        self._connected, self._alone = connected, alone

    def __len__(self) -> int:
        return len(self._connected) + len(self._alone)

    def __getitem__(self, number: Any) -> Any:
        if number < len(self._connected):
            return self._connected[number]
        return f"content {self._alone[int(number) - len(self._connected)].as_py()}"

    def __iter__(self) -> Iterator[str]:
        yield from self._connected
        for chunk in self._alone.iterchunks():
            for at in range(0, len(chunk), 4096):
                yield from (f"content {name}" for name in chunk.slice(at, 4096).to_pylist())


def groups(rows: pa.Table, split_by: Literal["network", "owner"]) -> tuple[np.ndarray, Sequence[str]]:
    """Number of each row's group (int64), and the groups' names: the least owner of each.

    A function of the set of rows: their order changes the numbers, not the names.

    Args:
        rows: with `COLUMNS` and `content_sha256`; null where not known.
        split_by: owner looks at owners only.
    """
    place, known = _places(rows)
    parent, offset = np.arange(len(known["origin"].number)), 0
    head, words = np.full(len(parent), -1), []  # what names each place, in all the words of all keys
    for key in _keys(known, split_by):
        _unite(parent, key.number, len(key.words))
        head = np.where((head < 0) & (key.number >= 0), offset + key.number, head)
        offset += len(key.words)
        words.append(key.words)
    named = np.flatnonzero(head >= 0)
    used, of_named = np.unique(head[named], return_inverse=True)
    texts = pa.chunked_array(words, pa.string()).take(pa.array(used)).to_pylist()
    roots, group_of_named = np.unique(_roots(parent)[named], return_inverse=True)
    by_text = sorted(range(len(texts)), key=texts.__getitem__)
    rank, least = np.empty(len(texts), np.int64), np.full(len(roots), len(texts))
    rank[by_text] = np.arange(len(texts))
    np.minimum.at(least, group_of_named, rank[of_named])
    group_of_place = np.full(len(parent), -1)
    group_of_place[named] = group_of_named
    group = group_of_place[place]
    alone = np.flatnonzero(group < 0)
    group[alone] = len(roots) + np.arange(len(alone))
    return group, Names([texts[by_text[r]] for r in least], rows["content_sha256"].take(pa.array(alone)))


class _Key(NamedTuple):
    """What some places share: the number (-1: none) of each one's word, and the words. Equal numbers are one group."""

    number: np.ndarray
    words: pa.Array


def _places(rows: pa.Table) -> tuple[np.ndarray, dict[str, _Key]]:
    """Number of each row's place (int64), and the places: different values of `COLUMNS`; an empty one is none."""
    place, codes = np.zeros(rows.num_rows, dtype=np.int64), {}
    for column in COLUMNS:
        codes[column] = _encoded(rows[column])
        wide = place * (len(codes[column].words) + 1) + codes[column].number + 1
        place = np.unique(wide, return_inverse=True)[1]
    first = np.unique(place, return_index=True)[1]
    return place, {column: _Key(key.number[first], key.words) for column, key in codes.items()}


def _encoded(column: pa.ChunkedArray) -> _Key:
    encoded = column.dictionary_encode()  # of all chunks the same
    words = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.string())
    parts = [chunk.indices.fill_null(-1).to_numpy() for chunk in encoded.iterchunks()]
    number = np.concatenate([np.zeros(0, np.int64), *parts])
    number[number == pc.index(words, "").as_py()] = -1
    return _Key(number, words)


def _keys(known: dict[str, _Key], split_by: str) -> Iterator[_Key]:
    """What places share with others; the first that a place has names it."""
    origin, repository = known["origin"], known["repo_name"]
    yield _renamed(origin, owner_of)
    alone = _Key(np.where(origin.number < 0, repository.number, -1), repository.words)
    yield _renamed(alone, lambda name: name.lower().rpartition("/")[0] or name.lower())
    if split_by == "network":
        yield _renamed(repository, lambda name: name.lower().removesuffix(".git") if "/" in name else None)
        yield from (known[column] for column in ("directory_id", "revision_id", "snapshot_id"))


def _renamed(key: _Key, of: Callable[[str], str | None]) -> _Key:
    numbers: dict[str, int] = {}
    renamed = [of(word) for word in key.words.to_pylist()]
    new = [-1 if name is None else numbers.setdefault(name, len(numbers)) for name in renamed]
    return _Key(np.array([*new, -1])[key.number], pa.array(list(numbers), pa.string()))


@njit(nogil=True, cache=True)
def _root(parent: np.ndarray, place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place


@njit(nogil=True, cache=True)
def _unite(parent: np.ndarray, number: np.ndarray, words: int) -> None:
    """Put places with an equal number under one root."""
    first = np.full(words, -1, np.int64)
    for place in range(len(number)):
        word = number[place]
        if word >= 0 and first[word] < 0:
            first[word] = place
        elif word >= 0:
            one, other = _root(parent, place), _root(parent, first[word])
            parent[max(one, other)] = min(one, other)


@njit(nogil=True, cache=True)
def _roots(parent: np.ndarray) -> np.ndarray:
    result = np.empty_like(parent)
    for place in range(len(parent)):
        result[place] = _root(parent, place)
    return result
