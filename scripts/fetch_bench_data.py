"""Fetch the packages of benchmarks/inputs.txt and unpack each into a folder of its own.

    python scripts/fetch_bench_data.py --out bench-data

Goes through the ordinary clients, pip and npm, by name and version: 42 packages, 17,000 files, 400 MB, some
minutes. A package that is there already is not fetched again; a package that cannot be had is named at the
end, exit status 1, and the others are kept. To build an archive of it: pipeline archive --dir bench-data/*.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

INPUTS = Path(__file__).parent.parent / "benchmarks" / "inputs.txt"
SECONDS = 600  # for one package; the largest takes a few


def read_inputs(path: Path) -> list[tuple[str, str, str]]:
    """The (kind, name, version) of each line. Raises ValueError naming the line."""
    inputs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[0] not in ("python", "node"):
            raise ValueError(f"{path}:{number}: expected `python|node NAME VERSION`, found {line!r}")
        inputs.append((words[0], words[1], words[2]))
    return inputs


def fetch(kind: str, name: str, version: str, folder: Path) -> Path:
    """Fetch one package into `folder`; returns the tar file. Raises OSError with what the client said."""
    if kind == "python":
        command = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
        ]
        command += ["--no-binary", ":all:", "--dest", str(folder), f"{name}=={version}"]
    else:
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{name}@{version}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    files = [file for file in folder.iterdir() if file.name.endswith((".tar.gz", ".tgz"))]
    if run.returncode or len(files) != 1:
        raise OSError(run.stderr.strip()[-500:] or f"{command[0]} gave no source archive")
    return files[0]


def main() -> int:
    """Fetch what is missing; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="folder that gets one folder for each package"
    )
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    for kind, name, version in read_inputs(INPUTS):
        target = out / f"{kind}-{name.replace('/', '-').lstrip('@')}-{version}"
        if target.exists():
            continue
        with tempfile.TemporaryDirectory(dir=out, prefix=".fetch-") as scratch:
            try:
                file = fetch(kind, name, version, Path(scratch))
                with tarfile.open(file) as archive:
                    archive.extractall(Path(scratch) / "tree", filter="data")
            except (OSError, subprocess.TimeoutExpired, tarfile.TarError) as error:
                failed.append(f"{kind} {name} {version}: {error}")
                continue
            shutil.move(Path(scratch) / "tree", target)
        print(target)
    print("\n".join(failed), file=sys.stderr, end="\n" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
