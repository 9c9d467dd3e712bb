"""Every language that Linguist knows can be a configuration of one release."""

from __future__ import annotations

import pytest
import yaml

from manifests.names import config_name
from manifests.reader import Release
from pipeline.content.taxonomy import LANGUAGES

ODD = ("F*", "C++", "C#", "1C Enterprise", "Objective-C++", "Cap'n Proto", "Graphviz (DOT)", "Pro*C", "4D", "Ren'Py",
       "B (Formal Method)", "Common Lisp", "Q#", "2-Dimensional Array", "ASP.NET")  # fmt: skip
NOT_LINGUISTS = ("PL/Something", "Ünïcode Löve", "日本語", "a.b", "[x]")


@pytest.fixture(scope="module")
def every(factory, tmp_path_factory):
    """One row in every language, and in a few names that Linguist might have next."""
    rows = dict.fromkeys([*LANGUAGES, *NOT_LINGUISTS], 1)
    return factory.make_release(tmp_path_factory.mktemp("languages"), rows=rows)


@pytest.fixture
def load(monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return lambda folder, name: datasets.load_dataset(
        str(folder), name, split="train", cache_dir=str(tmp_path / "cache")
    )


def test_no_two_languages_share_a_name():
    """Nor where case is ignored, as on macOS and Windows."""
    assert len({config_name(name).casefold() for name in LANGUAGES}) == len(LANGUAGES) > 800


def test_the_card_has_a_configuration_for_every_language(every):
    card = yaml.safe_load((every / "README.md").read_text().split("---\n")[1])
    configs = {config["config_name"]: config["data_files"] for config in card["configs"]}
    names = {config_name(name): name for name in [*LANGUAGES, *NOT_LINGUISTS]}
    assert configs.keys() == {"default", *names}
    assert {info["config_name"] for info in card["dataset_info"]} == configs.keys()
    shards = {shard.path: shard.language for shard in Release.open(every).manifest.shards}
    for name, language in names.items():
        (files,) = configs[name]
        patterns = files["path"] if isinstance(files["path"], list) else [files["path"]]
        found = {path.relative_to(every).as_posix() for pattern in patterns for path in every.glob(pattern)}
        assert {shards[path] for path in found} == {language}, f"{patterns} are the files of {name} alone"


def check_loads(factory, load, folder, names) -> None:
    """One release of these languages; `datasets` takes seconds for each configuration of one with hundreds."""
    release = factory.make_release(folder, rows=dict.fromkeys(names, 1))
    for name in names:
        assert load(release, config_name(name))["language"] == [name]


def test_odd_names_load(factory, load, tmp_path):
    odd = [name for name in ODD if name in LANGUAGES]
    assert len(odd) >= 12
    check_loads(factory, load, tmp_path, [*odd, *NOT_LINGUISTS])


def test_one_of_hundreds_of_configurations_loads(every, load):
    assert load(every, config_name("F*"))["language"] == ["F*"]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 900, 50))
def test_every_name_loads(factory, load, tmp_path, first):
    if names := sorted(LANGUAGES)[first : first + 50]:
        check_loads(factory, load, tmp_path, names)
