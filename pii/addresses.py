"""E-mail and IP addresses: strict grammar, less what is not personal (reserved, public services)."""

from __future__ import annotations

import ipaddress
import re

from pii.boundaries import closes_here, line_before, opens_here

# RFC 5321 4.5.3.1: 64 octets in front of the @, 255 behind it; RFC 1035: 63 per label.
_LOCAL_MAX, _DOMAIN_MAX, _LABEL_MAX = 64, 255, 63
_LOCAL = re.compile(rb"[A-Za-z0-9._%+-]+\Z")
_LABEL = re.compile(rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")

# Country codes (ISO 3166-1 as delegated) and the generic names that addresses in code are found under.
_COUNTRY = frozenset(
    b"""
    ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by
    bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi
    fj fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im
    in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc
    md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa
    pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sk sl sm sn so sr ss
    st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn
    vu wf ws ye yt za zm zw
    """.split()
)
_GENERIC = frozenset(
    b"""
    com org net edu gov mil int info biz name pro mobi asia cat coop aero museum jobs tel travel app dev
    page cloud tech online site store shop blog agency academy associates band berlin bio biz build
    business cafe camp capital care center chat city club codes coffee community company computer
    consulting cool digital directory education email energy engineer engineering enterprises expert
    finance foundation fund games global group guru hamburg health help host house institute international
    koeln lab land law legal life link live london ltd management market media moe money network ngo ninja
    nrw nyc one ong paris partners photography plus productions science school security services social
    software solutions space studio systems team technology tools top university ventures vip wales web
    wiki win work works world wtf xyz zone corsica swiss bzh scot wien cologne tokyo
    """.split()
)
# RFC 2606 and RFC 6761 reserve the first line; the second are names that documentation uses all the same.
_RESERVED = frozenset(b"example test invalid localhost local internal lan home corp".split())
_STAND_IN = frozenset(
    b"""
    example.com example.net example.org example.edu domain.com domain.tld yourdomain.com mydomain.com
    foo.com bar.com foobar.com baz.com company.com yourcompany.com mycompany.com acme.com email.com
    test.com users.noreply.github.com users.noreply.gitlab.com
    """.split()
)
# Accounts of services, not of people.
_ROLE = frozenset(b"git hg svn root noreply no-reply donotreply do-not-reply nobody localhost".split())
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")


def email_span(body: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The address around a match that begins one byte in front of the @ and runs over the domain."""
    at = start + 1
    window = body[max(0, at - _LOCAL_MAX - 1) : at]
    found = _LOCAL.search(window)
    if found is None or len(found.group()) > _LOCAL_MAX:
        return None
    begin = at - len(found.group())
    if begin and body[begin - 1 : begin] == b"\\" and body[begin : begin + 1] in (b"n", b"r", b"t"):
        begin += 1  # the letter belongs to an escape
    while body[begin : begin + 1] in (b".", b"_", b"%", b"+", b"-"):
        begin += 3 if _ESCAPE.match(body, begin) else 1
    local = body[begin:at]
    domain = body[at + 1 : end if end - at <= _DOMAIN_MAX + 1 else at + _DOMAIN_MAX + 2].rstrip(b".-")
    if not local or len(domain) > _DOMAIN_MAX or b".." in local or local.endswith(b"."):
        return None
    if begin >= at or _in_url_credentials(body, begin):
        return None
    labels = domain.lower().split(b".")
    while len(labels) > 1 and not _is_top_level(labels[-1]):
        labels.pop()  # "a@b.com.The next sentence" and "a@b.com.foo()" end with the domain
    if len(labels) < 2 or not all(_LABEL.match(label) for label in labels):
        return None
    name = b".".join(labels)
    if labels[-1] in _RESERVED or _stands_in(labels) or _is_role(local.lower()):
        return None
    return begin, at + 1 + len(name)


def _is_top_level(label: bytes) -> bool:
    return label in _COUNTRY or label in _GENERIC or label in _RESERVED or label.startswith(b"xn--")


def _stands_in(labels: list[bytes]) -> bool:
    return any(b".".join(labels[i:]) in _STAND_IN for i in range(len(labels) - 1)) or b"example" in labels


def _is_role(local: bytes) -> bool:
    return local in _ROLE or local.startswith((b"noreply", b"no-reply", b"donotreply"))


def _in_url_credentials(body: bytes, begin: int) -> bool:
    """`scheme://user:password@host`: the password is no address."""
    if body[begin - 1 : begin] not in (b":", b"/"):
        return False
    scheme = body.rfind(b"://", max(0, begin - 100), begin)
    return scheme >= 0 and not re.search(rb"[\s'\"<>]", body[scheme:begin])


# Resolvers that anyone may use and that name nobody: their operators publish these addresses.
_PUBLIC_DNS = frozenset(
    [
        "8.8.8.8",
        "8.8.4.4",
        "1.1.1.1",
        "1.0.0.1",
        "1.1.1.2",
        "1.1.1.3",
        "9.9.9.9",
        "149.112.112.112",
        "208.67.222.222",
        "208.67.220.220",
        "4.2.2.1",
        "4.2.2.2",
        "4.2.2.3",
        "4.2.2.4",
        "64.6.64.6",
        "64.6.65.6",
        "77.88.8.8",
        "77.88.8.1",
        "94.140.14.14",
        "94.140.15.15",
        "76.76.2.0",
        "76.76.19.19",
        "114.114.114.114",
        "223.5.5.5",
        "223.6.6.6",
        "180.76.76.76",
        "119.29.29.29",
        "168.126.63.1",
        "84.200.69.80",
        "8.26.56.26",
        "8.20.247.20",
        "2001:4860:4860::8888",
        "2001:4860:4860::8844",
        "2606:4700:4700::1111",
        "2606:4700:4700::1001",
        "2620:fe::fe",
        "2620:119:35::35",
        "2620:119:53::53",
    ]
)
_DOCUMENTATION_6 = tuple(ipaddress.ip_network(n) for n in ("2001:db8::/32", "3fff::/20"))

# A prefix length behind an address makes it a network, not a host.
_NETWORK_4 = re.compile(rb"/(?:[0-9]|[12][0-9]|3[01])(?![0-9])")
_NETWORK_6 = re.compile(rb"/(?:[0-9]|[1-9][0-9]|1[01][0-9]|12[0-7])(?![0-9])")

# Words that make four numbers a version, directly in front of them on the line.
_VERSION = re.compile(
    rb"(?:version|release|\bver\b|\brev\b|build|firmware|driver|chrome|firefox|safari|webkit|opera|sdk|"
    rb"assembly|package|(?:\b|_)oid|section|\bsec\b|chapter|figure|table|appendix|clause|\bv[0-9]?)[^\n]{0,24}\Z|"
    rb"(?:upgrad|updat|bump)[^\n]{0,40}\Z|(?:[=><~!]=|[~^@])[ \t]*[\"']?\Z|[A-Za-z]/\Z|"
    # a row of plain numbers: a drawing path, a table
    rb"(?:\A|[^0-9.])-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)[ ,]\Z",
    re.IGNORECASE,
)
_HOST_WORD = re.compile(
    rb"\bip|ip\b|_ip|addr|host|server|url|dns|http|port|ping|proxy|gateway|subnet|inet|ssh|socket|connect|peer|node",
    re.IGNORECASE,
)
# Four numbers below this are a version, an outline number or an object id far more often than an address.
_SMALL = 32
# Arcs of object identifiers (ISO member bodies and organisations, X.500).
_OBJECT_IDS = ("1.2.", "1.3.", "2.5.")
_CONTEXT = 80


def ipv4_span(body: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The span itself if it is a globally routable address that may belong to somebody."""
    if not opens_here(body, start) or (body[start - 1 : start] in (b".", b"-", b"_") and start):
        return None
    after = body[end : end + 2]
    if after[:1].isalnum() or after[:1] == b"_" or (after[:1] in (b".", b"-") and after[1:].isalnum()):
        return None
    if _NETWORK_4.match(body, end):
        return None
    text = body[start:end].decode("ascii")
    octets = text.split(".")
    if any(len(o) > 1 and o[0] == "0" for o in octets) or any(int(o) > 255 for o in octets):
        return None
    address = ipaddress.IPv4Address(text)
    if not address.is_global or address.is_multicast or text in _PUBLIC_DNS or octets[3] == "0":
        return None
    before = line_before(body, start, _CONTEXT)
    if _VERSION.search(before):
        return None
    doubtful = all(int(o) < _SMALL for o in octets) or text.startswith(_OBJECT_IDS)
    if doubtful and not _HOST_WORD.search(before):
        return None
    return start, end


def ipv6_span(body: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The address at the match, without a trailing colon; global unicast outside documentation only."""
    if not opens_here(body, start) or (body[start - 1 : start] in (b":", b".", b"-", b"_") and start):
        return None
    if not closes_here(body, end) or _NETWORK_6.match(body, end):
        return None
    value = body[start:end]
    if value.endswith(b":") and not value.endswith(b"::"):
        value = value[:-1]
    try:
        address = ipaddress.IPv6Address(value.decode("ascii"))
    except ipaddress.AddressValueError:
        return None
    if (
        not address.is_global
        or any(address in net for net in _DOCUMENTATION_6)
        or str(address) in _PUBLIC_DNS
    ):
        return None
    return start, start + len(value)
