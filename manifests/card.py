"""The dataset card, README.md: YAML that `datasets` and the Hugging Face Hub read, and prose that people
read.

`datasets.load_dataset(DIR, "Python")` takes from the YAML which files make a configuration, the exact
features, and how many rows to expect. The card is a function of the figures given: no date, no machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import yaml

from manifests.card_facts import CardFacts
from manifests.errors import ReleaseError
from manifests.facts import LanguageFacts
from manifests.manifest import Manifest
from manifests.names import DATA_FOLDER, DEFAULT_CONFIG
from manifests.prose import card_prose
from manifests.schema import DATA

SPLIT = "train"

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)
"""The Hub's size categories: rows below the number."""


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner.get("dtype", inner.get("struct"))}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_feature(field.type)} for field in kind]}
    return {"dtype": _DTYPES[kind]}


_DTYPES = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.int64(): "int64",
    pa.float32(): "float32",
    pa.bool_(): "bool",
    pa.timestamp("us"): "timestamp[us]",
}
"""Arrow type -> name in `datasets`, for the types of `DATA`."""


def features(schema: pa.Schema = DATA) -> list[dict[str, Any]]:
    """Return the YAML form of the features of `datasets` for an Arrow schema of the types of `DATA`."""
    return [{"name": field.name, **_feature(field.type)} for field in schema]


def size_category(rows: int) -> str:
    """Return the Hub's size category of a number of rows."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1T")


def metadata(
    *,
    pretty_name: str,
    languages: Mapping[str, LanguageFacts],
    columns: list[dict[str, Any]] | None = None,
    license_link: str | None = None,
) -> dict[str, Any]:
    """Return the card's YAML block as a dictionary: Hub tags, `configs`, and `dataset_info` per
    configuration.

    `default` holds all languages. Figures are those of the manifest: `num_examples` rows, `num_bytes` in
    Arrow memory, `download_size` the shard files.
    """
    columns = features() if columns is None else columns
    ordered = sorted(languages.values(), key=lambda facts: facts.config_name)
    rows = sum(facts.rows for facts in ordered)
    entries = [
        (
            DEFAULT_CONFIG,
            f"{DATA_FOLDER}/*/*.parquet",
            rows,
            sum(facts.memory_bytes for facts in ordered),
            sum(facts.bytes for facts in ordered),
        ),
        *(
            (
                facts.config_name,
                f"{DATA_FOLDER}/{facts.config_name}/*.parquet",
                facts.rows,
                facts.memory_bytes,
                facts.bytes,
            )
            for facts in ordered
        ),
    ]
    return {
        "pretty_name": pretty_name,
        "license": "other",
        "license_name": "per-file",
        **({"license_link": license_link} if license_link is not None else {}),
        "language": ["code"],
        "task_categories": ["text-generation"],
        "size_categories": [size_category(rows)],
        "tags": ["code", "software-heritage", "provenance", "deduplicated", "opt-out"],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["found"],
        "configs": [
            {
                "config_name": config,
                **({"default": True} if config == DEFAULT_CONFIG else {}),
                "data_files": [{"split": SPLIT, "path": pattern}],
            }
            for config, pattern, _, _, _ in entries
        ],
        "dataset_info": [
            {
                "config_name": config,
                "features": columns,
                "splits": [{"name": SPLIT, "num_bytes": size, "num_examples": count}],
                "download_size": download,
                "dataset_size": size,
            }
            for config, _, count, size, download in entries
        ],
    }


_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C: ten times as fast


class _Dumper(yaml.SafeDumper):
    """Writes free text in double quotes, so that every YAML version reads `No`, `1e3` or `C#` as text."""


class _Quoted(str):
    __slots__ = ()


_Dumper.add_representer(
    _Quoted, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style='"')
)


def front_matter(block: Mapping[str, Any]) -> str:
    """Return the YAML block between its `---` lines.

    `features`, the same for all configurations, is written once and referred to (a YAML anchor): spelled out
    for each of 600 languages, the card alone would take `datasets` half a minute to read.
    """
    quoted = {
        **block,
        **{key: _Quoted(block[key]) for key in ("pretty_name", "license_link") if key in block},
        "configs": [
            {
                **config,
                "config_name": _Quoted(config["config_name"]),
                "data_files": [
                    {"split": _Quoted(files["split"]), "path": _Quoted(files["path"])}
                    for files in config["data_files"]
                ],
            }
            for config in block["configs"]
        ],
        "dataset_info": [
            {**info, "config_name": _Quoted(info["config_name"])} for info in block["dataset_info"]
        ],
    }
    body = yaml.dump(quoted, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)
    return f"---\n{body}---\n"


def read_front_matter(card: bytes) -> dict[str, Any]:
    """Return the YAML block of a card; raises `ReleaseError` when there is none or it is not plain YAML."""
    lines = card.decode("utf-8", errors="replace").split("\n")
    if lines[0] != "---" or "---" not in lines[1:]:
        raise ReleaseError("README.md has no YAML block between two lines of '---'")
    end = lines.index("---", 1)
    try:
        block = yaml.load("\n".join(lines[1:end]), Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ReleaseError(f"README.md: the YAML block cannot be read: {error}") from error
    if not isinstance(block, dict):
        raise ReleaseError("README.md: the YAML block is not a mapping")
    return block


def render_card(manifest: Manifest, text: CardFacts) -> bytes:
    """Return the bytes of README.md for a manifest; a draft will do, which lists no other files yet."""
    block = front_matter(
        metadata(pretty_name=text.pretty_name, languages=manifest.languages, license_link=text.license_link)
    )
    return (block + "\n" + card_prose(manifest, text)).encode("utf-8")
