"""What the quality signals of a folder's files are, and which rules of a profile they would fail: to choose thresholds by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.content.decode import decode_batch
from pipeline.content.languages import detect
from pipeline.content.names import name_class
from pipeline.content.profiles import Profile
from pipeline.content.quality import failures
from pipeline.content.signals import signals
from pipeline.scan import Folder


def scan_signals(folder: Folder, profile: Profile) -> Iterator[Mapping[str, Any]]:
    """`{path, language, reason, fails, signals}` per file, in the order of the paths.

    `reason` is `quality.<rule>` of the first rule that the file fails, `fails` every test that it does (quality.failures). For
    what is no text `reason` is `binary` or `undecodable`, and `signals` null.
    """
    for paths, bodies in folder.batches():
        decoded = decode_batch(bodies)
        texts = decoded["text"].combine_chunks()
        classes = name_class(pa.array(paths, pa.large_binary()))
        languages = detect(classes, texts).to_pylist()
        rows = zip(
            paths,
            languages,
            classes.to_pylist(),
            decoded["reason"].to_pylist(),
            signals(texts).to_pylist(),
            strict=True,
        )
        for path, language, class_, undecoded, measured in rows:
            if measured["num_lines"] is None:
                yield {"path": path, "language": None, "reason": undecoded, "fails": [], "signals": None}
                continue
            told = {name: _short(value) for name, value in measured.items()}
            fails = [
                {**one, "value": _short(one["value"])}
                for one in failures(measured, language, profile, name_class=class_)
            ]
            reason = f"quality.{fails[0]['rule']}" if fails else None
            yield {"path": path, "language": language, "reason": reason, "fails": fails, "signals": told}


def _short(value: Any) -> Any:
    """A fraction has seven digits, as its 32 bits do."""
    return float(f"{value:.7g}") if isinstance(value, float) else value
