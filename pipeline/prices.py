"""What a user pays, from a small YAML file of theirs: no price is built in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError

_MAX_BYTES = 64 << 10
_GB, _PER = 1_000_000_000, 1_000


class Prices(BaseModel):
    """Unit prices in one currency; what is left out costs nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    currency: str = Field(pattern=r"^[A-Za-z]{1,8}$")
    core_hour: float = Field(default=0.0, ge=0, description="a core for an hour, used or idle")
    get_1000: float = Field(default=0.0, ge=0, description="1,000 requests that read: GET, HEAD")
    put_1000: float = Field(
        default=0.0, ge=0, description="1,000 requests that write or list: PUT, COPY, LIST"
    )
    received_gb: float = Field(default=0.0, ge=0, description="a GB that comes from the object stores")
    sent_gb: float = Field(default=0.0, ge=0, description="a GB that goes to them")


def load_prices(path: Path) -> Prices:
    """Read a price file. Raises ConfigError that names the file and the key."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"--prices {path}: larger than {_MAX_BYTES:,} bytes")
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--prices {path}: {error.strerror}") from error
    except (UnicodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--prices {path}: cannot be read as YAML: {str(error)[:300]}") from error
    except RecursionError as error:
        raise ConfigError(f"--prices {path}: nested too deeply") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"--prices {path}: needs keys such as `currency`; see configs/prices-example.yaml")
    try:
        return Prices.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        known = ", ".join(Prices.model_fields)
        raise ConfigError(f"--prices {path}: {where}: {first['msg']}; the keys are {known}") from error


def priced(prices: Prices, totals: Mapping[str, Any]) -> dict[str, Any]:
    """Money for the `totals` of a run (`pipeline.run_stats`): `currency`, the parts, and `total`, not rounded."""
    asked = totals["requests"]
    reads = asked.get("get", 0) + asked.get("head", 0)
    writes = sum(asked.get(kind, 0) for kind in ("put", "copy", "list"))  # DELETE is free where we looked
    parts = {
        "cores": prices.core_hour * (totals["reserved_core_hours"] or totals["core_hours"]),
        "reads": prices.get_1000 * reads / _PER,
        "writes": prices.put_1000 * writes / _PER,
        "received": prices.received_gb * totals["received_bytes"] / _GB,
        "sent": prices.sent_gb * totals["sent_bytes"] / _GB,
    }
    return {"currency": prices.currency, **parts, "total": sum(parts.values())}
