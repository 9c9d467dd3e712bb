"""What detect-secrets finds, in our terms: byte spans and kinds, and what explains a finding away.

Nothing that it finds is lost silently: each of its findings is a finding here, or spared with its explanation.
"""

from __future__ import annotations

from pii.boundaries import line_before
from pii.detect_secrets_gate import LineFinding, gate
from pii.matcher import Finding
from pii.negatives import (
    counts_up,
    is_data,
    is_digest,
    is_phrase,
    is_placeholder,
    is_stock_password,
    is_words,
)
from pii.pem import block_end

#: (start, end, kind, rule, why): a finding that is left as it is.
Spared = tuple[int, int, str, str, str]


def gate_findings(body: bytes, use_hyperscan: bool | None = None) -> tuple[list[Finding], list[Spared]]:
    """Findings of detect-secrets in a text (UTF-8, any bytes), and those that are explained; byte offsets."""
    found: list[Finding] = []
    spared: list[Spared] = []
    text = body.decode("utf-8", "surrogateescape")
    lines = gate(use_hyperscan).findings(text)
    offset = _byte_offsets(text, lines) if lines else {}
    for x in lines:
        judged = _judged(body, x, offset[x.start], offset[x.end])
        if len(judged) == 5:
            spared.append(judged)
        else:
            found.append(judged)
    return found, spared


def _byte_offsets(text: str, lines: list[LineFinding]) -> dict[int, int]:
    """Byte offset of every character offset that `lines` name, in one pass."""
    wanted = sorted({p for x in lines for p in (x.start, x.end)})
    if text.isascii():
        return {p: p for p in wanted}
    out: dict[int, int] = {}
    at = size = 0
    for p in wanted:
        size += len(text[at:p].encode("utf-8", "surrogateescape"))
        out[p] = size
        at = p
    return out


# A base64 value longer than this is data, unless it is DER (the base64 of an ASN.1 sequence begins with MI).
_VALUE_MAX = 512
_HEX_MAX = 128


def _judged(body: bytes, found: LineFinding, start: int, end: int) -> Finding | Spared:
    """A finding of detect-secrets in our terms: one of five parts is spared, with what `pii.negatives` calls it."""
    value, before = body[start:end], line_before(body, start, 200)
    rule = "detect-secrets/" + "-".join(found.type.lower().replace("(", "").replace(")", "").split())
    kind = "key"
    why: str | None = None
    if found.type == "Private Key":
        # The plugin marks the header, also in code that looks for one; a key has material behind it.
        stop = block_end(body, end)
        return (
            (start, end, "private_key", rule, "no-key-material")
            if stop is None
            else (start, stop, "private_key", rule)
        )
    if is_placeholder(value):
        why = "placeholder"
    elif found.type == "Hex High Entropy String":
        why = _first(
            long_data=len(value) > _HEX_MAX, counting=counts_up(value, 5), digest=is_digest(value, before)
        )
    elif found.type == "Base64 High Entropy String":
        why = _first(
            long_data=len(value) > _VALUE_MAX and not value.startswith(b"MI"),
            counting=counts_up(value),
            digest=is_digest(value, before),
            embedded_data=is_data(value, before),
            words=is_words(value),
        )
    elif found.type == "Basic Auth Credentials":
        kind = "password"
        why = _first(stock_password=is_stock_password(value))
    elif found.type == "Secret Keyword":
        kind = "key" if "key" in found.matched_name and "pass" not in found.matched_name else "password"
        why = _first(stock_password=is_stock_password(value), phrase=is_phrase(value))
    return (start, end, kind, rule) if why is None else (start, end, kind, rule, why)


def _first(**explanations: bool) -> str | None:
    """The name of the first explanation that is true."""
    return next((name.replace("_", "-") for name, holds in explanations.items() if holds), None)
