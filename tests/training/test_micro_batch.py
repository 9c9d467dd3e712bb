"""`micro_batch_size: auto`: the largest that fits, the same in every process, and nothing else is changed by the search."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.multiprocessing
from hypothesis import given
from hypothesis import strategies as st

from training.config import TrainConfig
from training.errors import TrainingConfigError
from training.model import build
from training.prepare import Prepared, prepare
from training.run import micro_batch


class Limited(torch.nn.Module):
    """A model on a device that takes so many rows at once: before the end of the forward pass, memory is gone."""

    def __init__(self, model: Any, rows: int) -> None:
        super().__init__()
        self.model, self.rows, self.asked = model, rows, []

    def forward(self, **inputs: Any) -> Any:
        self.asked.append(len(inputs["input_ids"]))
        result = self.model(**inputs)
        torch.rand(3)  # as dropout would
        if len(inputs["input_ids"]) > self.rows:
            raise torch.OutOfMemoryError("fake")
        return result


@pytest.fixture
def prepared(settings) -> tuple[TrainConfig, Prepared]:
    config = TrainConfig.model_validate({**settings, "micro_batch_size": "auto", "global_batch_tokens": 768})
    return config, prepare(config, lambda _: None)


@given(st.integers(1, 60), st.integers(1, 8))
def test_candidates_divide_the_rows_of_a_process(rows, world):
    if rows % world:
        with pytest.raises(TrainingConfigError, match="change global_batch_tokens"):
            micro_batch.candidates(rows, world)
        return
    found = micro_batch.candidates(rows, world)
    assert found == sorted(found) and found[0] == 1 and found[-1] == rows // world
    assert all(rows % (world * size) == 0 for size in found)


@given(st.lists(st.integers(1, 40), min_size=1, unique=True).map(sorted), st.integers(0, 45))
def test_the_largest_that_fits_is_found(sizes, limit):
    def attempt(size: int) -> None:
        if size > limit:
            raise torch.OutOfMemoryError("fake")

    if limit < sizes[0]:
        with pytest.raises(TrainingConfigError, match="gradient_checkpointing: true"):
            micro_batch.search(sizes, attempt)
    else:
        assert micro_batch.search(sizes, attempt) == max(size for size in sizes if size <= limit)


def test_the_search_moves_neither_weights_nor_random_numbers(prepared):
    """Breach: a run with `auto` is another run than one with the number that it found."""
    config, data = prepared
    model = Limited(build.build(config.model, data.tokenizer, config.data.sequence_length, config.seed), 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    sizes = micro_batch.candidates(config.rows_per_step, 1)
    assert micro_batch.search(sizes, micro_batch.Attempt(model, data)) == 4
    assert model.asked == [1, 2, 3, 4, 6]  # 6 was tried and did not fit, 12 was not
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


def test_on_a_cpu_the_rule_decides(prepared, monkeypatch):
    config, data = prepared
    lines: list[str] = []
    settled = micro_batch.before(config, 1)
    assert settled.micro_batch_size == 12  # 12 rows of 64 tokens are less than 4,096
    assert micro_batch.settle(config, settled, data, None, 1, lines.append) == settled
    assert lines == ["micro_batch_size: 12 rows (at most 4096 tokens on a CPU)"]
    monkeypatch.setattr(micro_batch, "CPU_TOKENS", 64 * 5)
    assert micro_batch.before(config, 1).micro_batch_size == 4
    given_ = config.model_copy(update={"micro_batch_size": 3})
    assert micro_batch.before(given_, 1) is given_
    assert micro_batch.settle(given_, given_, data, None, 1, lines.append) is given_ and len(lines) == 1


def test_on_a_gpu_the_search_decides(prepared, monkeypatch):
    """The whole path, with a CPU that pretends to be a GPU of little memory."""
    config, data = prepared
    monkeypatch.setattr(micro_batch, "on_gpu", lambda _: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda _: None)
    lines: list[str] = []
    first = micro_batch.before(config, 2)
    assert first.micro_batch_size == 1  # until the model is there
    model = Limited(build.build(config.model, data.tokenizer, config.data.sequence_length, config.seed), 3)
    settled = micro_batch.settle(config, first, data, model, 2, lines.append)
    assert settled.micro_batch_size == 3  # of 6 rows of each of two processes
    assert lines == ["micro_batch_size: 3 rows (the largest that fits every GPU)"]
    assert settled.digest() == config.digest()  # a run may be resumed with another number


def _agrees(rank: int, file: str, results: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    results[rank] = micro_batch.agree([6, 4][rank], torch.device("cpu"))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_take_the_smallest(tmp_path):
    """Breach: one rank steps with four rows and the other with six, and the batch is neither."""
    with torch.multiprocessing.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(_agrees, (str(tmp_path / "store"), results), nprocs=2)
        assert dict(results) == {0: 4, 1: 4}


def test_auto_is_accepted_before_it_is_settled(prepared):
    _, data = prepared
    assert data.order.accumulation(2, "auto") == 6
    assert micro_batch.agree(6, torch.device("cpu")) == 6  # without other processes
