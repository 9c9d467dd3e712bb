"""Whole runs, small ones: resume is exact, damage is survived, lineage is true, mistakes are told plainly."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from manifests.reader import Release
from training.after.generate import complete, open_model
from training.config import ModelConfig, TrainConfig
from training.errors import (
    CheckpointError,
    NonFiniteLossError,
    OutputError,
    TrainingConfigError,
    TrainingDataError,
)
from training.model import attention, build
from training.prepare import prepare
from training.run import checkpoint, saving
from training.run.output import start_over
from training.run.progress import lines_until
from training.run.train import train
from training.tokens.tokenizer import CodeTokenizer

ROOT = Path(__file__).parents[2]


def run(settings, report=None, **more):
    """Train with these settings; `more` are top-level keys."""
    lines: list[str] = report if report is not None else []
    return train(TrainConfig.model_validate({**copy.deepcopy(settings), **more}), lines.append)


@pytest.fixture(scope="module")
def finished(six_steps, tmp_path_factory):
    """(settings, result, lines) of a finished run of six steps that kept its middle checkpoint."""
    output = tmp_path_factory.mktemp("finished") / "run"
    settings = six_steps(output, 32)
    torch.set_num_threads(1)
    lines: list[str] = []
    return settings, run(settings, lines), lines


def copied(finished, tmp_path):
    """The finished run's output in a folder of its own, and the settings for it."""
    settings = copy.deepcopy(finished[0])
    shutil.copytree(settings["output"], tmp_path / "copy")
    settings["output"] = str(tmp_path / "copy")
    return settings, tmp_path / "copy" / "checkpoints"


def weights(folder):
    return {name: value.numpy().tobytes() for name, value in load_file(folder / "model.safetensors").items()}


def test_a_run_learns_and_says_so(finished):
    _, result, lines = finished
    evaluations = [line for line in lines if "held-out loss" in line]
    assert [line.split()[1] for line in evaluations] == ["0/6", "3/6", "6/6"]
    metrics = [
        json.loads(line) for line in (Path(result["output"]) / "metrics.jsonl").read_text().splitlines()
    ]
    bits = [line["evaluation"]["all"]["bits_per_byte"] for line in metrics if "evaluation" in line]
    assert bits[0] > bits[1] > bits[2]
    losses = [line["loss"] for line in metrics if "loss" in line]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert result["packing"]["filled"] > 0.99
    assert result["steps"] == 6
    assert result["evaluation"]["step"] == 6
    assert set(result["evaluation"]["languages"]) == {"Python", "C++", "Shell"}
    assert any("do not see each other (checked)" in line for line in lines)


def test_lineage_names_what_was_seen(finished, release):
    settings, result, _ = finished
    lineage = json.loads((Path(result["checkpoint"]) / "lineage.json").read_text())
    opened = Release.open(release)
    assert lineage["sources"][0]["version"] == "2.1"
    assert lineage["sources"][0]["digest"] == opened.digest
    assert lineage["tokenizer_digest"] == CodeTokenizer.load(result["checkpoint"]).digest
    assert lineage["config"]["optimizer"]["learning_rate"] == settings["optimizer"]["learning_rate"]
    assert lineage["config_digest"] == TrainConfig.model_validate(settings).digest()
    assert {"torch", "transformers", "stackmill", "python"} <= lineage["libraries"].keys()
    assert lineage["parent"] is None
    # the tokens per language, counted again from the batches themselves
    prepared = prepare(TrainConfig.model_validate(settings), print)
    order, counts = prepared.order, dict.fromkeys(prepared.corpus.languages, 0)
    trained = 0
    for step in range(6):
        epoch, rows = order.rows(step)
        filled = order.plans[epoch].fill(prepared.epochs[epoch].cache.tokens, rows, 1)
        owners = filled.document[filled.document >= 0]
        trained += int((filled.labels != -100).sum())
        for number in prepared.epochs[epoch].cache.language[owners]:
            counts[prepared.corpus.languages[number]] += 1
    assert lineage["seen"]["tokens_by_language"] == {name: n for name, n in counts.items() if n}
    assert lineage["seen"]["tokens"] == sum(counts.values())
    assert lineage["seen"]["trained_tokens"] == trained
    assert lineage["seen"]["epochs"][0]["rows"] == 48
    text = json.dumps(lineage)
    assert os.uname().nodename not in text


