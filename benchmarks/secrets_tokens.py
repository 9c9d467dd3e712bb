"""Issuers' tokens for the planted set, as their public documentation describes them; imports nothing of `pii`.

Part of what is frozen by digest. Where an issuer documents only a prefix, length and alphabet follow the examples
of its pages; where a length may vary, it varies. Checksums: GitHub and npm (CRC32 of the random part in base62, six
digits: GitHub engineering blog 2021, "Behind GitHub's new authentication token formats"), Grafana (CRC32, little
endian), GitLab's routable tokens (CRC32 in base36: GitLab handbook), age (Bech32).
No value here looks like a credential: prefixes, alphabets and lengths only.
"""

# ruff: noqa: E501 (tables of forms: one kind a line)

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass

from secrets_draw import BASE32, BASE36, BASE62, DIGITS, HEX_UPPER, LOWER, UPPER, Draw, Maker


@dataclass(frozen=True)
class Token:
    """One type: names that a program gives to it; `alone`: it is known by its own form, without any name."""

    type: str
    names: tuple[str, ...]
    make: Maker
    alone: bool = True
    kind: str = "key"


def base62(number: int, width: int) -> str:
    """Write a number in base62 (0-9, A-Z, a-z), padded on the left."""
    out = ""
    while number:
        number, digit = divmod(number, 62)
        out = BASE62[digit] + out
    return out.rjust(width, "0")


def base36(number: int, width: int) -> str:
    """Write a number in base36, padded on the left."""
    out = ""
    while number:
        number, digit = divmod(number, 36)
        out = BASE36[digit] + out
    return out.rjust(width, "0")


def checked(prefix: str) -> Maker:
    """Make tokens of GitHub's form: prefix, 30 random characters, CRC32 of these."""

    def make(draw: Draw) -> str:
        body = draw.a62(30)
        return prefix + body + base62(zlib.crc32(body.encode()), 6)

    return make


def _grafana(draw: Draw) -> str:
    key = "gl" + "sa_" + draw.a62(32)
    return f"{key}_{zlib.crc32(key.encode()).to_bytes(4, 'little').hex()}"


def _routable(draw: Draw) -> str:
    payload = draw.url64(27, 60)
    head = f"{'gl' + 'pat-'}{payload}.01.{base36(len(payload), 2)}"
    return head + base36(zlib.crc32(head.encode()), 7)


