"""The section `licenses` of the release configuration."""

from __future__ import annotations

from typing import Literal

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
    headers: Literal["tags", "known", "full"] = Field(
        "full",
        description="what is read of the comments at the start of a source file: SPDX tags; known notices, too; and"
        " ScanCode's answers for the rest (as known, where scancode is false)",
    )
    header_grants: bool = Field(
        False, description="true: a file whose header is permitted is, whatever holds in its directory"
    )
    processes: int = Field(
        2, ge=1, le=1024, description="ScanCode processes at once on a machine (1.1 GB each)"
    )
    max_bytes: Bytes = Field(
        1_048_576,
        description="bytes of a license-like file; a larger one is not read: a license that its directory then does not have",
    )

    @property
    def headers_read(self) -> str:
        """What is read of headers in the end: without ScanCode nobody is asked for the rest."""
        return "known" if self.headers == "full" and not self.scancode else self.headers
