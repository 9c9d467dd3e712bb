"""The output folder: never in a release, one run at a time, and what is refused before data are read."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from training.config import TrainConfig
from training.errors import OutputError, TrainingConfigError
from training.run import dry_run as planning
from training.run import output
from training.run.interrupted import refused
from training.run.train import check, train


@pytest.fixture
def config(settings):
    return TrainConfig.model_validate({**settings, "evaluation": {"fraction": 0.0}, "steps": 1})


def changed(settings, **more):
    return TrainConfig.model_validate({**settings, **more})


@pytest.mark.parametrize("below", ["", "run", "data/run/../other"])
def test_a_folder_in_a_release_is_refused(settings, release, tmp_path, below):
    """Breach: training writes files into a release, which then fails its own verification."""
    before = sorted(release.rglob("*"))
    link = tmp_path / "link"
    link.symlink_to(release)
    for place in (release / below, link / below):
        for key, change in (
            ("output", {"output": str(place)}),
            ("data.cache", {"data": {"sequence_length": 64, "cache": str(place)}}),
        ):
            config = changed(settings, **change)
            for begin in (train, planning.dry_run):
                with pytest.raises(TrainingConfigError, match=rf"^{key}: .* lies in the release"):
                    begin(config)
    assert sorted(release.rglob("*")) == before


def test_a_folder_beside_or_around_a_release_is_not_in_it(tmp_path):
    for folder in (tmp_path, tmp_path / "2.1-run", tmp_path / "2.1/../run"):
        assert not output.is_inside(folder, tmp_path / "2.1")
    assert output.is_inside(tmp_path / "2.1/./x", tmp_path / "2.1")


def test_a_second_run_is_refused_until_the_first_has_ended(config):
    """Breach: two runs prune and rename each other's checkpoints."""
    folder = Path(config.output)
    output.ready(config)
    with output.alone(folder, print):
        for attempt in (lambda: train(config), lambda: output.start_over(folder)):
            with pytest.raises(OutputError, match="another run is training there"):
                attempt()
    assert train(config)["steps"] == 1
    output.start_over(folder)
    assert not (folder / "checkpoints").exists()
    with output.alone(folder, print):
        pass


def test_a_killed_run_leaves_no_lock(config, tmp_path):
    output.ready(config)
    child = os.fork()
    if not child:
        with output.alone(Path(config.output), print):
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    with output.alone(Path(config.output), print):
        pass


def test_a_file_system_without_locks_is_said(config, monkeypatch):
    def none(*_):
        raise OSError(95, "Operation not supported")

    output.ready(config)
    monkeypatch.setattr(fcntl, "flock", none)
    lines = []
    with output.alone(Path(config.output), lines.append):
        pass
    assert "cannot be locked (Operation not supported)" in lines[0]


def test_what_a_disk_refuses_names_the_file(config, tmp_path):
    with (
        pytest.raises(OutputError, match=r"nowhere: cannot be written or read: No such file"),
        refused(config),
    ):
        (tmp_path / "nowhere").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"micro_batch_size": 3, "global_batch_tokens": 384}, r"6 rows per step .* 4 processes"),
        ({"parallel": {"strategy": "fsdp"}}, "cuts the model over several processes"),
        ({"precision": "fp16", "device": "auto"}, "precision: fp16 needs a GPU"),
        ({"callbacks": ["no_such_module:Mine"]}, "callbacks: no_such_module:Mine"),
        ({"evaluation": {"metrics": ["no_such_module:mine"]}}, r"evaluation\.metrics: no_such_module"),
    ],
)
def test_what_needs_no_data_is_refused_before_they_are_read(settings, change, message):
    """Breach: a name that does not exist is told after hours of tokenising, and a dry run calls the run sound."""
    world = 4 if "micro_batch_size" in change else 1
    config = changed(settings, **change)
    with pytest.raises(TrainingConfigError, match=message):
        check(config, world)
    with pytest.raises(TrainingConfigError, match=message):
        planning.dry_run(config, world)
    assert not Path(config.output).exists()


def test_a_dry_run_refuses_the_tokenizer_that_the_run_refuses(settings, tmp_path):
    from training.tokens.tokenizer import train as learn

    learn(["x = 1\n"] * 50, 300).save(tmp_path / "tokenizer")
    file = tmp_path / "tokenizer/tokenizer.json"
    known = json.loads(file.read_text())
    known["added_tokens"] = [one for one in known["added_tokens"] if "fim" not in one["content"]]
    for name in [name for name in known["model"]["vocab"] if "fim" in name]:
        del known["model"]["vocab"][name]
    file.write_text(json.dumps(known))
    config = changed(settings, tokenizer={"path": str(tmp_path / "tokenizer")})
    told = []
    for begin in (train, planning.dry_run):
        with pytest.raises(TrainingConfigError) as caught:
            begin(config)
        told.append(str(caught.value))
    assert told[0] == told[1] and "fim" in told[0].lower()