def _bech32(hrp: str, data: bytes) -> str:
    """Encode as BIP 173 says."""
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    bits = int.from_bytes(data, "big") << (-len(data) * 8 % 5)
    count = -(-len(data) * 8 // 5)
    words = [bits >> 5 * (count - 1 - i) & 31 for i in range(count)]

    def polymod(values: list[int]) -> int:
        check = 1
        for value in values:
            top = check >> 25
            check = (check & 0x1FFFFFF) << 5 ^ value
            for i, g in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                check ^= g if top >> i & 1 else 0
        return check

    expanded = [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]
    check = polymod(expanded + words + [0] * 6) ^ 1
    return hrp + "1" + "".join(letters[w] for w in words + [check >> 5 * (5 - i) & 31 for i in range(6)])


def jwt(draw: Draw) -> str:
    """Make a JSON Web Token (RFC 7519) with a signature of the length that its algorithm has."""
    algorithm, size = draw.pick([("HS256", 32), ("RS256", 256), ("ES256", 64), ("HS512", 64), ("EdDSA", 64)])
    header = draw.pick(
        [
            {"alg": algorithm, "typ": "JWT"},
            {"typ": "JWT", "alg": algorithm},
            {"alg": algorithm, "kid": draw.hex(8), "typ": "JWT"},
        ]
    )
    claims = {"sub": draw.pick([draw.uuid(), draw.digits(6)]), "iat": 1_500_000_000 + draw.below(10**8)}
    claims |= draw.pick(
        [
            {},
            {"exp": 1_700_000_000 + draw.below(10**8)},
            {"iss": f"https://{draw.host()}/", "aud": draw.word()},
            {"role": "service_role", "scope": ["a:read", "b:write"]},
        ]
    )

    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    separators = draw.pick([(",", ":"), (", ", ": ")])
    return ".".join(
        [
            part(json.dumps(header, separators=separators).encode()),
            part(json.dumps(claims, separators=separators).encode()),
            part(draw.bytes(size)),
        ]
    )


def _discord(draw: Draw) -> str:
    user = base64.b64encode(draw.digits(17, 19).encode()).decode().rstrip("=")
    return f"{user}.{draw.pick('GMXY')}{draw.url64(5)}.{draw.url64(draw.pick([27, 38]))}"


def _mapbox(draw: Draw) -> str:
    payload = json.dumps(
        {"u": draw.word(), "a": "cl" + draw.text(BASE36, 23)}, separators=(",", ":")
    ).encode()
    return f"sk.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.{draw.url64(22)}"


def _facebook(draw: Draw) -> str:
    return "EAA" + draw.a62(100, 190)


def _op(draw: Draw) -> str:
    payload = {
        "signInAddress": f"{draw.word()}.1password.com",
        "userAuth": {"method": "SRPg-4096", "salt": draw.url64(22)},
        "muk": draw.url64(43),
        "secretKey": "A3-" + draw.text(UPPER + DIGITS, 26),
    }
    return "ops_" + base64.urlsafe_b64encode(
        json.dumps(payload, separators=(",", ":")).encode()
    ).decode().rstrip("=")


def _sentry(draw: Draw) -> str:
    payload = json.dumps(
        {
            "iat": 1_690_000_000 + draw.below(10**7),
            "url": "https://sentry.io",
            "region_url": "https://us.sentry.io",
            "org": draw.word(),
        }
    ).encode()
    return f"sntrys_{base64.b64encode(payload).decode()}_{draw.text(BASE62 + '+/', 43)}"


def _grafana_cloud(draw: Draw) -> str:
    payload = json.dumps(
        {"o": draw.digits(6), "n": draw.word(), "k": draw.a62(24), "m": {"r": "eu"}}, separators=(",", ":")
    ).encode()
    return "glc_" + base64.b64encode(payload).decode()


def _slack_bot(draw: Draw) -> str:
    return f"{'xo' + 'xb'}-{draw.digits(10, 13)}-{draw.digits(12, 13)}-{draw.a62(24)}"


def _slack_user(draw: Draw) -> str:
    return f"{'xo' + 'xp'}-{draw.digits(10, 13)}-{draw.digits(12, 13)}-{draw.digits(12, 13)}-{draw.hex(32)}"


def _aws_id(draw: Draw) -> str:
    """The first six bytes of the base32 part hold the account number from bit 7 on (`aws sts get-access-key-info`)."""
    account = draw.below(10**12)
    head = (draw.below(2) << 47 | account << 7 | draw.below(128)).to_bytes(6, "big")
    return draw.pick(["AK", "AK", "AS"]) + "IA" + base64.b32encode(head + draw.bytes(4)).decode()


def _azdo(draw: Draw) -> str:
    return draw.a62(75) + "AZDO" + draw.a62(5)  # 84 characters, the fixed part at 76 to 79


TOKENS: tuple[Token, ...] = (
    # ---- clouds
    Token("aws_access_key_id", ("aws access key id", "access key"), _aws_id),
    Token("aws_secret_access_key", ("aws secret access key", "aws secret key"), lambda d: d.text(BASE62 + "+/", 40), alone=False),
    Token("aws_session_token", ("aws session token",), lambda d: "IQoJb3JpZ2luX2Vj" + d.text(BASE62 + "+/", 300, 700) + d.pick(["", "="]), alone=False),
    Token("google_api_key", ("google api key", "maps key", "firebase api key"), lambda d: "AI" + "za" + d.url64(35)),
    Token("google_oauth_secret", ("google client secret", "client secret"), lambda d: "GOC" + "SPX-" + d.url64(28)),
    Token("google_access_token", ("access token", "google token"), lambda d: "ya29." + d.pick(["a0", "c."]) + d.url64(60, 200)),
    Token("google_refresh_token", ("google refresh token", "refresh token"), lambda d: "1//0" + d.pick("123456") + d.url64(90, 98), alone=False),
    Token("azure_storage_key", ("azure storage account key", "azure storage key"), lambda d: d.b64(64), alone=False),
    Token("azure_client_secret", ("azure client secret", "client secret"), lambda d: d.a62(3) + d.pick("78") + "Q~" + d.text(BASE62 + "_.~-", 34)),
    Token("azure_devops_pat", ("azure devops pat", "vsts token"), _azdo),
    Token("azure_devops_pat_old", ("azure devops pat", "azure devops token"), lambda d: d.text(LOWER + "234567", 52), alone=False),
    Token("azure_openai_key", ("azure openai api key", "ocp apim subscription key"), lambda d: d.hex(32), alone=False),
    Token("digitalocean", ("digitalocean token", "do token"), lambda d: d.pick(["dop", "doo", "dor"]) + "_v1_" + d.hex(64)),
    Token("alibaba_access_key_id", ("alibaba access key id", "oss access key id"), lambda d: "LT" + "AI" + d.a62(d.pick([12, 16, 20]))),
    Token("tencent_secret_id", ("tencentcloud secret id", "cos secret id"), lambda d: "AK" + "ID" + d.a62(32)),
    Token("cloudflare_api_token", ("cloudflare api token", "cf api token"), lambda d: d.url64(40), alone=False),
    Token("cloudflare_origin_ca_key", ("cloudflare origin ca key",), lambda d: f"v1.0-{d.hex(24)}-{d.hex(146)}"),
    Token("heroku_api_key", ("heroku api key",), lambda d: "HR" + "KU-" + d.pick([d.uuid(), "AA" + d.url64(58)])),
    Token("heroku_api_key_old", ("heroku api key",), lambda d: d.uuid(), alone=False),
    Token("fly_io", ("fly api token", "fly token"), lambda d: "Fly" + "V1 fm2_" + d.text(BASE62 + "+/", 300, 600) + d.pick(["", "=", "=="])),
    Token("scaleway_access_key", ("scw access key",), lambda d: "SCW" + d.text(UPPER + DIGITS, 17)),
    Token("scaleway_secret_key", ("scw secret key",), lambda d: d.uuid(), alone=False),
    Token("linode", ("linode token", "linode api token"), lambda d: d.hex(64), alone=False),
    Token("ibm_cloud", ("ibm cloud api key", "ibmcloud api key"), lambda d: d.url64(44), alone=False),
    Token("databricks", ("databricks token",), lambda d: "da" + "pi" + d.hex(32) + d.pick(["", "", "-2"])),
    # ---- forges
    Token("github", ("github token", "gh token", "github pat"), checked("gh" + "p_")),
    Token("github_oauth", ("github oauth token", "access token"), checked("gh" + "o_")),
    Token("github_app", ("github app token", "installation token", "github token"), lambda d: checked("gh" + d.pick("us") + "_")(d)),
    Token("github_refresh", ("github refresh token",), checked("gh" + "r_")),
    Token("github_fine_grained", ("github token", "github pat"), lambda d: f"{'github' + '_pat'}_11{d.text(BASE62.upper()[:36], 20)}_{d.a62(59)}"),
    Token("gitlab", ("gitlab token", "private token"), lambda d: "gl" + "pat-" + d.url64(20)),
    Token("gitlab_routable", ("gitlab token", "gitlab pat"), _routable),
    Token("gitlab_other", ("gitlab token", "ci job token"), lambda d: d.pick(["glptt-" + d.hex(40), "gldt-" + d.url64(20), "glrt-" + d.url64(20), "glft-" + d.url64(20), "glsoat-" + d.url64(20), "glagent-" + d.url64(50), "glimt-" + d.url64(25), "gloas-" + d.hex(64)])),
    Token("bitbucket_app_password", ("bitbucket app password", "bitbucket password"), lambda d: "AT" + "BB" + d.a62(24) + d.text(HEX_UPPER, 8)),
    Token("atlassian_api_token", ("jira api token", "atlassian token", "confluence token"), lambda d: "ATA" + "TT3xFfGF0" + d.url64(171) + "=" + d.text(HEX_UPPER, 8)),
    Token("gitea", ("gitea token", "forgejo token"), lambda d: d.hex(40), alone=False),
    Token("sourcegraph", ("sourcegraph token", "src access token"), lambda d: "sg" + "p_" + d.pick(["local_", d.hex(16) + "_", ""]) + d.hex(40)),
    # ---- package registries
    Token("npm", ("npm token", "node auth token"), checked("np" + "m_")),
    Token("pypi", ("pypi token", "twine password", "pypi api token"), lambda d: "py" + "pi-AgEIcHlwaS5vcmc" + d.url64(130, 200)),
    Token("rubygems", ("rubygems api key", "gem host api key"), lambda d: "ruby" + "gems_" + d.hex(48)),
    Token("crates_io", ("cargo registry token",), lambda d: "ci" + "o" + d.a62(32), alone=False),
    Token("docker_hub", ("docker token", "dockerhub password", "docker password"), lambda d: "dckr" + "_pat_" + d.url64(27)),
    Token("nuget", ("nuget api key",), lambda d: "oy" + "2" + d.text(LOWER + "234567", 43), alone=False),
    Token("clojars", ("clojars token", "clojars password"), lambda d: "CLO" + "JARS_" + d.hex(60)),
    Token("artifactory_reference", ("artifactory token", "jfrog token"), lambda d: base64.b64encode(f"reftkn:01:{d.digits(10)}:{d.a62(27)}".encode()).decode().rstrip("=")),
    Token("artifactory_api_key", ("artifactory api key", "jfrog api key"), lambda d: "AK" + "Cp" + d.a62(69)),
    # ---- CI and infrastructure
    Token("circleci", ("circleci token", "circle token"), lambda d: f"{'CC' + 'I'}{d.pick(['PAT', 'PRJ'])}_{d.a62(22)}_{d.hex(40)}"),
    Token("buildkite", ("buildkite token", "buildkite api token"), lambda d: "bk" + "ua_" + d.hex(40)),
    Token("jenkins", ("jenkins api token", "jenkins token"), lambda d: "11" + d.hex(32), alone=False),
    Token("netlify", ("netlify auth token",), lambda d: "nf" + "p_" + d.a62(36)),
    Token("vercel", ("vercel token",), lambda d: d.a62(24), alone=False),
    Token("pulumi", ("pulumi access token",), lambda d: "pu" + "l-" + d.hex(40)),
    Token("terraform_cloud", ("tfe token", "terraform token", "tf token"), lambda d: f"{d.a62(14)}.{'atlas' + 'v1'}.{d.url64(60, 70)}"),
    Token("vault", ("vault token",), lambda d: d.pick(["hv" + "s.", "hv" + "s.", "hv" + "b."]) + d.url64(90, 130)),
    Token("vault_old", ("vault token",), lambda d: "s." + d.a62(24), alone=False),
    Token("doppler", ("doppler token",), lambda d: d.pick(["dp" + ".pt.", "dp" + ".st.dev.", "dp" + ".st.prd.", "dp" + ".ct.", "dp" + ".sa."]) + d.a62(40, 44)),
    Token("onepassword_service", ("op service account token",), _op),
    Token("tailscale", ("tailscale auth key", "ts authkey"), lambda d: f"ts{'key'}-{d.pick(['auth', 'auth', 'api', 'client'])}-k{d.a62(11)}CNTRL-{d.a62(32)}"),
    Token("grafana_service_account", ("grafana token", "grafana api key"), _grafana),
    Token("grafana_cloud", ("grafana cloud token",), _grafana_cloud),
    Token("new_relic_user_key", ("new relic api key", "newrelic user key"), lambda d: "NR" + "AK-" + d.text(UPPER + DIGITS, 27)),
    Token("new_relic_license", ("new relic license key",), lambda d: d.pick([d.hex(36), "eu01xx" + d.hex(30)]) + "NR" + "AL"),
    Token("datadog_api_key", ("datadog api key", "dd api key"), lambda d: d.hex(32), alone=False),
    Token("datadog_app_key", ("datadog app key", "dd app key"), lambda d: d.hex(40), alone=False),
    Token("sentry_org", ("sentry auth token",), _sentry),
    Token("sentry_user", ("sentry auth token",), lambda d: "sn" + "tryu_" + d.hex(64)),
    Token("dynatrace", ("dynatrace token", "dt api token"), lambda d: f"dt0{d.pick('cs')}01.{d.text(BASE32, 24)}.{d.text(BASE32, 64)}"),
    Token("codecov", ("codecov token",), lambda d: d.uuid(), alone=False),
    Token("sonarqube", ("sonar token", "sonarqube token"), lambda d: "sq" + d.pick("upa") + "_" + d.hex(40)),
    Token("prefect", ("prefect api key",), lambda d: "pn" + d.pick("ub") + "_" + d.a62(36)),
    Token("age_secret_key", ("age key", "sops age key"), lambda d: _bech32("age-secret-key-", d.bytes(32)).upper()),
    Token("launchdarkly", ("launchdarkly sdk key", "ld sdk key"), lambda d: d.pick(["sdk-", "api-"]) + d.uuid()),
    Token("planetscale", ("planetscale token", "database password"), lambda d: d.pick(["ps" + "cale_tkn_", "ps" + "cale_pw_"]) + d.url64(43)),
    Token("supabase", ("supabase access token",), lambda d: "sb" + "p_" + d.hex(40)),
    Token("mongodb_atlas", ("atlas client secret", "mongodb atlas secret"), lambda d: "mdb" + "_sa_sk_" + d.url64(40)),
    # ---- payment
    Token("stripe", ("stripe secret key", "stripe api key"), lambda d: f"{d.pick(['sk', 'sk', 'rk'])}_{d.pick(['live', 'test'])}_{d.pick([d.a62(24), '51' + d.a62(97)])}"),
    Token("stripe_webhook", ("stripe webhook secret", "endpoint secret"), lambda d: "wh" + "sec_" + d.a62(32)),
    Token("square_access_token", ("square access token",), lambda d: "EAAA" + d.pick("lE") + d.url64(59)),
    Token("square_secret", ("square application secret",), lambda d: "sq" + "0csp-" + d.url64(43)),
    Token("braintree", ("braintree access token",), lambda d: f"{'access' + '_token'}$production${d.text(BASE36, 16)}${d.hex(32)}"),
    Token("shopify", ("shopify access token", "shopify token"), lambda d: "sh" + d.pick(["pat", "pca", "ppa", "pss"]) + "_" + d.hex(32)),
    Token("mollie", ("mollie api key",), lambda d: d.pick(["live_", "test_"]) + d.a62(30), alone=False),
    Token("plaid_access_token", ("plaid access token",), lambda d: f"access-{d.pick(['sandbox', 'production', 'development'])}-{d.uuid()}"),
    Token("flutterwave", ("flutterwave secret key", "flw secret key"), lambda d: f"FLW{'SECK'}{d.pick(['_TEST', ''])}-{d.hex(32)}-X"),
    Token("gocardless", ("gocardless access token",), lambda d: d.pick(["live_", "sandbox_"]) + d.url64(40), alone=False),
    Token("easypost", ("easypost api key",), lambda d: "EZ" + d.pick("AT") + "K" + d.a62(54)),
    Token("duffel", ("duffel access token",), lambda d: "duf" + "fel_" + d.pick(["live", "test"]) + "_" + d.url64(43)),
    Token("shippo", ("shippo token", "shippo api key"), lambda d: "ship" + "po_" + d.pick(["live", "test"]) + "_" + d.hex(40)),
    # ---- AI
    Token("openai", ("openai api key",), lambda d: "sk-" + d.a62(20) + "T3Blbk" + "FJ" + d.a62(20)),
    Token("openai_project", ("openai api key",), lambda d: f"sk-{d.pick(['proj', 'proj', 'svcacct', 'admin'])}-{(n := d.pick([58, 74])) and d.url64(n)}T3Blbk{'FJ'}{d.url64(n)}"),
    Token("anthropic", ("anthropic api key", "claude api key"), lambda d: f"sk-ant-{d.pick(['api03', 'api03', 'admin01'])}-{d.url64(93)}AA"),
    Token("hugging_face", ("hf token", "huggingface token", "hugging face hub token"), lambda d: "hf" + "_" + d.text(UPPER + LOWER, 34)),
    Token("replicate", ("replicate api token",), lambda d: "r8" + "_" + d.a62(37)),
    Token("groq", ("groq api key",), lambda d: "gs" + "k_" + d.a62(52)),
    Token("perplexity", ("perplexity api key", "pplx api key"), lambda d: "pp" + "lx-" + d.a62(48)),
    Token("xai", ("xai api key",), lambda d: "xa" + "i-" + d.a62(80)),
    Token("cohere", ("cohere api key", "co api key"), lambda d: d.a62(40), alone=False),
    Token("langsmith", ("langsmith api key", "langchain api key"), lambda d: f"ls{'v2'}_{d.pick(['pt', 'sk'])}_{d.hex(32)}_{d.hex(10)}"),
    Token("openrouter", ("openrouter api key",), lambda d: "sk-" + "or-v1-" + d.hex(64)),
    Token("nvidia", ("nvidia api key", "ngc api key"), lambda d: "nv" + "api-" + d.url64(64)),
    Token("wandb", ("wandb api key",), lambda d: d.hex(40), alone=False),
    Token("elevenlabs", ("elevenlabs api key", "xi api key"), lambda d: "sk" + "_" + d.hex(48)),
    # ---- messaging
    Token("slack_bot", ("slack bot token", "slack token"), _slack_bot),
    Token("slack_user", ("slack user token", "slack token"), _slack_user),
    Token("slack_app", ("slack app token",), lambda d: f"{'xa' + 'pp'}-1-A{d.text(UPPER + DIGITS, 10)}-{d.digits(13)}-{d.hex(64)}"),
    Token("discord_bot", ("discord token", "bot token"), _discord),
    Token("telegram_bot", ("telegram bot token", "telegram token", "tg token"), lambda d: f"{d.digits(8, 10)}:AA{d.url64(33)}"),
    Token("twilio_api_key", ("twilio api key", "twilio api key sid"), lambda d: "SK" + d.hex(32)),
    Token("twilio_auth_token", ("twilio auth token",), lambda d: d.hex(32), alone=False),
    Token("sendgrid", ("sendgrid api key",), lambda d: f"{'S' + 'G'}.{d.url64(22)}.{d.url64(43)}"),
    Token("mailgun", ("mailgun api key",), lambda d: d.pick(["ke" + "y-" + d.hex(32), f"{d.hex(32)}-{d.hex(8)}-{d.hex(8)}"]), alone=False),
    Token("mailchimp", ("mailchimp api key",), lambda d: f"{d.hex(32)}-us{d.between(1, 21)}"),
    Token("brevo", ("brevo api key", "sendinblue api key"), lambda d: f"{'xkey' + 'sib'}-{d.hex(64)}-{d.a62(16)}"),
    Token("postmark", ("postmark server token", "postmark api token"), lambda d: d.uuid(), alone=False),
    Token("resend", ("resend api key",), lambda d: f"re_{d.a62(8)}_{d.a62(24)}", alone=False),
    # ---- services
    Token("notion", ("notion token", "notion api key"), lambda d: d.pick(["secret_" + d.a62(43), "nt" + "n_" + d.digits(11) + d.a62(35)])),
    Token("linear", ("linear api key",), lambda d: "lin" + "_api_" + d.a62(40)),
    Token("figma", ("figma token", "figma access token"), lambda d: "fig" + "d_" + d.url64(40)),
    Token("airtable", ("airtable api key", "airtable pat"), lambda d: f"pat{d.a62(14)}.{d.hex(64)}"),
    Token("asana", ("asana access token", "asana pat"), lambda d: f"{d.pick('012')}/{d.digits(16)}:{d.hex(32)}", alone=False),
    Token("hubspot", ("hubspot access token", "hubspot token"), lambda d: f"pat-{d.pick(['na1', 'eu1', 'na2'])}-{d.uuid()}"),
    Token("contentful", ("contentful management token",), lambda d: "CF" + "PAT-" + d.url64(43)),
    Token("typeform", ("typeform token",), lambda d: "tf" + "p_" + d.text(BASE62 + "-_.", 44, 59)),
    Token("dropbox", ("dropbox access token", "dropbox token"), lambda d: "sl" + "." + d.pick(["", "u."]) + d.url64(130, 180)),
    Token("facebook", ("facebook access token", "fb access token", "page access token"), _facebook),
    Token("mapbox_secret", ("mapbox secret token", "mapbox access token"), _mapbox),
    Token("algolia_admin", ("algolia admin key", "algolia api key"), lambda d: d.hex(32), alone=False),
    Token("okta", ("okta api token", "okta token"), lambda d: "00" + d.url64(40), alone=False),
    Token("postman", ("postman api key",), lambda d: f"{'PM' + 'AK'}-{d.hex(24)}-{d.hex(34)}"),
    Token("posthog_personal", ("posthog personal api key",), lambda d: "ph" + "x_" + d.a62(43, 47)),
    Token("wakatime", ("wakatime api key",), lambda d: "wa" + "ka_" + d.uuid()),
    Token("frame_io", ("frameio token",), lambda d: "fi" + "o-u-" + d.url64(64)),
    Token("twitter_bearer", ("twitter bearer token",), lambda d: "A" * 22 + d.a62(30) + "%3D" + d.a62(40, 50), alone=False),
    Token("fcm_server_key", ("fcm server key", "firebase server key"), lambda d: f"AAAA{d.url64(7)}:APA91b{d.url64(134)}"),
    # ---- any issuer
    Token("jwt", ("access token", "id token", "auth token", "jwt"), jwt),
)  # fmt: skip