def test_a_second_run_does_nothing_and_says_so(finished):
    settings, result, _ = finished
    lines: list[str] = []
    again = run(settings, lines)
    assert any("nothing to do" in line for line in lines)
    assert again["checkpoint"] == result["checkpoint"]
    assert again["evaluation"] == result["evaluation"]
    assert not any("model:" in line for line in lines)


def test_resumed_is_bitwise_the_same_as_uninterrupted(finished, tmp_path):
    settings, checkpoints = copied(finished, tmp_path)
    wanted = weights(checkpoints / "step-00000006")
    optimizer = (checkpoints / "step-00000006" / "optimizer.pt").read_bytes()
    shutil.rmtree(checkpoints / "step-00000006")
    lines: list[str] = []
    result = run(settings, lines)
    assert result["resumed_from"].endswith("step-00000003")
    assert weights(checkpoints / "step-00000006") == wanted
    assert (checkpoints / "step-00000006" / "optimizer.pt").read_bytes() == optimizer
    assert result["evaluation"] == finished[1]["evaluation"]
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "copy" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [0, 1, 2, 3, 3, 4, 5, 6, 6]


def test_the_same_run_from_nothing_is_bitwise_the_same(finished, tmp_path):
    settings = {**finished[0], "output": str(tmp_path / "other")}
    result = run(settings, save_every=6, evaluation={"every": 6, "fraction": 0.2})
    assert weights(Path(result["checkpoint"])) == weights(Path(finished[1]["checkpoint"]))


@pytest.mark.parametrize("name", ["optimizer.pt", "model.safetensors", "rng_state.pth", "lineage.json"])
def test_a_torn_newest_checkpoint_is_not_used(finished, tmp_path, name):
    settings, checkpoints = copied(finished, tmp_path)
    newest = checkpoints / "step-00000006"
    wanted = weights(newest)
    if name == "optimizer.pt":
        (newest / name).unlink()  # Trainer alone would go on with a fresh optimizer, silently
    else:
        (newest / name).write_bytes((newest / name).read_bytes()[:-1])
    lines: list[str] = []
    result = run(settings, lines)
    assert any(line.startswith("WARNING") and name in line and "NOT used" in line for line in lines)
    assert result["resumed_from"].endswith("step-00000003")
    assert weights(newest) == wanted


def test_no_sound_checkpoint_left_starts_again_loudly(finished, tmp_path):
    settings, checkpoints = copied(finished, tmp_path)
    for folder in checkpoints.iterdir():
        (folder / "optimizer.pt").unlink()
    lines: list[str] = []
    result = run(settings, lines)
    assert result["resumed_from"] is None
    assert any("no sound checkpoint is left" in line for line in lines)


def test_sound_checkpoints_are_kept_while_unsound_newer_ones_are_there(finished, tmp_path, monkeypatch):
    """Breach: the unsound ones count as the newest, the sound ones go, and a kill loses the run."""
    settings, checkpoints = copied(finished, tmp_path)
    (checkpoints / "step-00000006" / "optimizer.pt").unlink()
    genuine, newest = saving.tidy, []

    def looked_at(*arguments):
        genuine(*arguments)
        newest.append(checkpoint.newest_sound(checkpoints, pytest.fail))

    monkeypatch.setattr(saving, "tidy", looked_at)
    run(settings, save_every=1, keep_checkpoints=1)
    assert [checkpoint.step_of(folder) for folder in newest] == [3, 4, 5, 6]
    assert (checkpoints / "step-00000006.unsound").is_dir()


