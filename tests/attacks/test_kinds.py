"""A release that leaves out kinds of files: each is dropped under its kind, and nothing else is."""

from __future__ import annotations

from pathlib import Path

from graphs import Graph, file, release

BODIES = {
    "src/area.py": "import os\n\n\ndef area(width, height):\n    return width * height\n\n\nprint(area(2, 3), os.name)\n",
    "docs/example.py": "import sys\n\n\ndef volume(base, height):\n    return base * height\n\n\nprint(volume(2, 3), sys.argv)\n",
    "settings.toml": "[server]\nport = 80\nname = 'cat'\n\n[client]\nretries = 3\nquiet = true\nmode = 'fast'\n",
    "yarn.lock": '# yarn lockfile v1\n\ncat@^1.0.0:\n  version "1.0.0"\n  resolved "cat-1.0.0.tgz"\n',
    "LICENSE": "SPDX-License-Identifier: MIT\n",
}


def test_kinds_are_dropped_where_a_release_says_so(tmp_path: Path) -> None:
    g = Graph()
    g.repository(
        "https://example.org/a/b",
        [file(name.encode(), g.content(body.encode())) for name, body in BODIES.items()],
    )
    archive = g.write(tmp_path / "archive")
    plain = {"near_duplicates": {"enabled": False}}
    (tmp_path / "all").mkdir()
    kept = release(archive, tmp_path / "all", plain).reasons()
    assert kept[b"docs/example.py"] is kept[b"settings.toml"] is kept[b"src/area.py"] is None
    assert kept[b"yarn.lock"] == "generated"
    kinds = {"documentation": "drop", "lock": "drop", "configuration": "drop"}
    (tmp_path / "some").mkdir()
    quality = {"generated": "keep", "kinds": kinds}
    reasons = release(archive, tmp_path / "some", {**plain, "quality": quality}).reasons()
    changed = {name: reason for name, reason in reasons.items() if reason != kept[name]}
    assert changed == {
        b"docs/example.py": "quality.kind_documentation",
        b"settings.toml": "quality.kind_configuration",
        b"yarn.lock": "quality.kind_lock",
        b"LICENSE": "quality.kind_documentation",
    }
