"""The dry run: exact where it can be, the estimate near what then comes, well-known models without a download."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from training.config import TrainConfig, load
from training.errors import TrainingConfigError
from training.model import build, memory, published
from training.prepare import prepare
from training.run.dry_run import dry_run, readable

ROOT = Path(__file__).parents[2]


def silent(_: str) -> None:
    return None


@pytest.fixture
def config(settings) -> TrainConfig:
    return TrainConfig.model_validate({**settings, "steps": None, "epochs": 2})


def test_a_plan_before_and_after_the_tokens_are_made(config):
    """Breach: the plan says something else than what the run then does."""
    before = dry_run(config)
    assert not before["exact"] and "about" in readable(before)
    assert not config.cache_folder.exists()
    prepared = prepare(config, silent)
    after = dry_run(config)
    plan = prepared.epochs[0].plan
    assert after["exact"] and "estimated from" not in readable(after)
    assert after["data"]["tokens_per_epoch"] == plan.tokens
    assert after["data"]["rows_per_epoch"] == plan.rows and after["data"]["filled"] == plan.filled
    assert after["steps"] == prepared.order.steps
    assert after["data"]["train_rows"] == before["data"]["train_rows"] == int(prepared.corpus.train.sum())
    assert after["data"]["held_out_rows"] == int(prepared.corpus.held_out.sum())
    model = build.build(config.model, prepared.tokenizer, config.data.sequence_length, config.seed)
    assert (after["model"]["parameters"], after["model"]["trained"]) == build.parameters(model)
    assert sum(after["data"]["languages"].values()) == pytest.approx(1)
    assert json.loads(json.dumps(after)) == after
    # Small random files make more tokens than code does; the estimate is of the right size all the same.
    assert before["data"]["tokens_per_epoch"] == pytest.approx(plan.tokens, rel=0.6)


def test_what_was_found_for_other_settings_is_not_used(config, settings):
    """Breach: exact numbers of another run."""
    prepare(config, silent)
    for change in ({"seed": 7}, {"data": {"sequence_length": 32}}, {"languages": ["Python"]}):
        assert not dry_run(TrainConfig.model_validate({**settings, "steps": None, "epochs": 2, **change}))[
            "exact"
        ]
    slower = {"optimizer": {"learning_rate": 1e-5}, "micro_batch_size": 1}
    assert dry_run(TrainConfig.model_validate({**settings, "steps": None, "epochs": 2, **slower}))["exact"]


@pytest.mark.parametrize("preset", ["lora", "qlora", "full"])
def test_presets_of_large_models_are_planned_without_their_weights(preset, release):
    """Breach: the size of a step is learnt from a crash."""
    path = "model.path=meta-llama/Llama-3.1-8B"
    plan = dry_run(
        load(
            ROOT / f"configs/train-{preset}.yaml", [f"release={release}", path, "tokenizer.add_missing=false"]
        )
    )
    gpu = plan["memory"][-1]
    parts = gpu["bytes"]
    assert plan["model"]["sizes_from"] == "published sizes"
    assert (
        gpu["place"] == "one GPU" and gpu["precision"] == "bf16" and gpu["attention"] == "flash_attention_2"
    )
    total, trained = plan["model"]["parameters"], plan["model"]["trained"]
    if preset == "full":
        assert total == trained == 8_030_261_248
        assert parts["weights"] + parts["gradients"] + parts["optimizer"] == 16 * total
        assert plan["flops_per_token"] == pytest.approx(6 * 7.5e9, rel=0.01)
        return
    assert trained == total - 8_030_261_248 == 41_943_040  # rank 16 on the seven matrices of 32 layers
    assert plan["flops_per_token"] == pytest.approx(4 * 7.5e9 + 6 * trained, rel=0.01)
    assert parts["adapters"] == parts["gradients"] == 4 * trained
    if preset == "lora":
        assert parts["weights"] == 2 * 8_030_261_248
        assert parts["total"] < 80e9
    else:
        # Embeddings and head in bf16 (2.1 GB), 6.98e9 weights at 4.127 bits (3.6 GB).
        assert parts["weights"] == pytest.approx(2 * 1_050_939_392 + 6_979_321_856 * 4.127 / 8, rel=1e-3)
        assert parts["total"] < 24e9
    assert "bf16, flash_attention_2" in readable(plan)


def test_an_unknown_model_is_refused_with_what_to_do(settings):
    with pytest.raises(TrainingConfigError, match=r"put its config\.json into a folder"):
        dry_run(TrainConfig.model_validate({**settings, "model": {"path": "nobody/Nothing-1B"}}))


@pytest.mark.parametrize("name", sorted(published.MODELS))
def test_sizes_of_well_known_models_give_the_published_number_of_parameters(name):
    """Breach: a size is mistyped, and everything planned with it is wrong."""
    with memory.fake():
        model = memory.fake_model(published.config_of(name), torch.bfloat16)
        total, _ = memory.parameters(model)
    assert total / 1e9 == pytest.approx(published.MODELS[name][2], rel=0.01)
    assert published.find(f"Somebody/{name}-Instruct") == published.find(name)


def test_coder_models_have_the_sizes_of_their_base():
    assert published.find("Qwen/Qwen2.5-Coder-7B") == published.find("Qwen/Qwen2.5-7B")
    assert published.find("nobody/Nothing-1B") is None
