"""Near-duplicates of a whole release: in rounds as by one task, and with the shortcut only where it is said."""

from __future__ import annotations

from pathlib import Path

import e2e_runs as runs
import pytest

from pipeline.engine.stage import Ref, read_ref
from pipeline.engine.store import Store
from pipeline.explain import explain
from pipeline.explain_words import render
from pipeline.stages import near


def replaced(folder: Path) -> dict[str, dict]:
    """The rows of `replaced` by content."""
    store = Store(str(folder / "work"))
    (stage,) = (folder / "work/stages/near.settle").iterdir()
    table = read_ref(store, Ref(f"stages/near.settle/{stage.name}", "replaced", stage.name), None)
    return {row["sha256"]: row for row in table.to_pylist()}


@pytest.mark.parametrize("buckets", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_rounds_make_the_same_release(archive, made, tmp_path, monkeypatch, buckets):
    monkeypatch.setattr(near, "PAIRS_IN_ONE", 0)
    assert runs.release(archive, tmp_path, buckets=buckets).digest == made[0].digest
    assert (tmp_path / "work/stages/near.round.001").is_dir()
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
