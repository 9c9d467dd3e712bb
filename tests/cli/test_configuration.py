"""Mistakes in the configuration and on the command line: exit code 2, one message that names the place, nothing made."""

from __future__ import annotations

import pytest
from commands import Result, modes_count, run

CASES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "misspelt": ("name: x\n\nfiles:\n  # note\n  max_byte: 5\n", ("config.yaml:5", "files.max_byte", "mean 'max_bytes'")),
    "misspelt_section": ("name: x\nlicences: {}\n", ("config.yaml:2", "did you mean 'licenses'")),
    "unknown": ("zzzzzz: 1\n", ("config.yaml:1", "unknown key 'zzzzzz'", "near_duplicates")),
    "number": ("7: 1\n", ("config.yaml:1", "7")),
    "null_key": ("null: 1\n", ("config.yaml",)),
    "type": ("files:\n  max_bytes: many\n", ("config.yaml:2", "files.max_bytes", "many")),
    "bool_for_int": ("files:\n  max_bytes: true\n", ("config.yaml:2", "files.max_bytes")),
    "float_for_string": ("near_duplicates:\n  threshold: 0.7\n", ("config.yaml:2", "threshold")),
    "section": ("files: 3\n", ("config.yaml:1", "files")),
    "list": ("- a\n", ("config.yaml", "mapping")),
    "text": ("hello\n", ("config.yaml", "mapping")),
    "twice": ("name: x\nname: y\n", ("config.yaml", "line 2", "twice")),
    "twice_inside": ("files:\n  max_bytes: 1\n  max_depth: 2\n  max_bytes: 1\n", ("line 4", "twice")),
    "bomb": ("a: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n", ("config.yaml", "aliases", "line 2")),
    "deep": ("[" * 50_000, ("config.yaml",)),
    "tab": ("files:\n\tmax_bytes: 1\n", ("config.yaml", "line 2")),
    "tag": ("name: !!python/object/apply:os.system [id]\n", ("config.yaml", "line 1")),
    "date": ("name: 2020-99-99\n", ("config.yaml",)),
    "digits": ("files:\n  max_bytes: " + "9" * 6_000 + "\n", ("config.yaml",)),
    "list_key": ("? [a, b]\n: 1\n", ("config.yaml",)),
    "map_key": ("{{a: 1}: 2}\n", ("config.yaml",)),
    "binary": (b"\xff\xfe\x00name", ("config.yaml", "UTF-8")),
    "control_characters": (b"name: a\x1b[31mb\n", ("config.yaml",)),
    "buckets": ("engine:\n  buckets: 3\n", ("config.yaml:2", "engine.buckets", "power of two")),
    "many_buckets": ("engine:\n  buckets: 1099511627776\n", ("config.yaml:2", "engine.buckets")),
    "memory": ("engine:\n  task_memory: plenty\n", ("config.yaml:2", "engine.task_memory", "1GB")),
    "memory_0": ("engine:\n  task_memory: -1GB\n", ("engine.task_memory",)),
    "threshold": ("near_duplicates:\n  threshold: '7'\n", ("config.yaml:2", "near_duplicates.threshold")),
    "threshold_0": ("near_duplicates:\n  threshold: '1/0'\n", ("near_duplicates.threshold",)),
    "threshold_1": ("near_duplicates:\n  threshold: '1.01'\n", ("config.yaml:2", "near_duplicates.threshold", "at most 1")),
    "threshold_fine": ("near_duplicates:\n  threshold: '0.70000001'\n", ("near_duplicates.threshold", "six decimals")),
    "threshold_e": ("near_duplicates:\n  threshold: '7e-1'\n", ("near_duplicates.threshold", "'0.7'")),
    "shortcut": ("near_duplicates:\n  shortcut: {accept: '0.65', reject: '0.5'}\n", ("config.yaml:2", "threshold")),
    "shortcut_0": ("near_duplicates:\n  shortcut: {reject: '0'}\n", ("near_duplicates.shortcut.reject", "above 0")),
    "shortcut_key": ("near_duplicates:\n  shortcut: {acept: '0.8'}\n", ("shortcut.acept", "did you mean 'accept'")),
    "best": ("near_duplicates:\n  bucket_cap: 8\n  bucket_best: 9\n", ("config.yaml:1", "bucket_best", "bucket_cap")),
    "bands": ("near_duplicates:\n  bands: 100\n  rows: 100\n", ("config.yaml:3", "256")),
    "huge": ("files:\n  max_bytes: 100000000000000000000000000000000000000000000\n", ("config.yaml:2", "files.max_bytes")),
    "negative": ("origins:\n  limit: -1\n", ("config.yaml:2", "origins.limit")),
    "language": ("files:\n  languages:\n    - Python\n    - Pyhton\n", ("files.languages", "did you mean 'Python'")),
    "forge": ("origins:\n  forges: ['https://github.com']\n", ("config.yaml:2", "origins.forges", "host name")),
    "moment": ("origins:\n  as_of: yesterday\n", ("config.yaml:2", "origins.as_of", "2024-05-17")),
    "moment_number": ("origins:\n  as_of: 2024\n", ("config.yaml:2", "origins.as_of")),
    "name": ("name: ../x\n", ("config.yaml:1", "name")),
    "two": ("files:\n  max_byte: 5\nsecret: {}\n", ("config.yaml:2", "config.yaml:3", "did you mean 'secrets'")),
    "no_archive": ("name: x\n", ("no archive", "--archive")),
    "address": ("archive:\n  uri: ftp://example.org/x\n", ("ftp://example.org/x",)),
}  # fmt: skip

