"""Near-duplicates of a whole release: in rounds as by one task, and with the shortcut only where it is said."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import e2e_runs as runs
import pytest

from pipeline.engine.stage import Ref, read_ref
from pipeline.engine.store import Store
from pipeline.explain import explain
from pipeline.explain_words import render
from pipeline.stages import near, near_texts, near_verify
from pipeline.stages.reading import in_batches


def table(folder: Path, stage: str, output: str) -> list[dict]:
    """The rows of a stage's output."""
    store = Store(str(folder / "work"))
    (key,) = (folder / f"work/stages/{stage}").iterdir()
    return read_ref(store, Ref(f"stages/{stage}/{key.name}", output, key.name), None).to_pylist()


def counts(stage: Path) -> list[dict[str, int]]:
    """What the units of a stage counted."""
    (key,) = stage.iterdir()
    units = json.loads((key / "stage.json").read_bytes())["units"]
    return [unit["counts"] for unit in units.values()]


def replaced(folder: Path) -> dict[str, dict]:
    """The rows of `replaced` by content."""
    return {row["sha256"]: row for row in table(folder, "near.settle", "replaced")}


@pytest.mark.parametrize("buckets", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_rounds_make_the_same_release(archive, made, tmp_path, monkeypatch, buckets):
    monkeypatch.setattr(near, "PAIRS_IN_ONE", 0)
    for module in (near_verify, near_texts):  # a few texts at a time
        monkeypatch.setattr(module, "in_batches", partial(in_batches, size=2_000))
    monkeypatch.setattr(near_verify, "BATCH_BYTES", 2_000)
    assert runs.release(archive, tmp_path, buckets=buckets).digest == made[0].digest
    assert (tmp_path / "work/stages/near.round.001").is_dir()
    for folder in (tmp_path / "work/stages").glob("near.texts.*"):
        asked = table(tmp_path, folder.name.replace("texts", "missing"), "missing")
        read = sum(counted["texts_read"] for counted in counts(folder) if counted)
        assert read == len({row["second"] for row in asked}), (
            "each text is read once, however many are near to it"
        )
    found = replaced(tmp_path)
    assert found == replaced(made[1])
    assert len(found) > 2
    sha256, row = next(iter(found.items()))
    story = explain(tmp_path / "out/1.0", sha256, path=None, workdir=str(tmp_path / "work"))
    assert {"sha256": row["stand_in"], "similarity": row["similarity"]} in story["detected"]["candidates"]


def test_a_shortcut_is_told_wherever_its_outcome_is(archive, made, tmp_path):
    """Breach: an estimated similarity is taken for an exact one."""
    shortcut = {"shortcut": {"accept": "0.7", "reject": "0.7"}}
    release = runs.release(archive, tmp_path, near_duplicates=shortcut)
    found = replaced(tmp_path)
    assert found.keys() == replaced(made[1]).keys(), "this input has no pair near the threshold"
    assert all(
        row["similarity"].startswith("~") and row["similarity"].endswith("/256") for row in found.values()
    )
    assert not list((tmp_path / "work/annotations/similarity").rglob("*.parquet")), "nothing was compared"
    card = (release.directory / "README.md").read_text()
    assert "not exact in this release" in card
    assert "not exact in this release" not in (made[0].directory / "README.md").read_text()
    sha256 = next(iter(found))
    words = render(explain(release.directory, sha256, path=None, workdir=str(tmp_path / "work")))
    assert "an estimate, not exact" in words


@pytest.mark.slow
def test_a_shortcut_does_not_depend_on_what_was_compared_before(archive, tmp_path):
    """Breach: an exact similarity that an earlier release measured decides where another release would estimate."""
    shortcut = {"shortcut": {"accept": "0.75", "reject": "0.65"}}
    runs.release(archive, tmp_path)
    after = runs.release(archive, tmp_path, out=str(tmp_path / "second"), near_duplicates=shortcut)
    alone = runs.release(archive, tmp_path / "alone", near_duplicates=shortcut)
    assert after.digest == alone.digest
