"""IP addresses of hosts that may be somebody's: public ones, less documentation, public services, networks and versions."""

from __future__ import annotations

import ipaddress
import re
from itertools import pairwise

from pii.boundaries import closes_here, line_before, opens_here

Span = tuple[int, int]

# Resolvers that anyone may use and that name nobody: their operators publish these addresses.
_PUBLIC_DNS = frozenset(
    ipaddress.ip_address(text.decode())
    for text in b"""
    8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 1.1.1.2 1.0.0.2 1.1.1.3 1.0.0.3 9.9.9.9 9.9.9.10 9.9.9.11 149.112.112.112
    208.67.222.222 208.67.220.220 208.67.222.123 208.67.220.123 4.2.2.1 4.2.2.2 4.2.2.3 4.2.2.4 4.2.2.5 4.2.2.6
    64.6.64.6 64.6.65.6 77.88.8.8 77.88.8.1 94.140.14.14 94.140.15.15 76.76.2.0 76.76.10.0 76.76.19.19 76.223.122.150
    114.114.114.114 114.114.115.115 223.5.5.5 223.6.6.6 180.76.76.76 119.29.29.29 168.126.63.1 168.126.63.2
    84.200.69.80 84.200.70.40 8.26.56.26 8.20.247.20 185.228.168.9 185.228.169.9 195.46.39.39 195.46.39.40
    2001:4860:4860::8888 2001:4860:4860::8844 2606:4700:4700::1111 2606:4700:4700::1001 2620:fe::fe 2620:fe::9
    2620:119:35::35 2620:119:53::53 2400:3200::1 2400:3200:baba::1 2001:67c:28a4:: 2a02:6b8::feed:ff
    2a10:50c0::ad1:ff 2a10:50c0::ad2:ff
    """.split()
)
# Documentation (RFC 3849, RFC 9637): ipaddress of older Pythons does not know both.
_NOBODYS_6 = tuple(ipaddress.ip_network(n) for n in ("2001:db8::/32", "3fff::/20"))
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052

_PREFIX_LENGTH = re.compile(rb"/([0-9]{1,3})(?![0-9.])")
_RANGE_END = re.compile(rb"-(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])")
_RANGE_BEGIN = re.compile(rb"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}-\Z")
_REVERSED = re.compile(rb"\.in-addr\.arpa(?![A-Za-z0-9-])", re.IGNORECASE)

# Words that make four numbers a version, and words that make them a host; the nearest in front decides.
_VERSION = re.compile(
    rb"version|release|\bstep\b|\bver\b|\brev(?:ision)?\b|build|firmware|driver|chrome|firefox|safari|webkit|opera|\bsdk\b|"
    rb"assembly|identifier|package|(?:\b|_)oid|section|\bsec\b|chapter|figure|\btable\b|appendix|clause|\bv[0-9]?\.?[ :=]|"
    rb"upgrad|updat|\bbump|minimum|require|depend|compatib|install|snmp|asn1|revised|edition",
    re.IGNORECASE,
)
_HOST = re.compile(
    rb"\bips?\b|\bip[_-]|_ips?\b|_ip_|ip[_-]?addr|(?-i:[a-z]IPs?\b|[a-z]Ip(?:[A-Z]|\b)|\bIP|\bip[A-Z])|inet6?|addr|host|server|(?<!c)url|dns|https?:|port\b|\bping|proxy|gateway|subnet|"
    rb"\bssh\b|socket|connect|peer|\bnode|client|remote|network|resolve|whois|nameserver|bind|listen|forward|visitor|"
    rb"login|logged|from\b|endpoint|origin|source|\bsrc\b|\bdst\b|destination|iptables|route|\bvia\b|lookup|allow|deny|block|\bban|://|\bcidr|\bGET\b|\bPOST\b",
    re.IGNORECASE,
)
# Directly in front of a version: a comparison, a range operator, a product's name and a slash, a package and an @.
_CONSTRAINT = re.compile(
    rb"(?:[=><~!]=|[~^]|[A-Za-z][ \t]?[=><]{2,3})[ \t]*[\"']?\Z|[A-Za-z]/\Z|[A-Za-z0-9_-]@\Z"
)
_LOGIN = re.compile(
    rb"(?:\b(?:ssh|scp|sftp|rsync|mosh|ftp)\b[^\n]{0,60}|://[^\s/]{0,60}|\broot|\badmin|\bubuntu)@\Z"
)
_PATH_DATA = re.compile(rb"(?:\A|[\s\"'=])[MmLlHhVvCcSsQqTtAaZz0-9., \t-]{8,}\Z")
_FRACTION = re.compile(rb"(?:[0-9]\.|[ ,-]\.)[0-9]+[ ,-]")
_NUMBER_FOLLOWS = re.compile(rb"[ ,]-?\.?[0-9]")
# Four numbers below this are a version, an outline number or an object id far more often than an address.
_SMALL = 32
_SECTION = 16  # and so are numbers that begin with two as small as these
# Arcs of object identifiers (ISO member bodies and organisations, X.500).
_OBJECT_IDS = ("1.2.", "1.3.", "2.5.")
_CONTEXT, _NEAR = 80, 30
# Counting like this one is a stand-in, as are equal steps (1.2.3.4, 11.22.33.44, 7.7.7.7).
_STAND_INS = ("123.45.67.89", "123.45.67.8", "123.456.78.9", "1.2.3.5", "111.222.33.44", "123.123.123.12")


