"""A release of every format of the manifest, made and signed when that format was new, verifies for ever.

See make_format_fixture.py. If this fails, readers of releases that are out in the world fail too: change the software,
never the fixture.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.manifest import Manifest
from manifests.proofs import prove_row
from manifests.reader import Release
from manifests.signing import load_trusted_keys
from manifests.trust import Expected
from manifests.verify import verify_release

FIXTURES = Path(__file__).parent / "fixtures"
DIGESTS = {
    "format-2": "4b1dc9c7cdcaf823b832f1f2932c1d191e47d1d064be9be7db16650ef8152fce",
}


def test_every_format_has_its_release():
    assert sorted(DIGESTS) == sorted(folder.name for folder in FIXTURES.iterdir())


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_it_verifies(name):
    folder = FIXTURES / name / "1.0"
    keys = load_trusted_keys((FIXTURES / name / "trusted.pub").read_bytes())
    report = verify_release(folder, expected=Expected(keys=keys, signed=True, digest=DIGESTS[name]))
    assert report.faults == () and report.signature == "trusted"
    assert sum(batch.num_rows for batch in Release.open(folder).batches()) == report.figures["rows"] == 6
    manifest = Manifest.parse((folder / "manifest.json").read_bytes())
    with (folder / "ids.parquet").open("rb") as ids:
        assert not prove_row(ids, "nobody", manifest)["present"]


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_the_fixture_is_small_and_holds_no_private_key(name):
    files = [file for file in (FIXTURES / name).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 100_000
    assert not any(b"PRIVATE" in file.read_bytes() for file in files)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_the_commands_in_the_documentation_check_its_signature(name, tmp_path):
    """With Python and openssl alone, as docs/verify.md shows it."""
    page = (Path(__file__).parents[2] / "docs/verify.md").read_text(encoding="utf-8")
    script = page.split("```sh\n")[1].split("```")[0]
    script = script.replace("releases/2.1", "release").replace("python3", shlex.quote(sys.executable))
    shutil.copytree(FIXTURES / name / "1.0", tmp_path / "release")
    shutil.copy(FIXTURES / name / "trusted.pub", tmp_path / "maker.pub")

    def run():
        command = ["sh", "-euc", script]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0 and "Verified Successfully" in done.stdout, done.stderr
    with (tmp_path / "release/manifest.json").open("ab") as file:
        file.write(b" ")
    assert run().returncode != 0
