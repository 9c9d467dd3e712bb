"""The section `quality` of the release configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config_types import Section
from pipeline.content.text import Notebooks


class Quality(Section):
    """Which quality rules drop files."""

    profile: Literal["the-stack-v2", "none"] = Field("the-stack-v2", description="named set of thresholds")
    generated: Literal["drop", "keep"] = Field("drop", description="generated files")
    parsers: bool = Field(
        False,
        description="parse files of the languages with a parser at hand, for the signals of their syntax",
    )
    notebooks: Notebooks = Field(
        "strip_outputs",
        description="Jupyter notebooks: without outputs, counters and attached images, or as they are",
    )
