"""docs/training-settings.md is what the configuration says, and the schema says what each key means."""

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from training.config import TrainConfig, compatibility, load, yaml_file
from training.config.compatibility import RULES
from training.errors import TrainingConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("training_settings", ROOT / "scripts/training_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date_and_an_old_one_is_told(script, monkeypatch, tmp_path, capsys):
    assert script.main(["--check"]) == 0
    monkeypatch.setattr(script, "TARGET", tmp_path / "page.md")
    assert script.main(["--check"]) == 1 and "make docs" in capsys.readouterr().err
    assert script.main([]) == 0 and script.main(["--check"]) == 0
    assert script.main(["--wrong"]) == 2


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "+".join(rule.keys))
def test_each_rule_refuses_its_example_and_no_other_does(rule, monkeypatch):
    preset = ROOT / "configs/train-tiny.yaml"
    with pytest.raises(TrainingConfigError) as caught:
        load(preset, rule.example)
    assert len(str(caught.value).splitlines()) == 1
    monkeypatch.setattr(compatibility, "RULES", tuple(other for other in RULES if other is not rule))
    load(preset, rule.example)
    assert set(rule.keys) <= set(keys(TrainConfig.model_json_schema()))


def keys(schema, section=None, prefix=""):
    """Every key of the schema, dotted, with those of the sections in it; each must say what it means."""
    section = section or schema
    for name, field in section["properties"].items():
        yield prefix + name
        inner = None
        for part in (field, *field.get("anyOf", ())):
            reference = part.get("$ref") or part.get("items", {}).get("$ref")
            inner = schema["$defs"][reference.rpartition("/")[2]] if reference else inner
        assert field.get("description") or (inner or {}).get("description"), (
            f"{prefix}{name} is not explained"
        )
        if inner:
            yield from keys(schema, inner, f"{prefix}{name}.")


def test_the_schema_explains_every_key_and_accepts_the_presets():
    from pipeline.cli.main import app

    done = CliRunner().invoke(app, ["train", "--schema"])
    assert done.exit_code == 0
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert len(list(keys(schema))) > 80
    for preset in sorted((ROOT / "configs").glob("train-*.yaml")):
        tree, _ = yaml_file.read(preset)
        jsonschema.validate(tree, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**tree, "stepz": 1}, schema)


def test_a_configuration_must_be_named():
    from pipeline.cli.main import app

    done = CliRunner().invoke(app, ["train"])
    assert done.exit_code == 2
    assert "CONFIG" in done.output
