import pytest

from pipeline.stages.licenses import _MAX_GROUP, WORTH_LOADING, groups


@pytest.mark.parametrize(
    ("left", "processes", "expected"),
    [
        ({0: 0, 1: 0}, 2, []),
        ({0: 3, 1: 0, 2: 1}, 2, [[0, 2]]),
        (dict.fromkeys(range(4), WORTH_LOADING), 2, [[0, 1], [2, 3]]),
        (dict.fromkeys(range(_MAX_GROUP + 2), WORTH_LOADING), 1, [list(range(_MAX_GROUP)), [16, 17]]),
    ],
    ids=["nothing", "a few", "two", "many"],
)
def test_groups_are_worth_loading_the_index(left, processes, expected):
    assert groups(left, processes) == expected
