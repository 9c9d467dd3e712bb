"""A key contains what can change the bytes, and nothing else."""

from __future__ import annotations

import importlib
import sys

import pytest

from pipeline.engine import keys
from pipeline.engine.annotations import Annotator
from pipeline.engine.stage import Stage

engine_stages = importlib.import_module("engine_stages")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package of ours: top -> middle -> deep, with data files beside deep; caches are forgotten."""
    folder = tmp_path / "ourcode"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "top.py").write_text("from ourcode import middle\nimport json\n")
    (folder / "middle.py").write_text("def f():\n    from ourcode.deep import value\n    return value\n")
    (folder / "deep.py").write_text("value = 1\n")
    (folder / "aside.py").write_text("value = 1\n")
    (folder / "data" / "table.csv").write_text("a,b\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(keys, "OUR_PACKAGES", ("ourcode",))

    def forget() -> None:
        for function in (keys.source_digest, keys.library_version, keys._imports, keys._spec):
            function.cache_clear()

    forget()
    yield folder, forget
    forget()
    for name in [name for name in sys.modules if name.startswith("ourcode")]:
        del sys.modules[name]


def made(**changes):
    given = {
        "config": {"a": 1},
        "inputs": {"x": "k/rows"},
        "modules": ["ourcode.top"],
        "libraries": ["numpy"],
    }
    return keys.make_key(changes.pop("name", "stage"), **{**given, **changes})


@pytest.mark.parametrize("file", ["top.py", "middle.py", "deep.py", "data/table.csv"])
def test_a_changed_source_or_data_file_changes_the_key(package, file):
    folder, forget = package
    before = made()
    with (folder / file).open("a") as stream:
        stream.write("\n# another line\n")
    forget()
    assert made() != before


def test_a_source_that_is_not_imported_does_not(package):
    folder, forget = package
    before = made()
    (folder / "aside.py").write_text("value = 2\n")
    forget()
    assert made() == before


def test_configuration_inputs_name_and_libraries_change_the_key(package, monkeypatch):
    before = made()
    assert made() == before
    assert len({before, made(config={"a": 2}), made(inputs={"x": "l/rows"}), made(name="other"),
                made(libraries=[])}) == 5  # fmt: skip
    monkeypatch.setattr(keys.importlib.metadata, "version", lambda _: "99")
    keys.library_version.cache_clear()
    assert made() != before
    assert keys.library_version("no-such-distribution") == "99"


def test_an_absent_library_has_a_version_too():
    assert keys.library_version("no-such-distribution-anywhere") == "absent"


def test_order_of_keys_in_the_configuration_does_not_matter(package):
    assert made(config={"a": 1, "b": [1, 2]}) == made(config={"b": [1, 2], "a": 1})
    assert made(config={"b": [2, 1]}) != made(config={"b": [1, 2]})


def test_configuration_must_be_plain_data(package):
    with pytest.raises(TypeError):
        made(config={"a": {1, 2}})
    with pytest.raises(ValueError, match="Out of range float"):
        made(config={"a": float("nan")})


def test_a_stage_key_has_no_place_worker_or_bucket_count(tmp_path):
    """`extra` is for addresses and processes; units (buckets, parts) are how the work is cut."""
    one = engine_stages.made(tmp_path / "calls", parts=3)
    other = engine_stages.made(tmp_path / "elsewhere", parts=10)
    assert one.key == other.key
    assert one.folder == f"stages/make/{one.key}"
    rows = engine_stages.made(tmp_path / "calls", rows=101)
    assert rows.key != one.key


def test_a_stage_key_follows_its_inputs_and_outputs(tmp_path):
    first, second = engine_stages.made(tmp_path), engine_stages.made(tmp_path, rows=5)
    twice = engine_stages.then(engine_stages.double, first, tmp_path, factor=2)
    assert twice.key == engine_stages.then(engine_stages.double, first, tmp_path, factor=2).key
    assert twice.key != engine_stages.then(engine_stages.double, second, tmp_path, factor=2).key
    assert twice.key != engine_stages.then(engine_stages.double, first, tmp_path, factor=3).key
    unrouted = Stage(
        **{
            **vars_of(twice),
            "outputs": {"rows": engine_stages.Output(schema=engine_stages.ROWS, order=("id",))},
        }
    )
    assert twice.key != unrouted.key


def vars_of(stage: Stage) -> dict:
    return {name: getattr(stage, name) for name in stage.__dataclass_fields__}


def test_an_annotators_key_is_its_own(package):
    one = Annotator(name="a", ids=("id",), schema=engine_stages.ROWS, modules=("ourcode.top",))
    assert one.key() == one.key()
    assert one.key() != one.key(sensitivity="high")
    assert (
        one.key()
        != Annotator(name="b", ids=("id",), schema=engine_stages.ROWS, modules=("ourcode.top",)).key()
    )


def test_all_stages_of_a_release_declare_what_they_import():
    """Every module that a stage function's module imports is found, whichever way it is imported."""
    for module, through in {
        "pipeline.stages.near_pairs": "dedup.bands",
        "pipeline.stages.texts": "pipeline.content.decode",
        "pipeline.stages.licenses": "licensing.attribution",
        "pipeline.stages.emit": "manifests.shards",
        "pipeline.stages.shard_files": "pii.redact",
        "pipeline.stages.secrets": "pii.rules",
    }.items():
        assert through in keys._closure(module)
