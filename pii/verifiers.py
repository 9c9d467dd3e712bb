"""The registry of verifiers: what a linear-time expression cannot say about a match.

A verifier gets the text and the matched span, reads a bounded number of bytes around it, and returns the span
of the finding (perhaps moved) or None.  It never keeps, logs or raises with the value.
"""

from __future__ import annotations

from collections.abc import Callable

from pii.pem import block_end, putty_block_end
from pii.verify_generic import assigned_value, random_value, url_password
from pii.verify_personal import PERSONAL
from pii.verify_services import json_web_token
from pii.verify_tokens import github_token, token

Span = tuple[int, int]
Verifier = Callable[[bytes, int, int], Span | None]


def _pem_block(body: bytes, start: int, end: int) -> Span | None:
    stop = block_end(body, end)
    return None if stop is None else (start, stop)


def _putty_block(body: bytes, start: int, end: int) -> Span | None:
    stop = putty_block_end(body, end)
    return None if stop is None else (start, stop)


VERIFIERS: dict[str, Verifier] = {
    "token": token,
    "github_token": github_token,
    "json_web_token": json_web_token,
    "url_password": url_password,
    "random_value": random_value,
    "assigned_value": assigned_value,
    **PERSONAL,
    "pem_block": _pem_block,
    "putty_block": _putty_block,
}
