"""Regular expressions over bytes in RE2: a search takes time in proportion to the text, whatever the expression."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2


@lru_cache(maxsize=4096)
def compiled(pattern: bytes) -> Any:
    """`pattern` for RE2, over bytes as Hyperscan sees them; raises `re2.error`."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    return re2.compile(pattern, options)
