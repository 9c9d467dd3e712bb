"""What looks like a secret and is none: decided from the value and the text around it, never from a path.

The released text of a file is a function of its bytes, so lock files and the like cannot be told by name;
what makes their digests harmless is visible in the text (an algorithm in front, a digest's length, a counting
alphabet).  Each test is about one finding: nothing here mutes a whole file.  One concept per module; this one gathers
them.  The names that reports give them are in `pii.explained`.
"""

from __future__ import annotations

import math
from collections import Counter

from pii.negatives_code import is_attribute, is_expression, is_location
from pii.negatives_data import in_block, is_data, is_encoded_text
from pii.negatives_digests import is_digest, is_uuid
from pii.negatives_ids import is_identifier
from pii.negatives_placeholders import counts_up, is_placeholder, is_stock_password, is_template
from pii.negatives_vectors import is_test_vector
from pii.negatives_words import is_phrase, is_random, is_words

__all__ = [
    "counts_up",
    "entropy",
    "in_block",
    "is_attribute",
    "is_data",
    "is_digest",
    "is_encoded_text",
    "is_expression",
    "is_identifier",
    "is_location",
    "is_phrase",
    "is_placeholder",
    "is_random",
    "is_stock_password",
    "is_template",
    "is_test_vector",
    "is_uuid",
    "is_words",
]


def entropy(value: bytes) -> float:
    """Shannon entropy of the bytes of `value`, in bits per byte."""
    n = len(value)
    return math.log2(n) - sum(c * math.log2(c) for c in Counter(value).values()) / n if n else 0.0
