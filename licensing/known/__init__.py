"""Licenses that are known word for word: exact occurrences of whole rules and license texts, in linear time.

`KnownTexts.load().find(text)` says which of ScanCode's rules and SPDX's texts stand in a text, and what
remains of the text when they, and what states no terms (copyright lines, titles), are taken away. No
likeness is ever judged: what differs by one word is not known, and somebody else must answer.
"""

from licensing.known.match import Known, KnownTexts

__all__ = ["Known", "KnownTexts"]
