"""The section `quality.kinds` of the release configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config_types import Section

Kept = Literal["drop", "keep"]


class Kinds(Section):
    """Which kinds of files (pipeline/content/kinds.py) are dropped, as `quality.kind_<kind>`.

    Lock files, and minified code by its name, are dropped as `generated` already, unless `quality.generated` keeps those.
    """

    documentation: Kept = Field("keep", description="documentation, by directory or base name")
    minified: Kept = Field("keep", description="minified code, by name or by its lines")
    lock: Kept = Field("keep", description="lock files of dependency managers")
    configuration: Kept = Field("keep", description="languages of configuration: YAML, TOML, INI, ...")
    data: Kept = Field("keep", description="other languages that hold data: JSON, CSV, SVG, ...")
