"""A resumed run with other settings: those that change nothing that is learnt may differ, all others are refused."""

import copy
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.config import TrainConfig
from training.config.root import WITHOUT_EFFECT, with_effect
from training.run import checkpoint
from training.run.train import train

OTHER = {
    "release": "LINK",
    "output": "COPY",
    "log_every": 4,
    "save_every": 4,
    "keep_checkpoints": 7,
    "keep_best": False,
    "device": "auto",
    "peak_tflops": 0.5,
    "run_name": "another",
    "profile": {"first_step": 5, "steps": 1},
    "data.cache": "CACHE",
    "data.workers": 1,
    "evaluation.every": 100,
    "evaluation.max_bytes": 3000,
    "evaluation.fim_documents": 2,
    "evaluation.fim_max_tokens": 4,
    "evaluation.metric": "perplexity",
    "evaluation.metrics": ["own_metric:characters"],
    "evaluation.early_stopping": {"patience": 9},
}
"""Another value of every key that leaves the weights as they are, to the bit."""

ROUNDED = {"micro_batch_size": 8, "gradient_checkpointing": True, "loss_chunk": 16}
"""Of those that sum in another order."""

ELSEWHERE = {
    "loggers": "test_run_options.py",
    "parallel": "test_killed.py, test_parallel.py",
    "compile": "takes a compiler and half a minute",
}


@pytest.fixture(scope="module")
def finished(six_steps, tmp_path_factory):
    """(settings, output) of a run of six steps, with a checkpoint at 3."""
    output = tmp_path_factory.mktemp("finished") / "run"
    settings = six_steps(output, 16)
    train(TrainConfig.model_validate(settings))
    return settings, output


def changed(settings, values):
    """A copy of the settings with other values of dotted keys."""
    result = copy.deepcopy(settings)
    for dotted, value in values.items():
        section, _, key = dotted.rpartition(".")
        (result.setdefault(section, {}) if section else result)[key] = value
    return result


def resumed(finished, folder, values):
    """The weights and the output of the run when it goes on from step 3 with other settings."""
    settings, output = finished
    shutil.copytree(output, folder / "copy")
    shutil.rmtree(folder / "copy/checkpoints/step-00000006")
    (folder / "release").symlink_to(settings["release"])
    places = {"LINK": folder / "release", "COPY": folder / "copy", "CACHE": folder / "cache"}
    values = {key: str(places[value]) if str(value) in places else value for key, value in values.items()}
    result = train(TrainConfig.model_validate(changed(settings, {"output": str(folder / "copy"), **values})))
    assert result["resumed_from"].endswith("step-00000003")
    return folder / "copy"


def test_every_key_without_effect_is_tried():
    assert OTHER.keys() | ROUNDED.keys() | ELSEWHERE.keys() == set(WITHOUT_EFFECT)


def characters(model, tokenizer, documents):
    return {"characters": sum(len(document.text) for document in documents)}


def test_other_values_of_keys_without_effect_change_no_bit_and_do_what_they_say(
    finished, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "own_metric", sys.modules[__name__])
    output = resumed(finished, tmp_path, OTHER)
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        wanted = (finished[1] / "checkpoints/step-00000006" / name).read_bytes()
        assert (output / "checkpoints/step-00000006" / name).read_bytes() == wanted, name
    kept = [checkpoint.step_of(folder) for folder in checkpoint.all_steps(output / "checkpoints")]
    assert kept == [6, 4, 3]
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 6]
    evaluations = [line for line in lines if "evaluation" in line]
    assert [line["step"] for line in evaluations] == [0, 3, 6]
    assert {"fim", "custom"} <= evaluations[-1]["evaluation"].keys()
    assert list((output / "profile").iterdir())
    assert not (output / "best.json").exists()


def test_keys_that_sum_in_another_order_change_the_rounding_only(finished, tmp_path):
    output = resumed(finished, tmp_path, ROUNDED)
    wanted = load_file(finished[1] / "checkpoints/step-00000006/model.safetensors")
    for name, value in load_file(output / "checkpoints/step-00000006/model.safetensors").items():
        assert torch.allclose(value, wanted[name], atol=1e-4), name


def leaves(value, key=""):
    """Dotted keys of a configuration."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}" if key else name)
    else:
        yield key


def test_every_other_key_makes_it_another_run(finished):
    """Breach: a run goes on with settings that change what is learnt."""
    whole = {**finished[0], "profile": {}, "lora": {}, "evaluation": {"early_stopping": {}}}
    whole["model"], whole["tokenizer"] = {"path": "base"}, {}
    dump = TrainConfig.model_validate(whole).model_dump(mode="json")
    for key in leaves(dump):
        parts = key.split(".")
        other = copy.deepcopy(dump)
        section = other
        for part in parts[:-1]:
            section = section[part]
        section[parts[-1]] = "another"
        without = key in WITHOUT_EFFECT or parts[0] in WITHOUT_EFFECT or ".".join(parts[:2]) in WITHOUT_EFFECT
        if key != "sources":
            assert (with_effect(other) == with_effect(dump)) is without, key


def test_a_resume_at_the_end_of_an_epoch_goes_on_with_the_next(finished, tmp_path):
    """The checkpoint lies exactly between two epochs; the run ends with the last step of the second."""
    more = {
        "steps": None,
        "epochs": 2,
        "global_batch_tokens": 2048,
        "micro_batch_size": 16,
        "save_every": 1000,
    }
    more |= {"languages": ["Shell"], "evaluation": {"fraction": 0.0}}
    whole = train(
        TrainConfig.model_validate(changed(finished[0], {**more, "output": str(tmp_path / "whole")}))
    )
    between, last = (epoch["steps"] for epoch in whole["seen"]["epochs"])
    assert whole["steps"] == between + last
    more |= {"output": str(tmp_path / "stopped"), "save_every": between}
    stopped = train(TrainConfig.model_validate(changed(finished[0], more)))
    shutil.rmtree(stopped["checkpoint"])
    again = train(TrainConfig.model_validate(changed(finished[0], more)))
    assert checkpoint.step_of(Path(again["resumed_from"])) == between
    for name in ("model.safetensors", "optimizer.pt"):
        assert (Path(again["checkpoint"]) / name).read_bytes() == (
            Path(whole["checkpoint"]) / name
        ).read_bytes()
    assert again["seen"] == whole["seen"]


def test_a_resume_from_a_checkpoint_of_the_best_writes_the_same_lines_and_lineage(finished, tmp_path):
    """Saved because it was the best, between two lines: breach: the losses since the last line are lost."""
    more = {"evaluation.every": 2, "save_every": 6, "log_every": 5, "keep_checkpoints": 9}
    settings = changed(finished[0], {**more, "output": str(tmp_path / "run")})
    result = train(TrainConfig.model_validate(settings))
    output = tmp_path / "run"
    names = (
        "metrics.jsonl",
        *(f"checkpoints/step-00000006/{n}" for n in ("lineage.json", "trainer_state.json")),
    )
    whole = [(output / name).read_bytes() for name in names]
    assert [checkpoint.step_of(folder) for folder in checkpoint.all_steps(output / "checkpoints")] == [
        6,
        4,
        2,
    ]
    for step in (4, 6):
        shutil.rmtree(checkpoint.folder_of(output / "checkpoints", step))
    again = train(TrainConfig.model_validate(settings))
    assert again["resumed_from"].endswith("step-00000002")
    assert [(output / name).read_bytes() for name in names] == whole
    assert again["evaluation"] == result["evaluation"]
