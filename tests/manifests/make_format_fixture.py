"""Make the small signed release that stays in the tests: tests/manifests/fixtures/format-<schema version>/.

    python tests/manifests/make_format_fixture.py

Run once for each format of the manifest, when its format is settled, and never again: `test_formats.py` shows that
today's software verifies what was made then. It refuses to overwrite. The private key is made here, signs once, and
is not written anywhere; its public half lies beside the release. The texts are ours.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from manifests.names import MANIFEST, SIGNATURE
from manifests.schema import SCHEMA_VERSION
from manifests.signing import new_key, public_pem, sign

HERE = Path(__file__).parent
TEXTS = {
    "Python": [
        "# Adds up.\ndef total(values):\n    return sum(values)\n",
        "# By <EMAIL_ADDRESS>\nclass Größe:\n    unit = 'm'\n",
        "print('a release that has to verify for ever')\n",
    ],
    "C++": ["// The answer.\nint answer() { return 42; }\n", "// Nothing.\nvoid nothing() {}\n"],
    "F*": ["module Small\nlet one = 1\n"],
}


def main() -> None:
    """Make the release, its signature, and the public key."""
    spec = importlib.util.spec_from_file_location("release_factory", HERE / "release_factory.py")
    assert spec is not None and spec.loader is not None
    factory: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = factory
    spec.loader.exec_module(factory)
    folder = HERE / "fixtures" / f"format-{SCHEMA_VERSION}"
    if folder.exists():
        sys.exit(f"{folder} exists: what was released once is not made again")
    release = factory.make_release(folder, texts=TEXTS, version="1.0", name="stackmill-format", split=2)
    key = new_key()
    made = sign((release / MANIFEST).read_bytes(), {"note": "a fixture of the tests"}, key)
    (release / SIGNATURE).write_bytes(made)
    (folder / "trusted.pub").write_bytes(public_pem(key.public_key()))


if __name__ == "__main__":
    main()
