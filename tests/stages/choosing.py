"""A small archive to choose from, and the origin ledger that a choice makes of it."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

from graphs import DAY, Graph, export_of, file, oid, settings

from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.stages.choose import choose
from pipeline.stages.graph import convert
from pipeline.stages.origins import settle
from pipeline.stages.resolve import resolve
from pipeline.stages.selections import read_selections

CODE = b"import os\n\n\ndef area%d(width, height):\n    return width * height + %d\n\n\nprint(area%d(2, 3), os.name)\n"


def code(number: int) -> bytes:
    return CODE % (number, number, number)


def world() -> Graph:
    """Five repositories on three hosts; `twice` has an older and a newer visit, `dev` a branch beside HEAD."""
    g = Graph()
    for number, url in enumerate(
        ("https://github.com/a/one", "https://github.com/b/two", "https://gitlab.com/a/three")
    ):
        g.repository(url, [file(b"a.py", g.content(code(number)))])
    old = g.directory("old", [file(b"old.py", g.content(code(10))), file(b"LICENSE", g.content(MIT))])
    new = g.directory("new", [file(b"new.py", g.content(code(11))), file(b"LICENSE", g.content(MIT))])
    url = "https://github.com/c/twice"
    g.origin(url, g.snapshot("old", [(b"HEAD", g.revision("old", old, 1_500_000_000), "revision")]))
    tip = g.revision("new", new, 1_600_000_000)
    g.visit(url, 2, DAY + timedelta(days=30), "full", g.snapshot("new", [(b"HEAD", tip, "revision")]))
    g.visit(
        url, 3, DAY + timedelta(days=60), "partial", g.snapshot("part", [(b"HEAD", oid("gone"), "revision")])
    )
    dev = g.directory("dev", [file(b"dev.py", g.content(code(12))), file(b"LICENSE", g.content(MIT))])
    branches = [(b"HEAD", tip, "revision"), (b"refs/heads/dev", g.revision("dev", dev), "revision")]
    g.origin("https://example.org/dev", g.snapshot("dev", branches))
    return g


MIT = b"SPDX-License-Identifier: MIT\n"


class Chosen:
    """The origin ledger of a choice, and what was said meanwhile."""

    def __init__(self, archive: Path, work: Path, section: dict[str, Any], buckets: int = 2) -> None:
        config = settings(archive, {"origins": section})
        store, _ = open_workdir(str(work), buckets, default_buckets=buckets)
        said = io.StringIO()
        self.runner = Runner(store, InProcess(), buckets, Progress(said))
        self.files = read_selections(self.runner, config.origins)
        graph = convert(self.runner, export_of(archive))
        choice = choose(self.runner, graph["origin"], config.origins, self.files)
        rows = resolve(self.runner, graph, choice, as_of=config.origins.as_of)
        self.ledger, self.networks, self.roots = settle(self.runner, rows, choice, registry=None)
        self.contents = choice.contents
        self.said = said.getvalue()
        told = self.runner.table(self.ledger.ref("ledger")).to_pylist()
        self.rows = {row["origin"]: row for row in told}
        assert len(self.rows) == len(told)

    @property
    def reasons(self) -> dict[str, str | None]:
        return {url: row["reason"] for url, row in self.rows.items()}

    @property
    def resolved(self) -> set[str]:
        return {url for url, reason in self.reasons.items() if reason is None}
