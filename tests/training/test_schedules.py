"""Learning rates: exact at the steps that matter, within bounds everywhere, the same after a resume."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.config import OptimizerConfig
from training.run.schedules import scheduler, share

KINDS = ["cosine", "linear", "constant", "wsd"]


def rates(steps=100, **settings):
    rate = share(OptimizerConfig(**settings), steps)
    return [rate(step) for step in range(steps + 1)]


def test_cosine_at_the_steps_that_matter():
    found = rates(schedule="cosine", warmup_steps=20, min_ratio=0.1)
    assert found[0] == 1 / 21
    assert found[19] == 20 / 21
    assert found[20] == 1.0
    assert found[60] == pytest.approx(0.55)  # halfway
    assert found[40] == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)  # a quarter
    assert found[99] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 79 / 80)) / 2)
    assert found[100] == pytest.approx(0.1)


def test_linear_at_the_steps_that_matter():
    found = rates(schedule="linear", warmup_steps=50)
    assert (found[50], found[75], found[99], found[100]) == (1.0, 0.5, pytest.approx(0.02), 0.0)
    assert rates(schedule="linear", min_ratio=0.5)[50] == 0.75


def test_wsd_at_the_steps_that_matter():
    found = rates(schedule="wsd", warmup_steps=9, decay_fraction=0.25, min_ratio=0.2)
    assert found[0] == 0.1
    assert set(found[9:76]) == {1.0}
    assert found[76] == pytest.approx(0.2 + 0.8 * (1 - math.sqrt(1 / 25)))
    assert found[84] == pytest.approx(0.2 + 0.8 * (1 - 0.6))  # 9 of 25 steps
    assert found[100] == pytest.approx(0.2)


def test_constant():
    assert set(rates(schedule="constant", warmup_steps=3)[3:]) == {1.0}


@given(
    kind=st.sampled_from(KINDS),
    steps=st.integers(1, 300),
    warmup=st.integers(0, 400),
    least=st.floats(0, 0.99),
    fraction=st.floats(0.01, 1),
)
def test_any_schedule_rises_then_never_rises_again_and_stays_within_its_bounds(
    kind, steps, warmup, least, fraction
):
    found = rates(steps, schedule=kind, warmup_steps=warmup, min_ratio=least, decay_fraction=fraction)
    rise, rest = found[:warmup], found[warmup:]
    assert all(a < b for a, b in itertools.pairwise(rise))
    assert all(a >= b for a, b in itertools.pairwise(rest))
    assert all(least - 1e-12 <= rate <= 1 for rate in rest)
    assert all(0 < rate < 1 for rate in rise)
    assert all(rate > 0 for rate in found[:-1]) or kind == "constant" or least == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_schedule_goes_on_exactly(kind):
    settings = OptimizerConfig(schedule=kind, warmup_steps=3, learning_rate=0.3)

    def run(first, last, state=None):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=settings.learning_rate)
        schedule = scheduler(optimizer, settings, 12)
        if state is not None:
            optimizer.load_state_dict(state[0]), schedule.load_state_dict(state[1])
        seen = []
        for _ in range(first, last):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step(), schedule.step()
        return seen, (optimizer.state_dict(), schedule.state_dict())

    whole, _ = run(0, 12)
    start, state = run(0, 5)
    assert whole == [0.3 * rate for rate in rates(12, schedule=kind, warmup_steps=3)[:12]]
    assert start + run(5, 12, state)[0] == whole