def ipv4_span(body: bytes, start: int, end: int) -> Span | None:
    """The span itself if it is a globally routable address that may belong to somebody."""
    if not opens_here(body, start):
        return None
    low = max(0, start - 17)
    front = body[start - 1 : start] if start else b""
    if front in (b".", b"_") or (front == b"-" and not _RANGE_BEGIN.search(body[low:start])):
        return None
    reverse = _REVERSED.match(body, end)
    after = body[end : end + 2]
    if not reverse and (
        after[:1].isalnum()
        or after[:1] == b"_"
        or (after[:1] == b"." and after[1:].isalnum())
        or (after[:1] == b"-" and after[1:].isalnum() and not _RANGE_END.match(body, end))
    ):
        return None
    if _is_network(body, end, body[start:end]):
        return None
    octets = body[start:end].decode("ascii").split(".")
    if reverse:
        octets.reverse()
    address = _public_4(octets)
    if address is None:
        return None
    if not reverse and _is_version(body, start, end, octets):
        return None
    return start, end


def _is_network(body: bytes, end: int, address: bytes) -> bool:
    """Whether a prefix length follows that leaves no bit of the address to the host: `/24` behind `52.95.110.0`."""
    found = _PREFIX_LENGTH.match(body, end)
    if found is None:
        return False
    try:
        ipaddress.ip_network(f"{address.decode('ascii')}/{found[1].decode('ascii')}")
    except ValueError:
        return False  # bits of a host are set, or no prefix length after all
    return int(found[1]) != (128 if b":" in address else 32)


def _public_4(octets: list[str]) -> ipaddress.IPv4Address | None:
    if (
        any(len(o) > 1 and o[0] == "0" for o in octets)
        or any(int(o) > 255 for o in octets)
        or octets[3] == "0"
    ):
        return None
    numbers = [int(o) for o in octets]
    if len({b - a for a, b in pairwise(numbers)}) == 1 or ".".join(octets) in _STAND_INS:
        return None
    address = ipaddress.IPv4Address(".".join(octets))
    return address if address.is_global and not address.is_multicast and address not in _PUBLIC_DNS else None


def _is_version(body: bytes, start: int, end: int, octets: list[str]) -> bool:
    """Whether the surroundings make four numbers a version, an object id or part of a drawing."""
    before = line_before(body, start, _CONTEXT)
    host = _last(_HOST, before)
    if _last(_VERSION, before) > host:
        return True
    if _CONSTRAINT.search(before) and host < 0 and not _LOGIN.search(before):
        return True
    if _PATH_DATA.search(before) and _FRACTION.search(before):
        return True
    if _FRACTION.search(before[-8:]) and _NUMBER_FOLLOWS.match(body, end):
        return True
    numbers = [int(o) for o in octets]
    doubtful = (
        all(n < _SMALL for n in numbers)
        or max(numbers[:2]) < _SECTION
        or ".".join(octets).startswith(_OBJECT_IDS)
    )
    return doubtful and (host < 0 or host < len(before) - _NEAR)


def _last(words: re.Pattern[bytes], before: bytes) -> int:
    """Where the last of some words ends; -1 without one."""
    at = -1
    for found in words.finditer(before):
        at = found.end()
    return at


def ipv6_span(body: bytes, start: int, end: int) -> Span | None:
    """The address at the match, less the punctuation behind it; global unicast outside documentation only."""
    front = body[start - 1 : start] if start else b""
    if not opens_here(body, start) or front in (b":", b".", b"-", b"_"):
        return None
    value = body[start:end]
    while value:
        trimmed = value.rstrip(b".")
        if trimmed.endswith(b":") and not trimmed.endswith(b"::"):
            trimmed = trimmed[:-1]
        address = _address_6(trimmed)
        if address is not None:
            value = trimmed
            break
        if b"." not in value:
            return None
        value = value[: value.rindex(b".")]  # a sentence's full stop and what follows
    else:
        return None
    end = start + len(value)
    if not closes_here(body, end) or _is_network(body, end, value) or not _is_public_6(address):
        return None
    return start, end


def _address_6(value: bytes) -> ipaddress.IPv6Address | None:
    try:
        return ipaddress.IPv6Address(value.decode("ascii"))
    except ipaddress.AddressValueError:
        return None


def _is_public_6(address: ipaddress.IPv6Address) -> bool:
    """Whether an address, or the IPv4 address that it carries, is global and may be somebody's."""
    inner = address.ipv4_mapped
    if inner is None and (address in _TRANSLATED or int(address) >> 32 == 0):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return _public_4(str(inner).split(".")) is not None
    return address.is_global and address not in _PUBLIC_DNS and not any(address in net for net in _NOBODYS_6)


def ipv6_reversed_span(body: bytes, start: int, end: int) -> Span | None:
    """The 32 nibbles in front of `.ip6.arpa` (RFC 3596), lowest first, of a public address."""
    if not opens_here(body, start) or body[start - 1 : start] == b".":
        return None
    nibbles = body[start:end].decode("ascii").split(".")
    address = ipaddress.IPv6Address(int("".join(reversed(nibbles)), 16))
    return (start, end) if _is_public_6(address) else None
