"""The files of a base on a hub: what is listed there, fetched once each, gone on with after a stop, and checked.

Plain HTTP of the standard library: the hub client's exceptions are those of an HTTP library that changes with its
version.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .progress import show_progress
from .records import sha256_file
from .student import INDEX, WEIGHTS, read_shards

TOKEN_VARIABLE = "HF_TOKEN"
FAST_TOKENIZER = "tokenizer.json"
SLOW_TOKENIZER = ("tokenizer.model", "spiece.model", "vocab.txt", "vocab.json", "merges.txt")
OLD_TOKENS = ("special_tokens_map.json", "added_tokens.json")
"""What older versions of transformers wrote beside a tokenizer, and newer ones still let win over it."""
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    FAST_TOKENIZER,
    "tokenizer_config.json",
    *OLD_TOKENS,
    "chat_template.jinja",
)
CHUNK = 1 << 20


class Unavailable(Exception):
    """A source of the base did not answer, or answered with something else."""


@dataclass(frozen=True)
class Listing:
    """A repository as the hub describes it.

    url (str): of its files at the revision.
    revision (str): the commit.
    sizes (dict): bytes of each file, None if the hub does not say.
    sums (dict): sha256 of the large ones.
    """

    url: str
    revision: str
    sizes: dict[str, int | None]
    sums: dict[str, str]


def list_repository(repository: str, *, timeout: float, revision: str | None = None) -> Listing:
    """What a repository holds, at a revision (a commit, a tag or a branch) or as it is now.

    RAISES (Unavailable): no answer, or one of another shape.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    with _answering(repository), _open(f"{endpoint}/api/models/{repository}{at}?blobs=true", timeout) as response:
        info = json.load(response)
        return Listing(
            url=f"{endpoint}/{repository}/resolve/{info['sha']}",
            revision=info["sha"],
            sizes={entry["rfilename"]: entry.get("size") for entry in info["siblings"]},
            sums={entry["rfilename"]: entry["lfs"]["sha256"] for entry in info["siblings"] if entry.get("lfs")},
        )


def download(repository: str, listing: Listing, folder: Path, *, timeout: float) -> None:
    """Fetch the files of a base; those that are in the folder are not fetched again.

    RAISES (Unavailable): no answer; a file is cut off or has another sha256 than listed; there are no weights in
        safetensors.
    """
    tokenizer = () if FAST_TOKENIZER in listing.sizes else SLOW_TOKENIZER
    for name in (*SMALL_FILES, *tokenizer):
        if name in listing.sizes:
            _fetch(repository, listing, name, folder, timeout, lambda size: None)
    weights = [WEIGHTS] if WEIGHTS in listing.sizes else list(_fetch_index(repository, listing, folder, timeout))
    download_files(repository, listing, weights, folder, timeout=timeout)


def download_files(repository: str, listing: Listing, names: Sequence[str], folder: Path, *, timeout: float) -> None:
    """Fetch files by name; those that are in the folder are not fetched again. RAISES (Unavailable): as `download`."""
    total = sum(listing.sizes.get(name) or 0 for name in names) or None
    with show_progress(total, f"fetch {repository}", unit="B") as advance:
        for name in names:
            _fetch(repository, listing, name, folder, timeout, advance)


def _fetch_index(repository: str, listing: Listing, folder: Path, timeout: float) -> Iterable[str]:
    """The shards of the weights."""
    if INDEX not in listing.sizes:
        raise Unavailable(no_weights(listing.sizes))
    _fetch(repository, listing, INDEX, folder, timeout, lambda size: None)
    shards = read_shards(folder / INDEX)
    if missing := [name for name in shards if name not in listing.sizes]:
        raise Unavailable(f"{INDEX} names {', '.join(missing)}, which the hub does not have")
    return shards


def no_weights(names: Iterable[str]) -> str:
    """What to say of a base without weights that can be read."""
    others = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack")))
    if not others:
        return f"there is no {WEIGHTS} and no {INDEX}"
    return (
        f"there is no {WEIGHTS}, only {', '.join(others)}, and weights are read from safetensors only, which hold no "
        "code. Convert them where you trust them: AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder), "
        "and the same of its AutoTokenizer; then name that folder instead"
    )


def _fetch(
    repository: str, listing: Listing, name: str, folder: Path, timeout: float, advance: Callable[[int], object]
) -> None:
    """One file. Its part is kept when the connection breaks, and gone on with."""
    target, part, size = folder / name, folder / f"{name}.part", listing.sizes.get(name)
    if target.is_file():
        advance(target.stat().st_size)
        return
    done = part.stat().st_size if part.is_file() and size is not None else 0
    advance(done)
    if done == 0 or done != size:
        headers = {"Range": f"bytes={done}-"} if done else {}
        with _answering(repository), _open(f"{listing.url}/{name}", max(timeout, 60), headers) as response:
            with part.open("ab" if response.status == 206 else "wb") as file:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    advance(len(chunk))
    got = part.stat().st_size
    if size is not None and got < size:
        raise Unavailable(f"{name} was cut off after {got} of {size} bytes")
    if name in listing.sums and sha256_file(part) != listing.sums[name]:
        part.unlink()
        raise Unavailable(f"{name} does not have the sha256 the hub lists")
    part.replace(target)


@contextmanager
def _answering(repository: str) -> Iterator[None]:
    """Turn what goes wrong with an answer into a reason."""
    try:
        yield
    except HTTPError as err:
        hint = ""
        if err.code in (401, 403, 404):
            hint = (
                f". It does not exist, or it is private or gated: accept its terms on its page {repository}, and set "
                f"the environment variable {TOKEN_VARIABLE} to a token that may read it"
            )
        raise Unavailable(f"HTTPError: {err}{hint}") from err
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as err:
        raise Unavailable(f"{type(err).__name__}: {err}") from err


class _Redirects(HTTPRedirectHandler):
    """A token goes to the hub only, not to the store it sends us on to."""

    def redirect_request(self, req: Request, *args: Any) -> Request | None:
        new = super().redirect_request(req, *args)
        if new is not None and urlsplit(new.full_url).netloc != urlsplit(req.full_url).netloc:
            new.remove_header("Authorization")
        return new


def _open(url: str, timeout: float, headers: dict[str, str] | None = None) -> HTTPResponse:
    request = Request(url, headers=headers or {})
    if token := os.environ.get(TOKEN_VARIABLE):
        request.add_header("Authorization", f"Bearer {token}")
    return build_opener(_Redirects).open(request, timeout=timeout)
