"""Any configuration: accepted or refused with its keys; file, `--set` and `--schema` agree."""

import functools
import json
import math

import jsonschema
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from training.config import TrainConfig, load
from training.config.load import _all_keys, _section_in
from training.errors import TrainingConfigError

MINIMAL = {"release": "r", "output": "o", "steps": 1}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([2**31, 2**63, 10**30, 0.0, 0.25, 0.5, 1.5, -0.5, math.inf, -math.inf, math.nan]),
    st.sampled_from(
        ["auto", "cosine", "fsdp", "bf16", "cpu", "null", "1e3", "", "a\0b", "\ud800", "\x1b[2J", "x" * 500]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["rate", "path", "rank", "x", "Python", "name", "jsonl"]), inner, max_size=2
        ),
    ),
    max_leaves=4,
)
KEYS = sorted(_all_keys())
NAMES = st.one_of(
    st.sampled_from(KEYS), st.sampled_from(["stepz", "data.rat", "model.x", "lora.rang", "a.b.c", "\x1b"])
)


def yaml_of(value):
    """JSON with the numbers that YAML has and JSON has not; JSON is YAML."""
    return json.dumps(value).replace("-Infinity", "-.inf").replace("Infinity", ".inf").replace("NaN", ".nan")


def put(tree, dotted, value):
    *sections, key = dotted.split(".")
    for name in sections:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            return False
    tree[key] = value
    return True


@functools.cache
def validator():
    return jsonschema.Draft202012Validator(TrainConfig.model_json_schema())


def read(file, overrides=()):
    try:
        return load(file, overrides), None
    except TrainingConfigError as error:
        return None, str(error)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "train.yaml"


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4))
@example([("lora", {}), ("model.path", "a")])
@example([("steps", None), ("epochs", 3)])
def test_a_configuration_is_taken_whole_or_refused_with_its_places(file, changes):
    tree = json.loads(json.dumps(MINIMAL))
    assume(all(put(tree, name, value) for name, value in changes))
    file.write_text(yaml_of(tree))
    config, refused = read(file)
    if config is None:
        assert refused.startswith(f"{file}")
        return
    again = TrainConfig.model_validate(json.loads(config.model_dump_json()))
    assert again == config and again.digest() == config.digest()


@given(NAMES, VALUES)
@example("data", {"sequence_lenght": 64})
@example("sources", [{"jsonl": "x"}])
@example("data.fim", {"rat": 1})
@example("micro_batch_size", 3)
def test_one_value_in_the_file_and_with_set_is_the_same(file, name, value):
    """Breach: an override is read otherwise than the file, or blamed on another key."""
    tree = json.loads(json.dumps(MINIMAL))
    assume(put(tree, name, value))
    file.write_text(yaml_of(tree))
    config, refused = read(file)
    file.write_text(yaml_of(MINIMAL))
    same, refused_too = read(file, [f"{name}={yaml_of(value)}"])
    assert same == config
    if refused is not None:
        # The key itself, or the rule between several keys that it breaks.
        key = repr(name.rpartition(".")[2])[1:-1]
        assert all(key in text or "exactly one" in text for text in (refused, refused_too))


def _exact(value):
    """Whether JSON Schema and YAML have one notion of the value's kind: 1.0 is an integer to the former only."""
    if isinstance(value, float):
        return math.isfinite(value) and not value.is_integer()
    if isinstance(value, (list, dict)):
        return all(map(_exact, value.values() if isinstance(value, dict) else value))
    return "\0" not in value and "\ud800" not in value if isinstance(value, str) else True


@given(NAMES, VALUES)
@example("data.fim.rate", 1.5)
@example("sources", [{"name": "a b", "jsonl": "x"}])
def test_what_the_schema_refuses_is_refused_and_what_it_takes_breaks_a_rule_at_most(file, name, value):
    tree = json.loads(json.dumps(MINIMAL))
    assume(_exact(value) and put(tree, name, value))
    file.write_text(yaml_of(tree))
    config, refused = read(file)
    if not validator().is_valid(tree):
        assert config is None
    elif config is None:
        assert "unknown key" not in refused and "(got" not in refused and "is required" not in refused


def test_every_key_has_a_description_and_a_section():
    def walk(section):
        for name, field in section.model_fields.items():
            inner = _section_in(field.annotation)
            assert field.description or inner, name
            if inner:
                walk(inner)

    walk(TrainConfig)
