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
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa

COLUMNS = ["origin", "repo_name", "directory_id", "revision_id", "snapshot_id"]
"""What is looked at; all but `content_sha256`, which names a row that stands alone."""


def owner_of(origin: str) -> str:
    """The account that an origin belongs to, `host/account` in lower case; the origin itself without one.

    A package URL (`pkg:type/namespace/name@version`) belongs to its namespace if it has one, else it stands
    alone.
    """
    if origin.startswith("pkg:"):
        name = origin.partition("?")[0].rpartition("@")[0] or origin
        return name.rpartition("/")[0] if name.count("/") >= 2 else name
    try:
        parts = urlsplit(origin)
    except ValueError:
        return origin
    folders = [folder for folder in parts.path.split("/") if folder]
    if not parts.netloc or len(folders) < 2:
        return origin
    return f"{parts.netloc}/{folders[0]}".lower()


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


def _keys(place: dict[str, Any], split_by: str) -> Iterator[tuple[str, str]]:
    """What a repository shares with others: places with a common key are one group. The first names the group."""
    origin, name = place["origin"], place["repo_name"]
    if origin:
        yield "owner", owner_of(origin)
    elif name:
        yield "account", name.lower().rpartition("/")[0] or name.lower()
    if split_by == "network":
        if name and "/" in name:
            yield "name", name.lower().removesuffix(".git")
        for column in ("directory_id", "revision_id", "snapshot_id"):
            if place[column]:
                yield column, place[column]


def groups(rows: pa.Table, split_by: Literal["network", "owner"]) -> tuple[np.ndarray, list[str]]:
    """Number of each row's group (int64), and the groups' names: the least owner of each.

    A function of the set of rows: their order changes the numbers, not the names.

    Args:
        rows: with `COLUMNS` and `content_sha256`; null where not known.
        split_by: owner looks at owners only.
    """
    place, places = _places(rows)
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(key: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(key, key) != key:
            parent[key] = key = parent[parent[key]]
        return key

    heads: list[tuple[str, str] | None] = []
    for each in places:
        keys = list(_keys(each, split_by))
        heads.append(keys[0] if keys else None)
        for key in keys[1:]:
            parent[root(key)] = root(keys[0])
        if keys:
            root(keys[0])
    names: dict[tuple[str, str], str] = {}
    for head in heads:
        if head is not None:
            of = root(head)
            names[of] = min(names.get(of, head[1]), head[1])
    number = {of: index for index, of in enumerate(names)}
    group_of_place = np.array([-1 if h is None else number[root(h)] for h in heads], dtype=np.int64)
    group = group_of_place[place] if len(places) else np.zeros(0, dtype=np.int64)
    alone = np.flatnonzero(group < 0)
    group[alone] = len(names) + np.arange(len(alone))
    own = rows["content_sha256"].take(pa.array(alone)).to_pylist()
    return group, [*names.values(), *(f"content {name}" for name in own)]


def _places(rows: pa.Table) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Number of each row's place (int64), and the distinct places: the values of `COLUMNS`."""
    place = np.zeros(rows.num_rows, dtype=np.int64)
    for column in COLUMNS:
        encoded = rows[column].combine_chunks().dictionary_encode()
        code = encoded.indices.fill_null(-1).to_numpy().astype(np.int64) + 1
        place = np.unique(place * (len(encoded.dictionary) + 1) + code, return_inverse=True)[1]
    _, first = np.unique(place, return_index=True)
    return place, rows.select(COLUMNS).take(pa.array(first)).to_pylist()