VERSIONS = ("../x", "", "2.1/..", "/abs", "2.1 ", "2.1\n", "a\x1b[31m", "2", "..", "2.1;rm")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Every mistake once, in folders of their own, by one start of Python."""
    base = tmp_path_factory.mktemp("configuration")
    for number, (text, _) in enumerate(CASES.values()):
        folder = base / str(number)
        folder.mkdir()
        (folder / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    good = base / "good.yaml"
    good.write_text("archive: {uri: no/such/folder}\n")
    locked = base / "locked.yaml"
    locked.write_text("name: x\n")
    locked.chmod(0)
    (base / "here").mkdir()
    names, commands = [], []
    for number, name in enumerate(CASES):
        at = str(base / str(number))
        names.append(name)
        commands.append(["release", "--in-process", "--version", "1.0", "--config", f"{at}/config.yaml", "--out", f"{at}/out",
                         "--workdir", f"{at}/work"])  # fmt: skip
    for name, arguments in {
        "missing": ["--version", "1.0", "--config", "no/such.yaml"],
        "a_folder": ["--version", "1.0", "--config", str(base / "here")],
        "locked": ["--version", "1.0", "--config", str(locked)],
        "no_version": ["--config", str(good)],
        "no_such_option": ["--version", "1.0", "--confg", str(good)],
        "workers": ["--version", "1.0", "--workers", "0"],
        **{f"version {v!r}": ["--version", v, "--config", str(good)] for v in VERSIONS},
        **{f"dry version {v!r}": ["--dry-run", "--version", v, "--config", str(good)] for v in VERSIONS},
        "dry_missing": ["--dry-run", "--version", "1.0", "--config", str(good)],
    }.items():
        names.append(name)
        commands.append(["release", "--in-process", *arguments])
    commands.append(["nonsense"])
    names.append("no_such_command")
    found = dict(zip(names, run(base / "output", base / "here", *commands), strict=True))
    found["_made"] = Result(0, "\n".join(str(p) for p in (base / "here").rglob("*")).encode(), b"")
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_in_the_file_is_one_message(results: dict[str, Result], name: str) -> None:
    results[name].refused(2, *CASES[name][1])
    assert len(results[name].message) < 3_000


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dry", ["", "dry "])
def test_a_version_is_a_version(results: dict[str, Result], version: str, dry: str) -> None:
    results[f"{dry}version {version!r}"].refused(2, "version")


@pytest.mark.parametrize(
    "name", ["missing", "a_folder", "no_version", "no_such_option", "workers", "no_such_command"]
)
def test_usage(results: dict[str, Result], name: str) -> None:
    results[name].refused(2)


def test_a_file_that_may_not_be_read(results: dict[str, Result]) -> None:
    if not modes_count():
        pytest.skip("ROOT WITHOUT setpriv: file modes do not bind this user")
    results["locked"].refused(2, "locked.yaml", "readable")


def test_a_plan_of_an_archive_that_is_not_there(results: dict[str, Result]) -> None:
    results["dry_missing"].refused(5, "no/such/folder")


def test_nothing_was_made(results: dict[str, Result]) -> None:
    assert results["_made"].out == b""
