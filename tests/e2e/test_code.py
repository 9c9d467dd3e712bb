"""Notebooks and the signals that need a language, through a whole release: converted texts, their stores, hydration."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.checksums import sha256_file
from manifests.ids_view import IdsView
from manifests.reader import Release
from pipeline.errors import IntegrityError
from pipeline.explain import explain
from pipeline.hydrate import Texts, hydrate, make_view, notebooks_of, redaction_of
from tests.e2e import archives, runs

MAIL = b"paul.fern.2231@harbor-mail.net"
IMAGE = "iVBORw0KGgoAAAANSUhEUgAA" * 500


def notebook(seed: str, image: str, *, source: str = "") -> bytes:
    code = (archives.python(seed).decode() + source).splitlines(keepends=True)
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": [f"# {seed}\n", "What the tide does, hour by hour.\n"],
         "attachments": {"a.png": {"image/png": image}}},
        {"cell_type": "code", "execution_count": 7, "metadata": {}, "source": code,
         "outputs": [{"data": {"image/png": image}, "metadata": {}, "output_type": "display_data"}]},
    ]  # fmt: skip
    whole = {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1).encode() + b"\n"


def world() -> archives.World:
    page = (
        b"<html><head><style>p { color: red }</style></head>\n<body><!-- no -->\n"
        + b"<p>A tide of words.</p>\n" * 12
    )
    files = {
        b"a.ipynb": notebook("reef", IMAGE, source=f"# {MAIL.decode()}\n"),
        b"again.ipynb": notebook(
            "reef", IMAGE[:-24], source=f"# {MAIL.decode()}\n"
        ),  # other outputs, the same notebook
        b"other.ipynb": notebook("dune", ""),
        b"cut.ipynb": notebook("vale", "x")[:-4],
        b"tool.py": b'"""Doc."""\n# comment\n' + archives.python("tool"),
        b"broken.py": archives.python("broken") + b"def f(:\n",
        b"page.html": page,
        b"polyglot.html": b"#!/usr/bin/env python\n" + page,
    }
    origin = archives.Origin(
        url="https://forge.example/iris/notes",
        files={path: archives.File(body) for path, body in files.items()},
        licenses={b"": "MIT"},
    )
    return archives.World([origin])


@pytest.fixture(scope="module")
def notes(tmp_path_factory) -> Path:
    return archives.write(world(), tmp_path_factory.mktemp("notes") / "archive")


@pytest.fixture(scope="module")
def folder(notes, tmp_path_factory) -> Path:
    """Two releases of one work directory: as they come, with parsers, and with notebooks kept as they are."""
    folder = tmp_path_factory.mktemp("made")
    runs.release(notes, folder, version="1.0", quality={"parsers": True})
    runs.release(notes, folder, version="2.0", quality={"notebooks": "keep"})
    return folder


def rows_of(folder: Path) -> dict[str, dict]:
    files = sorted((folder / "data").rglob("*.parquet"))
    return {row["path"]: row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()}


def test_notebooks_are_released_without_outputs_and_redacted(folder):
    rows = rows_of(folder / "out/1.0")
    text = rows["a.ipynb"]["content"]
    data = json.loads(text)
    assert rows["a.ipynb"]["language"] == "Jupyter Notebook"
    assert IMAGE[:40] not in text and MAIL.decode() not in text
    assert [one["kind"] for one in rows["a.ipynb"]["redactions"]] == ["email"]
    assert data["cells"][1]["outputs"] == [] and data["cells"][1]["execution_count"] is None
    assert data["cells"][0]["attachments"] == {} and "hour by hour" in text and "def " in text
    assert rows["a.ipynb"]["max_line_length"] < 5_000, "the signals are those of another text"
    assert rows["cut.ipynb"]["content"].encode() == notebook("vale", "x")[:-4], "malformed: as it was"


def test_the_card_says_in_which_form_notebooks_are(folder):
    said = "Jupyter notebooks have no outputs"
    assert (
        said in (folder / "out/1.0/README.md").read_text()
        and said not in (folder / "out/2.0/README.md").read_text()
    )


def test_notebooks_that_differ_in_outputs_are_one(folder):
    rows = rows_of(folder / "out/1.0")
    assert "again.ipynb" not in rows and rows["a.ipynb"]["num_occurrences"] == 1
    totals = json.loads((folder / "out/1.0/manifest.json").read_bytes())["totals"]
    assert totals["dropped"]["exact_duplicate"] == 1


def test_kept_as_they_are_on_demand(folder):
    """Breach: a store of the other form is used. With its outputs the notebook has a line that is too long."""
    assert "a.ipynb" not in rows_of(folder / "out/2.0")
    text = rows_of(folder / "out/2.0")["other.ipynb"]["content"]
    assert text.encode() == notebook("dune", "")
    assert (
        json.loads(rows_of(folder / "out/1.0")["other.ipynb"]["content"])["cells"][1]["execution_count"]
        is None
    )


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_hydrated_texts_are_those_of_the_release(folder, notes, tmp_path, version):
    release = Release.open(folder / "out" / version)
    make_view(release, tmp_path / "ids")
    view = IdsView.open(tmp_path / "ids")
    assert notebooks_of(view) == ("strip_outputs" if version == "1.0" else "keep")
    done = hydrate(view, Texts(str(notes), redaction_of(view), notebooks_of(view)), tmp_path / "out")
    assert done.lost == 0 and done.identical_shards == done.shards
    for shard in release.shards():
        assert sha256_file(tmp_path / "out" / shard.path)[0] == shard.sha256


class Configured:
    """What `notebooks_of` asks of a view."""

    directory = Path("ids")

    def __init__(self, config: str) -> None:
        self._config = config

    def config(self) -> bytes:
        return self._config.encode()


def test_a_release_that_does_not_say_has_notebooks_as_they_were():
    assert notebooks_of(Configured("secrets: {sensitivity: high}")) == "keep"
    assert notebooks_of(Configured("quality: {profile: none}")) == "keep"
    with pytest.raises(IntegrityError, match="not known here"):
        notebooks_of(Configured("quality: {notebooks: folded}"))


def test_explain_shows_the_signals_of_each_language(folder):
    def detected(path: str) -> dict:
        story = explain(
            folder / "out/1.0", "https://forge.example/iris/notes", path=path, workdir=str(folder / "work")
        )
        return _find(story, "code")

    [tool] = detected("tool.py")["code"]
    assert tool["language"] == "Python" and tool["functions"] > 0 and tool["syntax_errors"] == 0
    assert tool["comment_fraction"] > 0 and tool["docstring_fraction"] > 0
    [broken] = detected("broken.py")["code"]
    assert broken["syntax_errors"] > 0
    [page] = detected("page.html")["code"]
    assert page["html_visible_chars"] == len(" ".join(["A tide of words."] * 12))
    assert detected("a.ipynb")["notebook"] == "strip_outputs" and detected("a.ipynb")["code"] == []
    assert detected("cut.ipynb")["notebook"] == "malformed"


def _find(story: object, key: str) -> dict:
    """The part of a story that has this key."""
    todo = [story]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if key in one and "encoding" in one:
                return one
            todo += one.values()
        elif isinstance(one, list):
            todo += one
        elif dataclasses.is_dataclass(one):
            todo.append(vars(one))
    raise AssertionError(f"nothing told has {key!r}")


def test_signals_of_the_language_are_published(folder):
    published = pq.read_table(folder / "out/1.0/quality-signals.parquet")
    rows = rows_of(folder / "out/1.0")
    found = {one["row_id"]: one for one in published.to_pylist()}
    assert found.keys() == {row["row_id"] for row in rows.values()}
    assert found[rows["tool.py"]["row_id"]]["functions"] > 0
    assert found[rows["page.html"]["row_id"]]["html_visible_fraction"] > 0
    assert found[rows["a.ipynb"]["row_id"]]["comment_fraction"] is None
    off = pq.read_table(folder / "out/2.0/quality-signals.parquet", filters=[("language", "=", "Python")])
    assert set(off["not_parsed"].to_pylist()) == {"off"} and off["functions"].null_count == off.num_rows


def test_a_profile_can_ask_for_what_the_language_gives(tmp_path):
    from pipeline.content.profiles import load_profile

    path = tmp_path / "own.yaml"
    path.write_text("profile: own\nrules:\n  - {rule: broken, any: [{signal: syntax_errors, above: 0}]}\n")
    assert load_profile(path).rules[0].any[0].signal == "syntax_errors"


def test_made_again_nothing_is_parsed_again(notes, folder):
    log = io.StringIO()
    outcome = runs.release(notes, folder, version="1.0", log=log, quality={"parsers": True})
    assert outcome.state == "unchanged" and outcome.units_run == 0
