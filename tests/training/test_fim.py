"""Fill in the middle: pieces make the file, draws are pure, rates are met."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.corpus.fim import Cut, draw, pieces


@given(st.text(), st.integers(0, 9), st.integers(0, 3))
def test_prefix_middle_and_suffix_are_the_file(text, seed, epoch):
    cut = draw("id", len(text), seed=seed, epoch=epoch, rate=1.0, spm_rate=0.5)
    assert cut is not None
    assert 0 <= cut.start <= cut.end <= len(text)
    assert "".join(pieces(text, cut)) == text


def test_a_draw_depends_on_seed_epoch_and_content_only():
    def at(name="a", seed=0, epoch=0):
        return draw(name, 10_000, seed=seed, epoch=epoch, rate=1.0, spm_rate=0.5)

    assert at() == at()
    assert len({at(), at(name="b"), at(seed=1), at(epoch=1)}) == 4


def test_known_draws_never_change():
    """The token streams named in older checkpoints must be made again exactly."""
    assert draw("a", 1000, seed=0, epoch=0, rate=1.0, spm_rate=0.5) == KNOWN


KNOWN = Cut("spm", 153, 730)


@pytest.mark.parametrize(("rate", "spm_rate"), [(0.5, 0.5), (0.0, 0.5), (1.0, 0.0), (1.0, 1.0), (0.3, 0.2)])
def test_rates(rate, spm_rate):
    names = [hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(4000)]
    cuts = [draw(name, 500, seed=3, epoch=1, rate=rate, spm_rate=spm_rate) for name in names]
    found = [cut for cut in cuts if cut is not None]
    assert abs(len(found) / len(names) - rate) < 0.03
    if found:
        assert abs(sum(cut.order == "spm" for cut in found) / len(found) - spm_rate) < 0.04
        # both points are uniform: their mean is a third and two thirds of the way
        assert abs(sum(cut.start for cut in found) / len(found) / 500 - 1 / 3) < 0.03
        assert abs(sum(cut.end for cut in found) / len(found) / 500 - 2 / 3) < 0.03
