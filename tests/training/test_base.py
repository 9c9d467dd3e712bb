"""Where training starts from: folders, runs, and the Hub, which is asked for one model and nothing else."""

import json
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from training.config import ModelConfig
from training.errors import CheckpointError, TrainingConfigError
from training.model import base

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model_folder(folder: Path, about: dict | None = None, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(about or {"model_type": "llama"}))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub with one model; `asked` is what was asked of it, and whether the client thought itself offline."""
    folder = model_folder(tmp_path / "hub/snapshots" / COMMIT)
    asked: list[tuple] = []

    def one(name, file, revision=None):
        asked.append((name, file, revision, constants.HF_HUB_OFFLINE))
        return str(folder / file)

    def all_(name, revision=None, allow_patterns=None):
        asked.append((name, tuple(allow_patterns), revision, constants.HF_HUB_OFFLINE))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", one)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", all_)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # as training.run.train sets it
    return folder, asked


def test_a_model_of_the_hub_is_had_by_commit_although_a_run_is_offline(hub, tmp_path, monkeypatch):
    folder, asked = hub
    monkeypatch.setattr(base, "STAY_OFFLINE", False)
    lines: list[str] = []
    found = base.resolve(ModelConfig(path="some/model", revision="v2"), tmp_path, lines.append)
    assert found.folder == folder
    assert found.facts == {
        "kind": "hub",
        "name": "some/model",
        "revision": "v2",
        "commit": COMMIT,
        "digest": base.digest_of(folder),
    }
    assert [entry[2:] for entry in asked] == [("v2", False), (COMMIT, False)]
    assert not any(pattern.endswith((".py", ".bin", ".pt")) for pattern in asked[1][1])
    assert constants.HF_HUB_OFFLINE is True
    assert COMMIT in lines[0]
    monkeypatch.setattr(base, "STAY_OFFLINE", True)  # the user's own wish holds
    base.resolve(ModelConfig(path="some/model"), tmp_path, lines.append)
    assert asked[-1][3] is True


def test_code_is_refused_before_weights_are_fetched(hub, tmp_path):
    folder, asked = hub
    (folder / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(TrainingConfigError, match="brings its own code, which is not run"):
        base.resolve(ModelConfig(path="some/model"), tmp_path, print)
    assert len(asked) == 1


def test_a_model_without_safetensors_is_refused(hub, tmp_path):
    folder, _ = hub
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no safetensors"):
        base.resolve(ModelConfig(path="some/model"), tmp_path, print)


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("not in the cache"), OSError("no route")], ids=repr
)
def test_what_the_hub_does_not_give_is_told_plainly(error, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    with pytest.raises(
        CheckpointError, match=r"runs/tinny: there is no such folder here, and .*no such model"
    ):
        base.resolve(ModelConfig(path="runs/tinny"), tmp_path, print)
    assert issubclass(RepositoryNotFoundError, OSError)  # the client's own errors, too


@pytest.mark.parametrize("path", ["/no/where", "a/b/c", "../x/y", "a b", "name\x00", "https://host/x"])
def test_what_is_neither_a_folder_nor_a_name_is_refused_without_asking(path, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_: pytest.fail("was asked"))
    with pytest.raises(CheckpointError, match="neither a model folder nor a name"):
        base.resolve(ModelConfig.model_construct(path=path), tmp_path, print)


def test_a_revision_belongs_to_the_hub(tmp_path):
    folder = model_folder(tmp_path / "model")
    with pytest.raises(TrainingConfigError, match="is a folder here"):
        base.resolve(ModelConfig(path=str(folder), revision="main"), tmp_path, print)


def test_a_digest_names_configuration_and_weights_and_is_kept(tmp_path, monkeypatch):
    one, other = model_folder(tmp_path / "one"), model_folder(tmp_path / "other")
    memory = tmp_path / "memory"
    memory.mkdir()
    digest = base.digest_of(one, memory)
    assert digest == base.digest_of(other) == base.digest_of(one)
    (other / "README.md").write_text("not part of the model")
    assert base.digest_of(other) == digest
    (other / "model.safetensors").write_bytes(b"weightz")
    assert base.digest_of(other) != digest
    (other / "model.safetensors").write_bytes(b"weights")
    (other / "config.json").write_text('{"model_type": "llama", "x": 1}')
    assert base.digest_of(other) != digest
    with monkeypatch.context() as patch:  # kept: the files are not read again
        patch.setattr(base.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        assert base.digest_of(one, memory) == digest
    (one / "model.safetensors").write_bytes(b"changed")
    assert base.digest_of(one, memory) != digest
