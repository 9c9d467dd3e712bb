"""What the quality signals of a folder's files are, and which rules of a profile they would fail: to choose thresholds by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.code_schema import NUMBERS
from pipeline.content.code_signals import code_signals
from pipeline.content.decode import decode_batch
from pipeline.content.languages import detect
from pipeline.content.names import name_class
from pipeline.content.profiles import Profile
from pipeline.content.quality import failures
from pipeline.content.signals import signals
from pipeline.content.text import convert
from pipeline.scan import Folder


def scan_signals(folder: Folder, profile: Profile, *, parsers: bool = False) -> Iterator[Mapping[str, Any]]:
    """`{path, language, reason, fails, signals}` per file, in the order of the paths.

    `reason` is `quality.<rule>` of the first rule that the file fails, `fails` every test that it does (quality.failures). For
    what is no text `reason` is `binary` or `undecodable`, and `signals` null. Notebooks are measured without their outputs.
    """
    for paths, bodies in folder.batches():
        decoded = decode_batch(bodies)
        classes = name_class(pa.array(paths, pa.large_binary()))
        languages = detect(classes, decoded["text"].combine_chunks())
        texts = convert(decoded, "strip_outputs")["text"].combine_chunks()
        code = code_signals(
            pc.fill_null(languages, ""),
            pc.fill_null(texts, pa.scalar(b"", pa.large_binary())),
            parsers=parsers,
        )
        rows = zip(
            paths,
            languages.to_pylist(),
            classes.to_pylist(),
            decoded["reason"].to_pylist(),
            signals(texts).to_pylist(),
            code.select(NUMBERS).to_pylist(),
            strict=True,
        )
        for path, language, class_, undecoded, of_text, of_code in rows:
            if of_text["num_lines"] is None:
                yield {"path": path, "language": None, "reason": undecoded, "fails": [], "signals": None}
                continue
            measured = {**of_text, **of_code}
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
