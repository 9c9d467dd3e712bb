"""docs/secrets-rules.md is what the rules say."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "secret_rules.py"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("secret_rules", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_lists_every_rule(module):
    assert module.main(["--check"]) == 0
    text = module.TARGET.read_text("utf-8")
    for _, _, rules in module.tables():
        for rule in rules:
            assert f"| `{rule.id}` | {rule.kind} | {rule.tier} |" in text


def test_the_check_tells_an_old_page(module, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(module, "TARGET", tmp_path / "page.md")
    assert module.main(["--check"]) == 1 and "make docs" in capsys.readouterr().err
    assert module.main([]) == 0 and module.main(["--check"]) == 0
    module.TARGET.write_text(module.TARGET.read_text("utf-8").replace("low", "high", 1), "utf-8")
    assert module.main(["--check"]) == 1
    assert module.main(["--wrong"]) == 2
