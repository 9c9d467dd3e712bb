"""A DeepSpeed configuration: filled in, or refused with every key that is wrong."""

import importlib.util
import json
from argparse import Namespace

import pytest

from training.config import TrainConfig
from training.errors import TrainingConfigError
from training.run import deepspeed


@pytest.fixture
def made(settings, tmp_path, monkeypatch):
    """`made(content, installed=True)`: the resolved configuration in 2 processes with 1 micro-batch each."""

    def make(content, installed=True, processor=False):
        file = tmp_path / "zero.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
        config = TrainConfig.model_validate(
            {**settings, "device": "auto", "parallel": {"deepspeed": str(file)}}
        )
        return deepspeed.resolved(config, 2, 1, processor=processor)

    return make


def test_what_the_run_decides_is_filled_in(made):
    found = made({"zero_optimization": {"stage": 2}, "train_batch_size": "auto", "bf16": {"enabled": "auto"}})
    assert found == {
        "zero_optimization": {"stage": 2},
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 1.0,
        "bf16": {"enabled": False},
        "fp16": {"enabled": False},
    }
    assert made({"train_batch_size": 4})["train_micro_batch_size_per_gpu"] == 2


def test_a_checkpoint_of_cut_weights_gets_them_whole(made):
    """Breach: ZeRO 3 ends at the first checkpoint."""
    key = "stage3_gather_16bit_weights_on_model_save"
    assert made({"zero_optimization": {"stage": 3}})["zero_optimization"][key] is True


def test_a_model_is_built_whole_before_it_is_checked():
    """Breach: with ZeRO 3 each weight is cut as it is made, and the check says that the forward pass fails."""
    from transformers.integrations.deepspeed import (
        deepspeed_config,
        set_hf_deepspeed_config,
        unset_hf_deepspeed_config,
    )

    settings = Namespace(config={"zero_optimization": {"stage": 3}})
    set_hf_deepspeed_config(settings)
    try:
        assert deepspeed_config() is settings.config
        deepspeed.build_whole()
        assert deepspeed_config() is None
    finally:
        unset_hf_deepspeed_config()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train_batch_size": 8}, r"train_batch_size: 8, but the run has 4 \(by global_batch_tokens"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps: 2, but the run has 1"),
        ({"gradient_clipping": 0.5}, "by optimizer.max_grad_norm"),
        ({"bf16": {"enabled": True}}, r"bf16\.enabled: True, but the run has False \(by precision\)"),
        ({"scheduler": {"type": "WarmupLR"}}, "scheduler: take it out"),
        ({"curriculum_learning": {}}, "change the rows of a step"),
        ("[]", "a JSON object is needed"),
        ("{", "not JSON"),
    ],
)
def test_what_the_run_decides_otherwise_is_refused(made, content, message):
    with pytest.raises(TrainingConfigError, match=message):
        made(content)


def test_all_that_is_wrong_is_told_at_once(made):
    with pytest.raises(TrainingConfigError, match=r"(?s)scheduler.*train_batch_size.*gradient_clipping"):
        made({"gradient_clipping": 2.0, "train_batch_size": 1, "scheduler": {}})


def test_deepspeed_that_is_not_installed(made):
    with pytest.raises(TrainingConfigError, match="not installed: pip install 'deepspeed"):
        made({}, installed=False)


def test_a_file_that_is_not_there(settings):
    config = TrainConfig.model_validate(
        {**settings, "device": "auto", "parallel": {"deepspeed": "/nowhere.json"}}
    )
    with pytest.raises(TrainingConfigError, match=r"/nowhere\.json: cannot be read"):
        deepspeed.resolved(config, 1, 1, processor=False)


def test_no_deepspeed(settings):
    assert deepspeed.resolved(TrainConfig.model_validate(settings), 1, 1, processor=True) is None


def test_deepspeed_without_a_gpu(made):
    with pytest.raises(TrainingConfigError, match="needs a GPU"):
        made({}, processor=True)
