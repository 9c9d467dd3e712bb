"""The report in a browser, where there is one: nothing sticks out, on wide and narrow screens, in light and dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from manifests.reader import Release
from manifests.report.page import render_report
from manifests.report.style import DARK, LIGHT
from manifests.row_figures import figures_of_rows
from manifests.statistics import build_stats

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """<!doctype html><style>body{margin:0}iframe{border:0;width:%(width)dpx;height:4000px}</style>
<iframe src="report.html"></iframe><pre></pre><script>
onload = () => {
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement, out = [];
  for (const one of page.querySelectorAll("h1, h2, h3, p, li, dt, dd, svg, summary, .wide")) {
    const box = one.getBoundingClientRect();
    if (box.right > root.clientWidth + 1 && !one.closest(".wide")) out.push([one.tagName, one.className, box.right]);
  }
  document.querySelector("pre").textContent = JSON.stringify({
    wide: root.scrollWidth, room: root.clientWidth, out, scripts: page.scripts.length,
    ground: page.defaultView.getComputedStyle(page.body).backgroundColor,
    ink: page.defaultView.getComputedStyle(page.body).color,
  });
};
</script>"""


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize(("scheme", "colours"), [(1, LIGHT), (0, DARK)])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_the_page_fits(pristine, factory, tmp_path, width, scheme, colours):
    release = Release.open(pristine)
    near = {"languages": {}, "origins": {"alarms": [], "alarms_without_rows": 2}}
    long = "https://example.org/" + "x" * 3_000
    stats = build_stats(
        release.manifest,
        figures_of_rows(release),
        near=near,
        duplication=factory.duplication(long, 10**12),
        parent=release.manifest,
    )
    stats["top_origins"].insert(0, {"origin": long, "rows": 10**9, "bytes": 10**15})
    stats["licenses"]["LicenseRef-" + "y" * 400] = 10**12
    stats["totals"]["dropped"]["quality." + "z" * 80] = 10**12
    (tmp_path / "report.html").write_bytes(render_report(stats))
    (tmp_path / "measure.html").write_text(MEASURE % {"width": width})
    found = measured(tmp_path, scheme)
    assert found["out"] == [] and found["wide"] <= found["room"] == width
    assert (found["ground"], found["ink"]) == (rgb(colours["ground"]), rgb(colours["ink"]))
    assert found["scripts"] == 0


def measured(folder: Path, scheme: int) -> dict:
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars",
            "--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}", "--window-size=1300,1000",
            f"--blink-settings=preferredColorScheme={scheme}", "--virtual-time-budget=5000", "--dump-dom",
            (folder / "measure.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    shown = re.search(r"<pre>(.+?)</pre>", done.stdout)
    assert shown, done.stderr[-2000:]
    return json.loads(unescape(shown[1]))
