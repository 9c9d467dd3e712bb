"""The registry of verifiers: what a linear-time expression cannot say about a match.

A verifier gets the text and the matched span, reads a bounded number of bytes around it, and returns the span
of the finding (perhaps moved) or None.  It never keeps, logs or raises with the value.
"""

from __future__ import annotations

from collections.abc import Callable

from pii import verify_generic as generic
from pii.addresses import email_span, ipv4_span, ipv6_span
from pii.pem import block_end, putty_block_end
from pii.verify_generic import random_value, url_password
from pii.verify_personal import credit_card
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
    "credit_card": credit_card,
    "random_value": random_value,
    "quoted_password": generic.quoted_password,
    "quoted_word_password": generic.quoted_word_password,
    "quoted_key": generic.quoted_key,
    "unquoted_password": generic.unquoted_password,
    "unquoted_key": generic.unquoted_key,
    "element_password": generic.element_password,
    "element_key": generic.element_key,
    "named_password": generic.named_password,
    "named_key": generic.named_key,
    "email": email_span,
    "ipv4": ipv4_span,
    "ipv6": ipv6_span,
    "pem_block": _pem_block,
    "putty_block": _putty_block,
}
