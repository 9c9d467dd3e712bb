"""`pipeline keys` and `pipeline sign`: who vouches for a release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

keys = typer.Typer(help="Make and show the keys that releases are signed with.", no_args_is_help=True)


@keys.command("new")
def new(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Private key to write; FILE.pub is its public half.")
    ],
) -> None:
    """Make an Ed25519 key pair for signing releases.

    FILE is for you alone (mode 600), and encrypted if STACKMILL_KEY_PASSPHRASE is set. FILE.pub goes to everybody who is to
    check your releases: `pipeline verify --trusted-keys FILE.pub`.
    """
    from pipeline.keys import make_keys

    key, public = make_keys(path)
    typer.echo(f"private key  {path}  (keep it to yourself, and a copy in a safe place)")
    typer.echo(f"public key   {public}")
    typer.echo(f"key id       {key.id}")


@keys.command("show")
def show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="File of public keys, or one private key.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the ids of the keys in a file: those of its public keys, or that of a private key's public half."""
    from manifests.signing import load_trusted_keys
    from pipeline.errors import ConfigError
    from pipeline.keys import load_signing_key

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    ids = [load_signing_key(path).id] if b"PRIVATE KEY-----" in data else sorted(load_trusted_keys(data))
    typer.echo(json.dumps({"keys": ids}) if as_json else "\n".join(ids))


def sign(
    directory: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A release, such as releases/2.1 or s3://bucket/releases/2.1."),
    ],
    key: Annotated[
        Path | None, typer.Option("--key", help="Private key, as `pipeline keys new` makes it.")
    ] = None,
    sigstore: Annotated[
        bool,
        typer.Option(
            "--sigstore",
            help="Sign with an identity instead of a key, through sigstore's public services (extra `sigstore`).",
        ),
    ] = False,
) -> None:
    """Sign a release that exists: the signature goes into DIR/manifest.json.sig, nothing else changes.

    Verify the release first: who signs it says that it is what he means. A release that is signed already gets a further
    signature, over the same statement.
    """
    from pipeline.attestation import sign_release
    from pipeline.engine.store import Store
    from pipeline.errors import ConfigError
    from pipeline.keys import load_signing_key

    if (key is None) != sigstore:
        raise ConfigError("give one of --key FILE and --sigstore")
    if key is None:
        from pipeline.keyless import sign_keyless

        identity = sign_keyless(Store(directory))
        typer.echo(f"{directory}  signed\nidentity  {identity}")
        return
    loaded = load_signing_key(key)
    outcome = sign_release(Store(directory), loaded)
    words = {
        "signed": "signed",
        "added": "signed by a further key",
        "already": "already signed by this key",
    }
    typer.echo(f"{directory}  {words[outcome]}\nkey id    {loaded.id}")


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command("sign")(sign)
    app.add_typer(keys, name="keys")
