"""What a whole release asks the object store for: the evidence of licenses, then what survives it, each once, no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty_proxy import Faults, FaultyProxy, Request
from fetching import served, sha1
from graphs import MIT, Graph, Made, file, folder

from pipeline import config as configuration
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.errors import SourceError
from pipeline.release import make_release
from pipeline.stages import fetch as fetch_stage

GPL = b"SPDX-License-Identifier: GPL-3.0-only\n"
MANIFEST = b'[project]\nname = "tool"\nlicense = "MIT"\n'
PACKAGE = b'{"name": "silent", "version": "1.0.0"}\n'
SECTIONS = {
    "licenses": {"scancode": False},
    "near_duplicates": {"enabled": False},
    "quality": {"profile": "none"},
}


def _code(name: str) -> bytes:
    return b"".join(
        b"def %s_%d(value):\n    return value * %d\n\n\n" % (name.encode(), n, n) for n in range(9)
    )


OURS = [_code(f"ours{n}") for n in range(6)]
SHARED, BOUND, SILENT, VENDORED, LARGE = map(_code, ("shared", "bound", "silent", "vendored", "large"))


def _archive(where: Path, new: tuple[bytes, ...] = ()) -> Path:
    """Three origins: MIT, GPL, and one that says nothing; `new`: files added to the first two."""
    g = Graph()
    more = [file(b"new%d.py" % n, g.content(body)) for n, body in enumerate(new)]
    vendored = g.directory("vendored", [file(b"lib.py", g.content(VENDORED))])
    g.repository(
        "https://example.org/a/tool",
        [
            *(file(b"m%d.py" % n, g.content(body)) for n, body in enumerate(OURS)),
            file(b"shared.py", g.content(SHARED)),
            file(b"again.py", g.content(OURS[0])),
            file(b"pyproject.toml", g.content(MANIFEST)),
            file(b"large.py", g.content(LARGE * 20)),
            folder(b"vendor", vendored),
            *more,
        ],
    )
    bound = [file(b"LICENSE", g.content(GPL)), file(b"bound.py", g.content(BOUND)),
             file(b"shared.py", g.content(SHARED)), *(file(b"gpl.py", g.content(_code("g"))) for _ in new)]  # fmt: skip
    g.repository("https://example.org/b/bound", bound[: 3 + bool(new)], licensed=False)
    silent = [file(b"package.json", g.content(PACKAGE)), file(b"silent.py", g.content(SILENT))]
    g.repository("https://example.org/c/silent", silent, licensed=False)
    return g.write(where)


EVIDENCE = {sha1(body) for body in (MIT, GPL, MANIFEST, PACKAGE)}
SURVIVORS = {sha1(body) for body in (*OURS, SHARED)}


def _release(archive: Path, base: Path, version: str = "1.0") -> Made:
    data = {
        **SECTIONS,
        "archive": {"uri": str(archive), "content": "s3://archive/content"},
        "files": {"max_bytes": 4_000},
        "engine": {"buckets": 1},
    }
    outcome = make_release(
        configuration.parse(data), version=version, out=base / "out", workdir=str(base / "work"),
        executor=InProcess(), progress=Progress(quiet=True),
    )  # fmt: skip
    return Made(outcome, base / "work")


@pytest.fixture(autouse=True)
def fresh_pace() -> Iterator[None]:
    fetch_stage.pace_of.cache_clear()
    yield
    fetch_stage.pace_of.cache_clear()


Proxies = Callable[..., FaultyProxy]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _archive(tmp_path_factory.mktemp("fetched") / "archive")


@dataclass
class First:
    """A release without faults, made once: where, and the keys that it asked for, in their order."""

    base: Path
    made: Made
    order: list[str]


@pytest.fixture(scope="module")
def first(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> First:
    base, order = tmp_path_factory.mktemp("first"), []

    def watch(request: Request) -> None:
        order.append(request.path.removeprefix("/archive/content/"))

    with served(archive) as url, pytest.MonkeyPatch.context() as patch:
        proxy = FaultyProxy(url, watch)
        patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        made = _release(archive, base)
        proxy.close()
    return First(base, made, order)


def test_a_release_asks_for_the_evidence_then_for_what_survives_it_and_nothing_else(first: First) -> None:
    """Counted at the proxy: a file of unlicensed, bound, vendored or too large code is never downloaded."""
    assert first.made.totals["kept"] > 0
    assert Counter(first.order) == dict.fromkeys(EVIDENCE | SURVIVORS, 1)
    assert set(first.order[: len(EVIDENCE)]) == EVIDENCE


def test_a_later_release_asks_for_what_is_new(
    first: First, tmp_path: Path, faulty_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file more, there and where the license forbids it: one request."""
    grown = _archive(tmp_path / "grown", (_code("new"),))
    with served(grown) as url:
        proxy = faulty_proxy(url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        second = _release(grown, first.base, "2.0")
        assert proxy.asked("content/") == {sha1(_code("new")): 1}
    assert second.totals["kept"] == first.made.totals["kept"] + 1


def test_a_release_that_could_not_have_an_object_ends_with_exit_code_5_and_goes_on_from_there(
    archive: Path, first: First, tmp_path: Path, faulty_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a release without the file, nor a file `missing` that was only out of reach; and faults leave no trace."""
    refused = sha1(OURS[3])
    faults = Faults(seed=1, transient={"unavailable": 0.2, "truncate": 0.2, "corrupt": 0.1})

    def rule(request: Request) -> str | None:
        return "denied" if request.path.endswith(refused) else faults(request)

    with served(archive) as url:
        proxy = faulty_proxy(url, rule)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        with pytest.raises(
            SourceError, match=f"1 object could not be had: .*{refused}.*access denied"
        ) as failed:
            _release(archive, tmp_path)
        assert failed.value.exit_code == 5
        assert not (tmp_path / "out" / "1.0").exists()
        assert set(proxy.asked("content/")) == EVIDENCE | SURVIVORS
        assert sum(proxy.faults.values()) > proxy.faults["denied"]
        proxy.reset()
        made = _release(archive, tmp_path)
        assert proxy.asked("content/") == {refused: 1}
    assert made.outcome.digest == first.made.outcome.digest