def test_a_run_that_was_killed_after_its_last_checkpoint_is_brought_to_its_end(finished, tmp_path):
    """Breach: best.json names a checkpoint that is gone, result.json is missing, old checkpoints stay for ever."""
    settings, checkpoints = copied(finished, tmp_path)
    output = checkpoints.parent
    told = json.loads((output / "result.json").read_text())
    assert told["best"]["step"] == 6
    (output / "best.json").write_text('{"checkpoint": "checkpoints/step-00000003"')  # a power cut, not a kill
    (output / "result.json").unlink()
    shutil.copytree(checkpoints / "step-00000003", checkpoints / "step-00000002.tmp-gone")
    again = run(settings, keep_checkpoints=1)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["step-00000006"]
    assert json.loads((output / "best.json").read_text()) == told["best"] == again["best"]
    result = json.loads((output / "result.json").read_text())
    assert (result["checkpoint"], result["evaluation"]) == (again["checkpoint"], told["evaluation"])
    run(settings, keep_best=False)
    assert not (output / "best.json").exists()


def test_the_best_by_another_metric_may_be_gone(finished, tmp_path):
    """Breach: best.json names a folder that is not there."""
    settings, checkpoints = copied(finished, tmp_path)
    run(settings, keep_checkpoints=1, keep_best=False)
    again = run(settings, evaluation={**settings["evaluation"], "metric": "+loss"})
    assert (again["best"]["step"], again["best"]["checkpoint"]) == (3, None)
    with pytest.raises(CheckpointError, match="names no best checkpoint"):
        open_model(checkpoints.parent, best=True)


def test_lines_that_are_none_are_left_out(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert lines_until(file, 5) == []
    file.write_bytes(b'{"step": 1}\n\xff\xfe\n{}\n3\nnull\n{"step": "x"}\n{"step": 9}\n{"step": 5}\n{"st')
    assert lines_until(file, 5) == ['{"step": 1}', '{"step": 5}']


def test_checkpoints_on_another_disk_are_removed_and_the_link_stays(tmp_path):
    output, elsewhere = tmp_path / "run", tmp_path / "disk"
    for folder in (output, elsewhere / "step-00000003"):
        folder.mkdir(parents=True)
    (output / "checkpoints").symlink_to(elsewhere)
    start_over(output)
    assert (output / "checkpoints").is_symlink()
    assert list(elsewhere.iterdir()) == []


def test_an_output_of_another_run_is_refused(finished, tmp_path, make_release):
    settings, _ = copied(finished, tmp_path)
    with pytest.raises(CheckpointError, match=r"another run \(configuration, stream of tokens differ\)"):
        run(settings, seed=1)
    with pytest.raises(
        CheckpointError, match=r"optimizer.learning_rate was 0.01 and is 0.5; optimizer.warmup_steps"
    ):
        run(settings, optimizer={"learning_rate": 0.5})
    with pytest.raises(
        CheckpointError, match=r"steps was 6 and is 9. Choose another.*model.path.*step-00000006"
    ):
        run(settings, steps=9)
    other = make_release(tmp_path / "other", rows={"Python": 50, "Shell": 9}, version="2.2")
    with pytest.raises(CheckpointError, match=r"sources \(digests\)"):
        run(settings, release=str(other))
    start_over(tmp_path / "copy")
    assert run(settings, seed=1, steps=1)["steps"] == 1


def test_a_change_of_micro_batch_is_the_same_run(finished, tmp_path):
    """Accumulation: 4 x 2 rows and 1 x 8 rows are the same step, up to the order of float sums."""
    settings = {**finished[0], "output": str(tmp_path / "other")}
    result = run(settings, micro_batch_size=8)
    found, wanted = (load_file(Path(r["checkpoint"]) / "model.safetensors") for r in (result, finished[1]))
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, atol=1e-4), name
    assert result["loss"] == pytest.approx(finished[1]["loss"], abs=1e-5)


