"""What the product stands on: lawful to ship with, pinned as tried, and not loaded before it is needed."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from boolean import ParseError
from license_expression import ExpressionError, LicenseExpression, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
HEAVY = ("ray", "torch", "transformers", "datasets", "licensedcode", "numba", "pandas")

# Metadata that no rule can read: what the licence file of the distribution says.
READ_BY_HAND = {
    "text-unidecode": "Artistic-1.0 OR GPL-2.0-or-later",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
}


def runtime() -> Iterator[importlib.metadata.Distribution]:
    """Every distribution that a base installation pulls in, the product itself left out."""
    todo, seen = [("stackmill", "")], set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        distribution = importlib.metadata.distribution(name)
        if name != "stackmill" and not any(name == other for other, _ in seen):
            yield distribution
        seen.add((name, extra))
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                todo += [(needed, one) for one in ("", *sorted(requirement.extras))]


def declared(distribution: importlib.metadata.Distribution) -> str:
    """What the metadata says about the licence, in one line."""
    metadata = distribution.metadata
    name = canonicalize_name(metadata["Name"])
    if name in READ_BY_HAND:
        return READ_BY_HAND[name]
    text = metadata.get("License-Expression") or (metadata.get("License") or "").partition("\n")[0]
    if not text or text == "UNKNOWN" or len(text) > 200 or text.startswith("Copyright"):
        classifiers = metadata.get_all("Classifier") or []
        text = " AND ".join(line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License"))
    return text


def only_copyleft(text: str) -> bool:
    """Whether every way to use it is the GPL or AGPL; the LGPL and MPL bind their own files only."""
    try:
        expression = get_spdx_licensing().parse(text.replace(" and ", " AND ").replace(" or ", " OR "))
    except (ExpressionError, ParseError):  # free text: words decide
        return bool(re.search(r"\bA?GPL|(?<!Lesser )General Public", text))
    return expression is not None and _bound(expression)


def _bound(expression: LicenseExpression) -> bool:
    if expression.isliteral:
        return bool(re.match(r"A?GPL", str(expression).upper()))
    parts = [_bound(part) for part in expression.args]
    return all(parts) if expression.operator.strip() == "OR" else any(parts)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("GPL-3.0-or-later", True),
        ("GPL-3.0-or-later OR MIT", False),
        ("MIT AND AGPL-3.0-only", True),
        ("LGPL-3.0-or-later", False),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Lesser General Public License v3 or later (LGPLv3+)", False),
        ("Apache Software License", False),
    ],
)
def test_the_rule_itself(text, wanted):
    """Breach: the next test passes because it sees nothing."""
    assert only_copyleft(text) is wanted


def test_no_runtime_dependency_is_under_the_gpl_alone():
    """Breach: the product could not be given away under Apache-2.0."""
    bound = {one.metadata["Name"]: declared(one) for one in runtime() if only_copyleft(declared(one))}
    assert bound == {}


def test_every_runtime_dependency_is_pinned():
    """Breach: two clones made months apart would install different detectors."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[canonicalize_name(name)] = Version(version)
    found = {canonicalize_name(one.metadata["Name"]): Version(one.version) for one in runtime()}
    assert found.keys() - pins.keys() == set()
    assert Version(pins["torch"].public) == pins["torch"]  # no local part: a CPU and a CUDA build both fit


def test_the_command_line_starts_light():
    """Breach: `pipeline --help` waits for Ray, PyTorch or ScanCode to load."""
    program = f"import sys, pipeline.cli.main; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_scancode_can_be_imported():
    """Breach: a newer pluggy hides ScanCode's plug-ins, which no dependency check sees."""
    program = "import licensedcode.detection"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
