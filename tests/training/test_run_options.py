"""What is passed through to Trainer, and what a run does when it is told to stop, from inside or outside."""

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState

from training.config import EvaluationConfig, TrainConfig, load, trainer_keys
from training.errors import OutOfMemoryError, OutputError, TrainingConfigError
from training.run import best, custom_metrics, loggers, named, reproducible
from training.run.callbacks import callbacks
from training.run.interrupted import refused, told
from training.run.train import train
from training.run.trainer import PackedTrainer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def settings(settings, cache):
    """Tokens and tokenizer are made once for all of these runs."""
    settings["data"]["cache"] = cache
    return settings


def run(settings, lines=None, **more):
    lines = lines if lines is not None else []
    return train(TrainConfig.model_validate({**settings, **more}), lines.append)


# --- trainer: ------------------------------------------------------------------------------------------------------


def test_every_key_of_training_arguments_has_one_place():
    """Breach: a new key of transformers breaks packing or checkpoints, and nobody was asked."""
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    places = [trainer_keys.PASSED, trainer_keys.OURS.keys(), trainer_keys.REFUSED.keys()]
    assert set().union(*places) == known
    assert sum(len(place) for place in places) == len(known)
    keys = set(TrainConfig.model_fields) | {
        f"{name}.{key}"
        for name, field in TrainConfig.model_fields.items()
        if hasattr(field.annotation, "model_fields")
        for key in field.annotation.model_fields
    }
    assert set(trainer_keys.OURS.values()) <= keys


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("learning_rate", r"trainer\.learning_rate: set `optimizer\.learning_rate` instead"),
        ("fp16", "set `precision` instead"),
        ("use_cache", "refused: with a cache, packed documents see each other"),
        ("average_tokens_across_devices", "refused: without it the loss is not that of the global batch"),
        (
            "adam_epsilonn",
            "not a key of TrainingArguments that is passed through; did you mean 'adam_epsilon'",
        ),
        ("max_stepz", "did you mean 'steps'"),
    ],
)
def test_trainer_keys_that_are_not_passed_say_why(key, message):
    with pytest.raises(TrainingConfigError, match=message):
        load(ROOT / "configs/train-tiny.yaml", [f"trainer.{key}=1"])


def test_trainer_keys_that_are_passed_arrive(settings, monkeypatch):
    seen = {}
    genuine = PackedTrainer.train

    def train_(self, **keywords):
        seen["epsilon"] = self.args.adam_epsilon
        result = genuine(self, **keywords)
        seen["optimizer"] = type(self.optimizer.optimizer).__name__
        return result

    monkeypatch.setattr(PackedTrainer, "train", train_)
    run(settings, trainer={"optim": "adafactor", "adam_epsilon": 1e-5}, steps=1, evaluation={"fraction": 0.0})
    assert seen == {"epsilon": 1e-5, "optimizer": "Adafactor"}
    with pytest.raises(TrainingConfigError, match=r"trainer: .*not a valid OptimizerNames"):
        run(settings, trainer={"optim": "nothing"}, output=settings["output"] + "-2")


# --- callbacks -----------------------------------------------------------------------------------------------------


class Counts(TrainerCallback, ExportableState):
    """Counts steps, and says so in every checkpoint."""

    made: ClassVar[list["Counts"]] = []

    def __init__(self, steps=0):
        self.steps = steps
        self.made.append(self)

    def on_step_end(self, args, state, control, **kwargs):
        self.steps += 1

    def state(self):
        return {"args": {"steps": self.steps}, "attributes": {}}


class Stops(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == 2


HERE = Path(__file__).stem


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setitem(sys.modules, "own_callbacks", sys.modules[__name__])


def test_a_callback_of_the_users_own_keeps_its_state_over_a_resume(settings, here):
    settings |= {"callbacks": ["own_callbacks:Counts"], "evaluation": {"fraction": 0.0}}
    result = run(settings)
    shutil.rmtree(result["checkpoint"])
    Counts.made.clear()
    assert run(settings)["resumed_from"].endswith("step-00000003")
    assert Counts.made[-1].steps == 6


def test_a_run_that_a_callback_stops_is_saved_where_it_stops(settings, here):
    result = run(settings, callbacks=["own_callbacks:Stops"])
    assert (result["steps"], result["stopped_early"]) == (2, True)
    assert result["checkpoint"].endswith("step-00000002")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing_there:X", "ModuleNotFoundError"),
        ("own_callbacks:Nothing", "AttributeError"),
        ("own_callbacks", "write it as module:attribute"),
        ("own_callbacks:run", "not a class derived from TrainerCallback"),
        ("own_callbacks:TrainConfig", "not a class derived from TrainerCallback"),
    ],
)
def test_a_callback_that_cannot_be_had_is_told(here, name, message):
    with pytest.raises(TrainingConfigError, match=f"callbacks: .*{message}"):
        callbacks([name])