def test_epochs_see_every_token_once_each(settings):
    result = run(settings, steps=None, epochs=2, global_batch_tokens=4096, micro_batch_size=8)
    prepared = prepare(TrainConfig.model_validate({**settings, "steps": None, "epochs": 2}), print)
    assert result["seen"]["tokens"] == sum(len(epoch.cache.tokens) for epoch in prepared.epochs)
    assert len(result["seen"]["epochs"]) == 2
    # with FIM the second epoch is cut differently; without it, it is the same cache
    settings["data"]["fim"] = {"rate": 0.0}
    prepared = prepare(TrainConfig.model_validate({**settings, "steps": None, "epochs": 2}), print)
    assert prepared.epochs[0] is prepared.epochs[1]


def test_lora_trains_adapters_only(finished, tmp_path):
    settings = {
        **finished[0],
        "output": str(tmp_path / "lora"),
        "model": {"path": finished[0]["output"]},
        "lora": {"rank": 4, "alpha": 8.0},
        "steps": 4,
        "save_every": 2,
        "keep_best": False,
    }
    del settings["tokenizer"]
    lines: list[str] = []
    result = run(settings, lines)
    folder = Path(result["checkpoint"])
    assert (folder / "adapter_model.safetensors").exists()
    assert not (folder / "model.safetensors").exists()
    lineage = json.loads((folder / "lineage.json").read_text())
    base = Path(finished[1]["checkpoint"])
    assert lineage["parent"]["checkpoint_digest"] == checkpoint.digest(base)
    assert lineage["parent"]["lineage"]["seen"]["steps"] == 6
    assert lineage["tokenizer_digest"] == CodeTokenizer.load(base).digest
    first, *_, last = (line for line in lines if "held-out loss" in line)
    assert float(last.split("held-out loss ")[1].split()[0]) < float(
        first.split("held-out loss ")[1].split()[0]
    )
    # resumed exactly, too
    adapter = (folder / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(folder)
    assert run(settings)["resumed_from"].endswith("step-00000002")
    assert (folder / "adapter_model.safetensors").read_bytes() == adapter
    with pytest.raises(CheckpointError, match="holds an adapter"):
        run(settings, model={"path": str(tmp_path / "lora")}, output=str(tmp_path / "again"))
    with pytest.raises(TrainingConfigError, match=r"lora\.target_modules"):
        run(settings, lora={"target_modules": ["nothing_like_it"]}, output=str(tmp_path / "again"))


def test_continued_from_a_checkpoint(finished, tmp_path):
    more = {"output": str(tmp_path / "more"), "model": {"path": finished[1]["checkpoint"]}, "steps": 1}
    lines: list[str] = []
    run(finished[0], lines, **more)
    before = finished[1]["evaluation"]["all"]["loss"]
    first = next(line for line in lines if "held-out loss" in line)
    assert float(first.split("held-out loss ")[1].split()[0]) == pytest.approx(before, abs=1e-4)


def test_a_trained_model_completes_a_prompt(finished):
    folder = Path(finished[1]["checkpoint"])
    tokenizer = CodeTokenizer.load(folder)
    trained = build.load(folder, ModelConfig(), tokenizer)
    text = complete(trained, tokenizer, "def count", 20)
    assert isinstance(text, str)
    assert complete(trained, tokenizer, "def count", 20) == text
    assert complete(trained, tokenizer, "", 5) is not None


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(settings, monkeypatch):
    genuine = build.build

    def broken(*arguments):
        result = genuine(*arguments)
        with torch.no_grad():
            result.model.norm.weight.mul_(1e38)
        return result

    monkeypatch.setattr(build, "build", broken)
    monkeypatch.setattr(attention, "check_isolation", lambda *_, **__: None)
    with pytest.raises(
        NonFiniteLossError, match=r"step 1: the loss is (nan|inf).*content_sha256\): [0-9a-f]{64}"
    ):
        run({**settings, "evaluation": {"fraction": 0.0}})
    assert not list(Path(settings["output"]).glob("checkpoints/step-*"))


def test_no_evaluation_without_held_out_rows(settings):
    lines: list[str] = []
    result = run({**settings, "evaluation": {"fraction": 0.0}}, lines, steps=2)
    assert result["evaluation"] is None
    assert any("nothing is held out" in line for line in lines)


def test_bf16(settings):
    result = run(settings, precision="bf16", steps=2)
    assert np.isfinite(result["loss"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"release": "/nowhere"}, TrainingConfigError, "is not a release"),
        ({"languages": ("Ruby",)}, TrainingDataError, "no row of language 'Ruby'"),
        ({"tokenizer": {"path": "/nowhere"}}, TrainingConfigError, "tokenizer cannot be read"),
        ({"model": {"path": "/nowhere"}}, CheckpointError, "neither a model folder"),
        ({"output": "/proc/nowhere"}, OutputError, "cannot be written"),
    ],
)
def test_mistakes_are_told_plainly(settings, change, error, message):
    with pytest.raises(error, match=message):
        run(settings, **change)


