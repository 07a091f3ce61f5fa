"""A store: objects in a bucket, or files at the other end of any protocol that fsspec speaks.

No store is asked to rename over a network what must not be seen before it is whole:

    s3, gcs, abfs    an object appears when its upload is completed, under its name at once, and
                     only if nobody has that name ("If-None-Match: *"), which the server decides
    all others       are written under a temporary name beside, read back and compared with their
                     SHA-256, and then moved to a name that was free a moment ago

An S3 server gets the SHA-256 of what is sent in one piece, to refuse what has another; the parts of
larger objects carry CRCs, as botocore sees to. All stores are asked for the size at the end. What
has the name already is read: with the same content the file is there already (that is also what an
upload looks like whose end was not heard), with another one a numbered sibling is taken.

Servers that ignore the condition overwrite. So a name is looked up first, and then only what
somebody else puts there in that moment is at risk. A key is the prefix, a slash and a path whose
components were made safe before (objects.safe_parts): none climbs out.

fsspec is imported here alone, and only in the process that uploads (uploader.py).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from diode.sink.place import siblings

if TYPE_CHECKING:
    from collections.abc import Callable

COMPLETED = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
"""Protocols whose objects appear whole or not at all, and not over another."""
PIECE = 8 << 20
"""Bytes read, or sent as one part, at a time."""
PARTS_AT_ONCE = 4
SINGLE = 2 * PIECE
"""S3 objects below that size are sent in one piece."""
MOST_PARTS = 10_000
QUERY = "%3F"
"""What stands for a question mark: s3fs takes what follows some of them for no part of the name."""
_TEMPORARY = ".diode-{}.part"


class Stored(NamedTuple):
    """A file is in the store. at: its URL. duplicate: the same content was there already."""

    at: str
    duplicate: bool


class Damaged(OSError):
    """What the store has is not what was sent."""


def is_store(place: str) -> bool:
    """Whether that names a store, and not a folder."""
    return "://" in place


def shown(url: str) -> str:
    """The URL without what it has of credentials."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def local_folder(url: str) -> str | None:
    """The folder of this machine that a URL names; None for all other stores."""
    protocol, _, path = url.partition("://")
    return os.path.abspath(path) if protocol in {"file", "local"} else None


class Store:
    """Where the files of an outbox go. Its methods raise what the protocol's library raises."""

    def __init__(self, url: str) -> None:
        """Nothing is asked of the store yet.

        url: as fsspec has it. Raises ImportError and ValueError where there is no such protocol.
        """
        import fsspec  # noqa: PLC0415  an extra, and slow to load

        self._protocol = url.partition("://")[0]
        self._local = local_folder(url) is not None
        self._url = shown(url).rstrip("/")
        self._system, root = fsspec.core.url_to_fs(url, **_quiet(self._protocol))
        self._root = root.rstrip("/")

    @property
    def at_once(self) -> int:
        """Uploads side by side; two must not find the same name free where nobody decides that."""
        return 8 if self._protocol in COMPLETED else 1

    def put(self, local: str, path: str, size: int, digest: bytes) -> Stored:
        """Upload a file. path: relative, of safe components; digest: its SHA-256.

        Returns when the store has it whole, under that name or a numbered sibling.
        """
        folder, _, wanted = path.replace("?", QUERY).rpartition("/")
        put = self._complete if self._protocol in COMPLETED else self._move
        for name in siblings(wanted):
            below = f"{folder}/{name}" if folder else name
            if not self._system.exists(self._key(below)):
                with contextlib.suppress(FileExistsError):
                    put(local, self._key(below), size, digest)
                    return Stored(self._shown(below), duplicate=False)
            if self._has(self._key(below), size, digest):
                return Stored(self._shown(below), duplicate=True)
        raise AssertionError("there is always another sibling")

    def make_folder(self, path: str) -> Stored:
        """An empty folder, where the store has folders; buckets have none."""
        if self._protocol not in COMPLETED:
            self._system.makedirs(self._key(path), exist_ok=True)
        return Stored(self._shown(path), duplicate=False)

    def _key(self, below: str) -> str:
        return f"{self._root}/{below}"

    def _shown(self, below: str) -> str:
        return f"{self._url}/{below}"

    def _complete(self, local: str, key: str, size: int, digest: bytes) -> None:
        """Raises FileExistsError where somebody has that name."""
        more: dict[str, Any] = {}
        if self._protocol in {"s3", "s3a"}:
            more = {"chunksize": max(PIECE, -(-size // MOST_PARTS))}
            more["max_concurrency"] = PARTS_AT_ONCE
            if size < SINGLE:
                more["ChecksumSHA256"] = base64.b64encode(digest).decode()
        self._system.put_file(local, key, mode="create", **more)
        self._check_size(key, size)

    def _move(self, local: str, key: str, size: int, digest: bytes) -> None:
        folder = key.rpartition("/")[0]
        # The same for each attempt at this file: what a kill left is overwritten by the next.
        mark = hashlib.sha256(os.fsencode(local) + digest).hexdigest()[:16]
        temporary = f"{folder}/{_TEMPORARY.format(mark)}"
        self._system.makedirs(folder, exist_ok=True)
        try:
            self._system.put_file(local, temporary)
            self._check_content(temporary, size, digest)
            self._sync(temporary)
            self._check_free(key)
            self._system.mv(temporary, key)
        except BaseException:
            with contextlib.suppress(Exception):
                self._system.rm_file(temporary)
            raise
        self._sync(folder)
        self._check_size(key, size)

    def _check_content(self, key: str, size: int, digest: bytes) -> None:
        if not self._has(key, size, digest):
            raise Damaged(f"what the store has of {key} is not what was sent")

    def _check_free(self, key: str) -> None:
        if self._system.exists(key):
            raise FileExistsError(key)

    def _sync(self, path: str) -> None:
        """Have it survive a power cut, where that is ours to do: on this machine."""
        if self._local:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _check_size(self, key: str, size: int) -> None:
        self._system.invalidate_cache()
        found = self._system.info(key)["size"]
        if found != size:
            raise Damaged(f"the store has {found} bytes of {key}, of {size}")

    def _has(self, key: str, size: int, digest: bytes) -> bool:
        """Whether that is what the store has under this name."""
        self._system.invalidate_cache()
        try:
            found = self._system.info(key)
        except FileNotFoundError:
            return False
        if found["type"] != "file" or found["size"] != size:
            return False
        with self._system.open(key, "rb", block_size=PIECE, cache_type="readahead") as file:
            return sha256(file.read) == digest


def sha256(read: Callable[[int], bytes]) -> bytes:
    """The digest of all that `read` gives."""
    digest = hashlib.sha256()
    while piece := read(PIECE):
        digest.update(piece)
    return digest.digest()


def _quiet(protocol: str) -> dict[str, Any]:
    """Options of the file system: no listings kept, since others write there too."""
    return {"use_listings_cache": False} if protocol in COMPLETED else {}
