"""What we ask of the Hugging Face Hub, through its client, with its errors in the words of our error tree.

The address of the Hub is HF_ENDPOINT, the token HF_TOKEN or what `hf auth login` stored. A token is never in a message.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError, DeniedError, SourceError, ThrottledError, TransientError

_SAID = 300  # characters of the Hub's own words that a message repeats


@dataclass(frozen=True)
class Remote:
    """A file in a repository."""

    size: int
    sha256: str | None
    """Of a large file; None for one that git holds itself."""
    blob_id: str
    """git's own hash of the file (of a large file: of its pointer)."""

    def is_file(self, data: bytes | None, sha256: str, size: int) -> bool:
        """Whether it has the same content; `data` is needed for a file that git holds itself."""
        if self.size != size:
            return False
        return self.sha256 == sha256 if self.sha256 is not None else self.blob_id == git_hash(data or b"")


def git_hash(data: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class NoRepositoryError(SourceError):
    """There is no such repository, or this token may not see it."""


class NoRevisionError(SourceError):
    """The repository has no such branch, tag or commit."""


class Hub:
    """One dataset repository."""

    def __init__(self, repository: str, *, must_write: bool) -> None:
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()  # whoever calls shows how far it is, for all files together
        self.repository = repository
        with self.errors("read the token"):
            self._token = get_token()
        if must_write and not self._token:
            raise DeniedError(
                f"hf://datasets/{repository}: no token for the Hugging Face Hub; set HF_TOKEN to one that may write to it, or"
                " run `hf auth login`"
            )
        self.endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        self.api = HfApi(endpoint=self.endpoint, token=self._token or False)
        self._where: dict[str, Any] = {"repo_id": repository, "repo_type": "dataset"}

    @property
    def where(self) -> dict[str, Any]:
        """The arguments of the client that name the repository."""
        return dict(self._where)

    def tags(self) -> dict[str, str]:
        """Tag -> commit."""
        with self.errors("list the tags"):
            return {ref.name: ref.target_commit for ref in self.api.list_repo_refs(**self._where).tags}

    def head(self, revision: str) -> str:
        """The commit of a branch, tag or commit."""
        with self.errors(f"find {revision}"):
            return str(self.api.repo_info(**self._where, revision=revision).sha)

    def tree(self, revision: str) -> dict[str, Remote]:
        """Path -> file, of all files at a revision."""
        from huggingface_hub.hf_api import RepoFile

        with self.errors(f"list the files of {revision}"):
            entries = list(self.api.list_repo_tree(**self._where, revision=revision, recursive=True))
        return {
            entry.path: Remote(entry.size, None if entry.lfs is None else entry.lfs.sha256, entry.blob_id)
            for entry in entries
            if isinstance(entry, RepoFile)
        }

    def read(self, path: str, revision: str) -> bytes:
        """The content of a (small) file at a revision, fetched anew."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(
            self.repository, path, repo_type="dataset", revision=revision, endpoint=self.endpoint
        )
        with self.errors(f"read {path}"):
            answer = get_session().get(
                url, headers=build_hf_headers(token=self._token or False), follow_redirects=True
            )
            hf_raise_for_status(answer)
            return bytes(answer.content)

    @contextlib.contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Translate what the client raises."""
        from huggingface_hub import errors as known

        try:
            yield
        except (known.HTTPError, OSError, ValueError, RuntimeError) as error:
            if isinstance(error, (ConfigError, SourceError)):
                raise
            cause = error
            while cause.__cause__ is not None and not isinstance(cause, known.HTTPError):
                cause = cause.__cause__  # the client wraps what went wrong with one file
            raise self._translated(doing, cause) from error

    def _translated(self, doing: str, error: BaseException) -> Exception:
        from huggingface_hub import errors as known

        where = f"hf://datasets/{self.repository}: could not {doing}"
        said = " ".join(str(error).split())[:_SAID]
        if self._token:
            said = said.replace(self._token, "<token>")
        answer = getattr(error, "response", None)
        status = getattr(answer, "status_code", None)
        if isinstance(error, known.GatedRepoError) or status == 403:
            return DeniedError(
                f"{where}: not permitted; the token needs the right to write to this repository ({said})"
            )
        if isinstance(error, known.RevisionNotFoundError):
            return NoRevisionError(f"{where}: no such branch, tag or commit ({said})")
        if isinstance(error, known.RepositoryNotFoundError) and status != 401:
            return NoRepositoryError(
                f"{where}: no such repository, or the token may not see it; make it with --create, or on the website ({said})"
            )
        if status == 401:
            return DeniedError(
                f"{where}: the token is not valid, or may not see this repository; check HF_TOKEN, or run `hf auth login`"
                f" ({said})"
            )
        if status == 429:
            return ThrottledError(
                f"{where}: the Hub asks for fewer requests; wait some minutes and run again: what was uploaded stays ({said})"
            )
        if status in (409, 412):
            return TransientError(
                f"{where}: somebody else has changed the repository meanwhile; run again ({said})"
            )
        if status is not None and 400 <= status < 500:
            return SourceError(f"{where}: the Hub refused it ({said})")
        if status is not None:
            return TransientError(f"{where}: the Hub failed; run again ({said})")
        if isinstance(error, (known.HTTPError, OSError)):
            return TransientError(
                f"{where}: no answer; check the network and HF_ENDPOINT, and run again ({said})"
            )
        return SourceError(f"{where}: {said}")