def test_a_vocabulary_that_does_not_fit_is_refused(finished, settings, tmp_path):
    from training.tokens.tokenizer import train as train_tokenizer

    words = [
        f"{n * 2654435761 % 2**32:x}".translate(str.maketrans("0123456789", "ghijklmnop"))
        for n in range(5000)
    ]
    train_tokenizer(words * 2, 800).save(tmp_path / "large")
    change = {"model": {"path": finished[0]["output"]}, "tokenizer": {"path": str(tmp_path / "large")}}
    with pytest.raises(TrainingConfigError, match="do not belong together"):
        run(settings, **change)


def test_a_release_that_fails_verification_is_not_trained_on(release, settings, tmp_path):
    copy_ = tmp_path / "release"
    shutil.copytree(release, copy_)
    shard = next(copy_.glob("data/*/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is not the file that the manifest describes"):
        run(settings, release=str(copy_))


def test_launch_gives_the_exit_codes_of_the_command(settings, tmp_path, capsys):
    from training import launch

    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(settings))
    assert launch.main([str(config), "--set", "steps=1"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 1
    for change, code in (("stepz=1", 2), ("model.path=/nowhere", 4), ("output=/proc/nowhere", 5)):
        assert launch.main([str(config), "--set", change]) == code
        assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_two_processes_train_the_same_model(finished, tmp_path):
    settings = {**finished[0], "output": str(tmp_path / "two")}
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(settings))  # JSON is YAML
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "training.launch", str(config)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["loss"] == pytest.approx(finished[1]["loss"], abs=1e-5)
    found, wanted = (load_file(Path(r["checkpoint"]) / "model.safetensors") for r in (result, finished[1]))
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, atol=1e-4), name
    for language, figures in finished[1]["evaluation"]["languages"].items():
        other = result["evaluation"]["languages"][language]
        assert (other["tokens"], other["bytes"]) == (figures["tokens"], figures["bytes"])
        assert other["nll"] == pytest.approx(figures["nll"], rel=1e-4)
    lineage = json.loads((Path(result["checkpoint"]) / "lineage.json").read_text())
    assert lineage["processes"] == 2
    assert (
        lineage["stream_digest"]
        == json.loads((Path(finished[1]["checkpoint"]) / "lineage.json").read_text())["stream_digest"]
    )
    # and one process can go on where two stopped
    shutil.rmtree(result["checkpoint"])
    resumed = run(settings)
    assert resumed["resumed_from"].endswith("step-00000003")
    assert resumed["loss"] == pytest.approx(finished[1]["loss"], abs=1e-5)
