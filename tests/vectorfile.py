"""Reading tests/vectors/*.vec; what the keys mean is told in tests/README.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "vectors"


@dataclass(frozen=True)
class Vector:
    """One file: its header, where a key may stand several times, and its bytes."""

    name: str
    header: dict[str, list[str]]
    data: bytes

    def __contains__(self, key: str) -> bool:
        return key in self.header

    def __getitem__(self, key: str) -> str:
        (value,) = self.header[key]
        return value

    def number(self, key: str, otherwise: int = 0) -> int:
        return int(self[key]) if key in self.header else otherwise

    def raw(self, key: str) -> bytes:
        return bytes.fromhex(self[key])

    def all(self, key: str) -> list[str]:
        return self.header.get(key, [])


def parse(name: str, text: str) -> Vector:
    head, _, body = text.partition("\n\n")
    header: dict[str, list[str]] = {}
    for line in head.splitlines():
        key, _, value = line.partition(":")
        header.setdefault(key, []).append(value.strip())
    return Vector(name, header, bytes.fromhex(body))


def load() -> list[Vector]:
    """All vectors, by name."""
    paths = sorted(FOLDER.glob("*.vec"))
    return [parse(path.stem, path.read_text("ascii")) for path in paths]
