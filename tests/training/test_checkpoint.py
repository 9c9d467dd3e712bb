"""Checkpoints: whole or not there, and every damage noticed."""

import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from training.errors import CheckpointError, OutputError
from training.run import checkpoint


def write(checkpoints: Path, step: int, text: str = "weights") -> Path:
    temporary = checkpoints / "made.tmp-save"
    (temporary / "inner").mkdir(parents=True)
    (temporary / "model.safetensors").write_text(text)
    (temporary / "model.safetensors").chmod(0o600)  # as the library leaves it
    (temporary / "optimizer.pt").write_bytes(b"\0" * 100)
    (temporary / "inner" / "rng.pth").write_bytes(b"x")
    final = checkpoint.folder_of(checkpoints, step)
    checkpoint.seal(temporary, final)
    return final


def test_sealed_and_verified(tmp_path):
    folder = write(tmp_path, 50)
    assert folder.name == "step-00000050"
    assert checkpoint.verify(folder) == 50
    assert not list(tmp_path.glob("*.tmp*"))
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_file()}
    assert len(modes) == 1, "whoever may read the seal may read the weights"
    assert len(checkpoint.digest(folder)) == 64


def damages():
    def missing(folder):
        (folder / "optimizer.pt").unlink()

    def shortened(folder):
        (folder / "model.safetensors").write_text("weight")

    def altered(folder):
        (folder / "inner/rng.pth").write_bytes(b"y")

    def extra(folder):
        (folder / "more.bin").write_bytes(b"")

    def unsealed(folder):
        (folder / checkpoint.SEAL).unlink()

    def torn(folder):
        text = (folder / checkpoint.SEAL).read_text()
        (folder / checkpoint.SEAL).write_text(text[: len(text) // 2])

    def other_version(folder):
        text = (folder / checkpoint.SEAL).read_text()
        (folder / checkpoint.SEAL).write_text(text.replace('"schema_version": 1', '"schema_version": 9'))

    def not_an_object(folder):
        (folder / checkpoint.SEAL).write_text("[]")

    return [missing, shortened, altered, extra, unsealed, torn, other_version, not_an_object]


@pytest.mark.parametrize("damage", damages(), ids=lambda damage: damage.__name__)
def test_a_damaged_newest_checkpoint_gives_way_to_an_older_one_loudly(tmp_path, damage):
    older, newest = write(tmp_path, 5), write(tmp_path, 10)
    said: list[str] = []
    assert checkpoint.newest_sound(tmp_path, said.append) == newest
    assert not said
    damage(newest)
    with pytest.raises(CheckpointError, match="step-00000010"):
        checkpoint.verify(newest)
    assert checkpoint.newest_sound(tmp_path, said.append) == older
    assert len(said) == 1
    assert said[0].startswith("WARNING")
    assert "NOT used" in said[0]
    # and it can be written again
    write(tmp_path, 10, "again")
    assert checkpoint.verify(newest) == 10


def test_unfinished_folders_are_no_checkpoints(tmp_path):
    (tmp_path / "step-00000009.tmp-save").mkdir()
    (tmp_path / "step-x").mkdir()
    (tmp_path / "step-00000007").write_text("a file")
    assert checkpoint.all_steps(tmp_path) == []
    assert checkpoint.newest_sound(tmp_path, print) is None
    assert checkpoint.all_steps(tmp_path / "none") == []


def test_order_is_by_number_and_old_ones_go(tmp_path):
    for step in (99_999_999, 5, 100_000_001):
        write(tmp_path, step)
    assert [checkpoint.step_of(folder) for folder in checkpoint.all_steps(tmp_path)] == [
        100_000_001,
        99_999_999,
        5,
    ]
    checkpoint.prune(tmp_path, 2)
    assert [checkpoint.step_of(folder) for folder in checkpoint.all_steps(tmp_path)] == [
        100_000_001,
        99_999_999,
    ]


def test_an_error_while_sealing_leaves_no_checkpoint(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        checkpoint.seal(tmp_path / "gone.tmp-save", tmp_path / "deeper" / "step-00000001")
    assert not (tmp_path / "deeper").exists()


def test_what_model_path_may_be(tmp_path):
    with pytest.raises(CheckpointError, match="neither a model folder"):
        checkpoint.model_folder(tmp_path, print)
    (tmp_path / "config.json").write_text("{}")
    assert checkpoint.model_folder(tmp_path, print) == tmp_path
    run = tmp_path / "run"
    folder = write(run / "checkpoints", 3)
    assert checkpoint.model_folder(run, print) == folder
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="no sound checkpoint"):
        checkpoint.model_folder(run, print)


def test_a_checkpoint_that_will_not_fit_is_not_begun(tmp_path, monkeypatch):
    kept = write(tmp_path / "checkpoints", 5)
    free = shutil.disk_usage(tmp_path).free
    checkpoint.make_room(tmp_path / "checkpoints", 1)
    with pytest.raises(OutputError, match=r"takes about [\d.]+ GB and only [\d.]+ GB are free"):
        checkpoint.make_room(tmp_path / "checkpoints", 2 * free)
    assert checkpoint.verify(kept) == 5


def test_what_crashes_left_behind_is_removed_before_the_next_checkpoint(tmp_path):
    for name in ("step-00000009.tmp-save", "step-00000001.tmp-gone"):
        (tmp_path / name).mkdir()
    kept = write(tmp_path, 5)
    checkpoint.make_room(tmp_path, 0)
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (
            RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"),
            "PytorchStreamWriter",
        ),
        (SafetensorError("Error while serializing: I/O error: No space left"), "No space left"),
    ],
)
def test_a_disk_that_refuses_is_one_error_whoever_says_it(tmp_path, error, message):
    (tmp_path / "part").mkdir()
    with pytest.raises(OutputError, match=message), checkpoint.writing(tmp_path / "part"):
        raise error
    assert not (tmp_path / "part").exists()


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), checkpoint.writing(tmp_path / "part"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_the_best_stays(tmp_path):
    for step in range(1, 7):
        write(tmp_path, step)
        checkpoint.prune(tmp_path, 2, [3])
    assert [checkpoint.step_of(folder) for folder in checkpoint.all_steps(tmp_path)] == [6, 5, 3]


def test_a_checkpoint_under_another_step_is_not_taken(tmp_path):
    folder = write(tmp_path, 5)
    folder.rename(tmp_path / "step-00000009")
    with pytest.raises(CheckpointError, match=r"checkpoint\.json is not what was written"):
        checkpoint.verify(tmp_path / "step-00000009")
    (tmp_path / "step-00000009").rename(tmp_path / "my-model")  # a name of the user's own is none of ours
    assert checkpoint.verify(tmp_path / "my-model") == 5


def test_a_checkpoint_that_cannot_be_read_is_unsound(tmp_path, monkeypatch):
    """A damaged sector: the older one is used, as for any other damage."""
    older, newest = write(tmp_path, 5), write(tmp_path, 10)
    genuine = checkpoint.sha256_file

    def refuse(path):
        if path.parent == newest:
            raise OSError(5, "Input/output error", str(path))
        return genuine(path)

    monkeypatch.setattr(checkpoint, "sha256_file", refuse)
    said: list[str] = []
    assert checkpoint.newest_sound(tmp_path, said.append) == older
    assert "Input/output error" in said[0]


def test_a_seal_of_endless_brackets_is_refused(tmp_path):
    folder = write(tmp_path, 5)
    (folder / checkpoint.SEAL).write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="no readable"):
        checkpoint.verify(folder)


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=6, unique_by=lambda s: s[0]
    ),
    keep=st.integers(1, 3),
    every=st.integers(1, 7),
)
def test_after_a_resume_the_sound_ones_are_those_that_stay(steps, keep, every):
    """Breach: unsound checkpoints are counted as kept, push out what is written now, and the next crash loses all."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(checkpoint, "sync"):
        checkpoints = Path(folder)
        for step, sound in steps:
            write(checkpoints, step)
            if not sound:
                (checkpoint.folder_of(checkpoints, step) / "optimizer.pt").unlink()
        resumed = checkpoint.newest_sound(checkpoints, lambda _: None)
        checkpoint.pass_over(checkpoints, resumed, lambda _: None)
        first = checkpoint.step_of(resumed) if resumed else 0
        for step in range(first + every, first + 4 * every, every):
            write(checkpoints, step)
            checkpoint.prune(checkpoints, keep)
            found = checkpoint.newest_sound(checkpoints, lambda text: pytest.fail(text))
            assert checkpoint.step_of(found) == step
            assert len(checkpoint.all_steps(checkpoints)) <= keep
        unsound = {step for step, sound in steps if not sound and step > first}
        assert {path.name for path in checkpoints.glob("*.unsound")} == {
            f"step-{s:08d}.unsound" for s in unsound
        }


def test_a_small_file_is_whole_at_any_moment(tmp_path, monkeypatch):
    file = tmp_path / "best.json"
    checkpoint.replace(file, "old")
    monkeypatch.setattr(checkpoint, "sync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        checkpoint.replace(file, "new")
    assert file.read_text() == "old"