# --- loggers -------------------------------------------------------------------------------------------------------


def test_tensorboard_has_losses_and_every_language(settings):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run(settings, loggers=["tensorboard"], run_name="a name")
    events = EventAccumulator(str(Path(settings["output"]) / "tensorboard"))
    events.Reload()
    assert {"train/loss", "eval/loss", "eval/bits_per_byte", "eval/Python/loss"} <= set(
        events.Tags()["scalars"]
    )
    assert "eval/Cplusplus/bits_per_byte" in events.Tags()["scalars"]
    found = {event.step: event.value for event in events.Scalars("eval/loss")}
    assert list(found) == [0, 3, 6]
    assert found[6] == pytest.approx(result["evaluation"]["all"]["loss"])
    text = events.Tensors("args/text_summary")[0].tensor_proto.string_val[0].decode()
    assert json.loads(text)["run_name"] == "a name"


def test_wandb_writes_offline_and_a_resumed_run_is_the_same_run(settings, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONSOLE", "off")
    run(settings, loggers=["wandb"], steps=1)
    (found,) = (Path(settings["output"]) / "wandb").glob("offline-run-*")
    (file,) = found.glob("run-*.wandb")
    wanted = loggers._environment(TrainConfig.model_validate({**settings, "steps": 1}))["WANDB_RUN_ID"]
    assert file.name == f"run-{wanted}.wandb"
    data = file.read_bytes()
    assert b"eval/Cplusplus/loss" in data
    assert b"train/loss" in data
    assert "WANDB_RUN_ID" not in os.environ


def test_a_logger_that_is_not_installed_names_the_extra(settings, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    for name, extra in (("mlflow", "mlflow"), ("tensorboard", "loggers")):
        config = TrainConfig.model_validate({**settings, "loggers": [name]})
        with pytest.raises(TrainingConfigError, match=rf"{name} needs the package .*stackmill\[{extra}\]"):
            train(config)


def test_mlflow(settings):
    mlflow = pytest.importorskip("mlflow")
    run(settings, loggers=["mlflow"], run_name="a name")
    store = Path(settings["output"]) / "mlflow"
    (values,) = store.glob("*/*/metrics/eval_Cplusplus/loss")
    assert len(values.read_text().splitlines()) == 3
    assert mlflow.active_run() is None


def test_metric_names_are_such_as_every_logger_takes():
    assert loggers.metric_name("C++/loss") == "Cplusplus/loss"
    assert loggers.metric_name("F#/loss") != loggers.metric_name("F*/loss") != loggers.metric_name("F/loss")
    assert loggers.metric_name("a\nb'(c)") == "a_b__c_"


def test_the_name_of_a_run(settings):
    assert loggers.run_name(TrainConfig.model_validate(settings)) == "run"
    assert loggers.run_name(TrainConfig.model_validate({**settings, "run_name": "x"})) == "x"


# --- best and early stopping ---------------------------------------------------------------------------------------


def history(*values, key="eval_loss"):
    return [{"step": 10 * n, key: value} for n, value in enumerate(values)]


def judged(*values, metric="loss", patience=2, min_delta=0.0):
    settings = EvaluationConfig.model_validate(
        {"metric": metric, "early_stopping": {"patience": patience, "min_delta": min_delta}}
    )
    return best.judge(settings, history(*values, key=f"eval_{metric.lstrip('+')}"))


def test_best_and_stop_from_the_history():
    nan = float("nan")
    assert judged() == best.Best(None, None, 0, False)
    assert judged(1.0) == best.Best(None, None, 0, False)  # before the first step
    assert judged(1.0, 3.0, 2.0, 2.5) == best.Best(20, 2.0, 1, False)
    assert judged(1.0, 3.0, 2.0, 2.5, 2.0) == best.Best(20, 2.0, 2, True)
    assert judged(1.0, 3.0, 2.0, 2.5, 1.0) == best.Best(40, 1.0, 0, False)
    assert judged(0.0, 0.1, 0.3, 0.2, metric="+loss") == best.Best(20, 0.3, 1, False)
    assert judged(9, nan, 2.0, nan) == best.Best(20, 2.0, 1, False)
    assert judged(9, nan, nan).stop
    # ever so little better: the best step moves, patience does not
    assert judged(9, 3.0, 2.95, 2.9, min_delta=0.2) == best.Best(30, 2.9, 2, True)


def test_a_run_stops_early_keeps_its_best_and_is_then_finished(settings):
    settings |= {"steps": 40, "optimizer": {"learning_rate": 0.3, "schedule": "constant"}, "save_every": 1}
    settings["evaluation"] = {"every": 2, "fraction": 0.2, "early_stopping": {"patience": 2}}
    settings["keep_checkpoints"] = 3
    lines = []
    result = run(settings, lines)
    assert result["stopped_early"]
    assert result["steps"] < 40
    assert result["steps"] == result["best"]["step"] + 4
    assert any("stopped early" in line for line in lines)
    checkpoints = {path.name for path in (Path(settings["output"]) / "checkpoints").iterdir()}
    assert {Path(result["checkpoint"]).name, Path(result["best"]["checkpoint"]).name} <= checkpoints
    # repeated: nothing to do; with more patience it goes on
    lines.clear()
    again = run(settings, lines)
    assert any("nothing to do" in line for line in lines)
    assert again["best"] == result["best"]
    # resumed in the middle of waiting, it decides the same; with more patience it goes on
    shutil.rmtree(result["checkpoint"])
    resumed = run(settings)
    assert resumed["resumed_from"] is not None
    assert (resumed["steps"], resumed["best"]) == (result["steps"], result["best"])
    settings["evaluation"]["early_stopping"] = {"patience": 3}
    assert run(settings)["steps"] > result["steps"]


def test_a_metric_that_is_not_measured_names_those_that_are():
    figures = dict.fromkeys(best.FIGURES, 1.0)
    report = {"all": figures, "languages": {"Python": figures}}
    best.check(EvaluationConfig(metric="+Python/loss"), report)
    with pytest.raises(
        TrainingConfigError, match=r"'Pyton/loss' is not measured; there are: loss, .*Python/loss"
    ):
        best.check(EvaluationConfig(metric="Pyton/loss"), report)


# --- custom metrics ------------------------------------------------------------------------------------------------


def characters(model, tokenizer, documents):
    assert not model.training
    assert not torch.is_grad_enabled()
    torch.rand(3)
    return {"characters": sum(len(document.text) for document in documents)}


def broken(model, tokenizer, documents):
    raise KeyError("nothing")


def no_numbers(model, tokenizer, documents):
    return {"a": "text"}


def taken(model, tokenizer, documents):
    return {"loss": 1.0}


taken_too = taken


def test_own_metrics_are_reported_and_can_decide(settings, here):
    settings["evaluation"] |= {"metrics": ["own_callbacks:characters"], "metric": "+characters"}
    result = run(settings)
    assert result["evaluation"]["custom"]["characters"] > 100
    assert result["best"] == {
        "metric": "+characters",
        "value": result["evaluation"]["custom"]["characters"],
        "step": 3,
        "checkpoint": "checkpoints/step-00000003",
    }


def test_an_entry_point_is_a_metric(here, monkeypatch):
    point = named.importlib.metadata.EntryPoint("mine", "own_callbacks:characters", "stackmill.metrics")
    monkeypatch.setattr(
        named.importlib.metadata,
        "entry_points",
        lambda group, name=None: [point] if name in (None, "mine") and group == "stackmill.metrics" else [],
    )
    found = custom_metrics.load(["mine"])["mine"]
    assert found.__name__ == "characters"
    with pytest.raises(TrainingConfigError, match=r"no installed package has an entry point 'other'.*mine"):
        custom_metrics.load(["other"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["broken"], "broken failed with KeyError: 'nothing'"),
        (["no_numbers"], "must return a dict of names and numbers"),
        (["taken", "taken_too"], "taken_too gives 'loss', which another one gave"),
    ],
)
def test_a_metric_that_fails_is_named(here, names, message):
    found = custom_metrics.load([f"own_callbacks:{name}" for name in names])
    with pytest.raises(TrainingConfigError, match=message):
        custom_metrics.measure(found, torch.nn.Linear(1, 1), None, lambda: iter(()))


def test_an_own_metric_has_a_name_of_its_own():
    figures = dict.fromkeys(best.FIGURES, 1.0)
    with pytest.raises(TrainingConfigError, match="'loss' is the name of another figure"):
        best.flat({"all": figures, "languages": {}, "custom": {"loss": 1.0}})


# --- profile, deterministic mode, ends from outside ----------------------------------------------------------------


def test_a_profile_is_a_trace_of_the_steps_asked_for_and_the_model_is_shown(settings):
    lines = []
    run(settings, lines, profile={"first_step": 2, "steps": 2}, evaluation={"fraction": 0.0}, steps=4)
    (file,) = (Path(settings["output"]) / "profile").iterdir()
    assert file.name == "steps-2-3-rank-0.json"
    events = json.loads(file.read_text())["traceEvents"]
    steps = [e for e in events if str(e.get("name", "")).startswith("Optimizer.step#")]
    assert len(steps) == 2
    assert any("aten::" in str(event.get("name")) for event in events)
    at = next(n for n, line in enumerate(lines) if line.startswith("block "))
    table = [line.split() for line in lines[at : at + 12]]
    assert [row[0] for row in table if row[0].startswith("layers")] == [
        "layers.self_attn",
        "layers.mlp",
        "layers.input_layernorm",
        "layers.post_attention_layernorm",
    ]
    total = next(row for row in table if row[0] == "all")
    assert f" {total[1]} parameters, {total[2]} trained" in "\n".join(lines)


def test_a_profile_of_steps_that_do_not_come_is_said(settings):
    """Breach: a trace is asked for, none is there, and nothing says why."""
    lines = []
    run(settings, lines, profile={"first_step": 3}, evaluation={"fraction": 0.0}, steps=2)
    assert not (Path(settings["output"]) / "profile").exists()
    assert "profile: no trace: step 3 (profile.first_step) is not among the steps to come, 1 to 2" in lines


def test_deterministic_mode_is_on_in_a_run_and_off_behind_it(settings, monkeypatch):
    seen = []
    genuine = PackedTrainer.training_step

    def step(self, *rest):
        seen.append(torch.are_deterministic_algorithms_enabled())
        seen.append(os.environ["CUBLAS_WORKSPACE_CONFIG"])
        return genuine(self, *rest)

    monkeypatch.setattr(PackedTrainer, "training_step", step)
    run(settings, deterministic=True, steps=1, evaluation={"fraction": 0.0})
    assert set(seen) == {True, ":4096:8"}
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_seed_everything_seeds_every_generator():
    import random

    import numpy as np

    def draw():
        return random.random(), np.random.random(), float(torch.rand(1))

    reproducible.seed_everything(2**40 + 3)
    first = draw()
    reproducible.seed_everything(2**40 + 3)
    assert draw() == first
    reproducible.seed_everything(4)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def fails_with(monkeypatch, failure):
    genuine = PackedTrainer.training_step

    def step(self, *rest):
        if self.state.global_step == 3:
            failure()
        return genuine(self, *rest)

    monkeypatch.setattr(PackedTrainer, "training_step", step)


def raises(error):
    def failure():
        raise error

    return failure


def test_out_of_memory_says_what_to_change(settings, monkeypatch):
    fails_with(monkeypatch, raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")))
    with pytest.raises(OutOfMemoryError) as caught:
        run(settings)
    text = str(caught.value)
    for words in (
        "Tried to allocate",
        "micro_batch_size (now 2;",
        "gradient_checkpointing: true",
        "lora",
        "A step takes about 0.00 GB in each process: ",
        "activations 0.0",
        "sequence_length (now 64)",
    ):
        assert words in text
    assert len(list(Path(settings["output"]).glob("checkpoints/step-*"))) == 1


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        (lambda: torch.empty(2**55), OutOfMemoryError, "out of memory: .*llocate"),
        (raises(MemoryError()), OutOfMemoryError, "out of memory: MemoryError"),
        (raises(RuntimeError("of another kind")), RuntimeError, "^of another kind$"),
        (
            raises(OSError(28, "No space left on device")),
            OutputError,
            "cannot be written or read: No space left",
        ),
    ],
    ids=["processor", "python", "other", "disk"],
)
def test_ends_from_outside_are_told(settings, tmp_path, failure, error, message):
    config = TrainConfig.model_validate(settings)
    with pytest.raises(error, match=message), refused(config), told(config, tmp_path, print):
        failure()


def test_ctrl_c_says_what_is_left(settings, tmp_path):
    config, lines = TrainConfig.model_validate(settings), []
    with pytest.raises(KeyboardInterrupt), told(config, tmp_path, lines.append):
        raise KeyboardInterrupt
    (tmp_path / "step-00000003").mkdir()
    with pytest.raises(KeyboardInterrupt), told(config, tmp_path, lines.append):
        raise KeyboardInterrupt
    assert "no checkpoint was written yet" in lines[0]
    assert lines[1] == (
        f"interrupted: the newest checkpoint is {tmp_path}/step-00000003; the same command goes on from it"
    )
