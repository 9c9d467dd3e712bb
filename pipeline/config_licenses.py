"""The section `licenses` of the release configuration."""

from __future__ import annotations

from pydantic import Field

from pipeline.config_types import Bytes, Section


class Licenses(Section):
    """How licenses are detected and which are permitted."""

    policy: str | None = Field(
        None, description="policy file; null: the permissive list that ships with the product"
    )
    decisions: str | None = Field(
        None, description="file of a reviewer's decisions on single contents; null: none"
    )
    scancode: bool = Field(
        True, description="run ScanCode on license-like files; false: SPDX tags and declarations only"
    )
    processes: int = Field(
        2, ge=1, le=1024, description="ScanCode processes at once on a machine (1.1 GB each)"
    )
    max_bytes: Bytes = Field(
        1_048_576, description="bytes of a license-like file; a larger one is no evidence"
    )
