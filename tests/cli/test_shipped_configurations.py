"""The configurations that come with the product: they can be read, and list what they say that they list."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest
import yaml
from commands import run

from pipeline import config as configuration
from pipeline.config import ReleaseConfig

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    "name",
    sorted(path.name for path in CONFIGS.glob("*.yaml") if not path.name.startswith(("train", "prices"))),
)
def test_every_release_configuration_is_one(name: str) -> None:
    """Breach: a key was renamed, and the file that users copy still has the old one."""
    configuration.load(CONFIGS / name)


def test_the_local_one_lists_every_key_with_its_default() -> None:
    """Breach: a new key is not listed where it is said that every key is."""
    listed = yaml.safe_load((CONFIGS / "release-local.yaml").read_text())
    for name, field in ReleaseConfig.model_fields.items():
        model = field.annotation
        if hasattr(model, "model_fields"):
            assert set(listed[name]) == set(model.model_fields), name  # type: ignore[union-attr]
    defaults = ReleaseConfig().model_dump(mode="json")
    assert (
        configuration.load(CONFIGS / "release-local.yaml").origins.model_dump(mode="json")
        == defaults["origins"]
    )


def test_the_archive_one_says_everything_of_origins() -> None:
    """Breach: a way to choose origins is missing where it is needed most."""
    listed = yaml.safe_load((CONFIGS / "software-heritage.yaml").read_text())
    assert set(listed["origins"]) == set(configuration.Origins.model_fields)
    assert listed["archive"]["graph"].startswith("s3://softwareheritage/graph/")
    assert configuration.load(CONFIGS / "software-heritage.yaml").archive.anonymous


def test_a_plan_without_the_network_names_what_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breach: a stack trace, or a plan of nothing, where the archive cannot be reached."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing listens on the discard port
    (tmp_path / "here").mkdir()
    arguments = [
        "release",
        "--version",
        "1.0",
        "--dry-run",
        "--config",
        str(CONFIGS / "software-heritage.yaml"),
    ]
    (result,) = run(tmp_path / "output", tmp_path / "here", arguments)
    result.refused(5, "s3://softwareheritage/graph/2025-05-18-popular-1k")
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, None),
        ("2024-05-17", "2024-05-17T23:59:59.999999"),
        (date(2024, 5, 17), "2024-05-17T23:59:59.999999"),
        (datetime(2024, 5, 17, 1, 2), "2024-05-17T01:02:00.000000"),
        ("2024-05-17T01:02:03+02:00", "2024-05-16T23:02:03.000000"),
        ("2024-05-17 01:02:03Z", "2024-05-17T01:02:03.000000"),
        ("20240517", "2024-05-17T23:59:59.999999"),
    ],
)
def test_a_moment_has_one_spelling(given: object, meant: str | None) -> None:
    """Breach: two spellings of a moment make two releases, or a day ends at its beginning."""
    assert configuration.parse({"origins": {"as_of": given}}).origins.as_of == meant


def test_files_are_not_in_the_released_configuration() -> None:
    """Breach: the path of a user's file is published, or changes the digest of a release."""
    files = {
        "list": "/private/list.txt",
        "dataset": "d",
        "revisions": "r",
        "metadata": "m",
        "anonymous": True,
    }
    settings = configuration.parse({"origins": {**files, "forges": ["B.org", "a.org", "b.org"]}})
    assert configuration.resolved(settings)["origins"] == {
        "prefixes": [], "forges": ["a.org", "b.org"], "limit": None, "as_of": None,
    }  # fmt: skip
