"""Make a bundle to install from where there is no Internet: `make bundle`.

    dist/diode-offline-VERSION-PYTHON-PLATFORM.tar
        INSTALL.txt         what to type, one page
        requirements.txt    every package with the SHA-256 of its wheel
        SHA256SUMS          of every other file here, to compare after carrying it over
        wheels/             diode and all it needs, for this Python on this platform

pip installs from it with --no-index and --require-hashes: no index is asked, and nothing is taken
that is not in the list. The same wheels give the same tar, byte for byte.

    python offline/bundle.py --extras audio,fast
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SOURCES = ("diode", "share", "pyproject.toml", "README.md", "LICENSE")
"""What a wheel is made from: of a copy, so that no earlier build gets into it."""


def python() -> str:
    """This interpreter, as wheels name it."""
    return f"cp{sys.version_info.major}{sys.version_info.minor}"


def platform() -> str:
    return sysconfig.get_platform().replace("-", "_")


def build(into: Path, *options: str) -> Path:
    """Make diode's own wheel; where it is. options: for pip."""
    with tempfile.TemporaryDirectory() as folder:
        for name in SOURCES:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(folder, name), ignore=_unwanted)
            else:
                shutil.copy2(ROOT / name, folder)
        _pip("wheel", "--no-deps", *options, "--wheel-dir", str(into), folder)
    (made,) = into.glob("diode_fec-*.whl")
    return made


_unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")


def gather(wheel: Path, extras: str, into: Path) -> None:
    """Get what the wheel needs, from the index; what has no wheel there is built here."""
    wanted = f"{wheel}[{extras}]" if extras else str(wheel)
    _pip("wheel", "--wheel-dir", str(into), wanted)


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run([command[0], *command[1:], "--quiet"], check=True)


def requirements(wheels: Path) -> str:
    """A line for every wheel: name, version, digest."""
    lines = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name.replace('_', '-')}=={version} --hash=sha256:{_digest(wheel)}\n")
    return "".join(lines)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def complete(folder: Path, version: str) -> None:
    """Put beside the wheels what else belongs there."""
    (folder / "requirements.txt").write_text(requirements(folder / "wheels"))
    text = (HERE / "INSTALL.txt").read_text()
    known = {
        "VERSION": version,
        "PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        "PLATFORM": platform(),
        "NAME": folder.name,
    }
    for name, value in known.items():
        text = text.replace(f"@{name}@", value)
    (folder / "INSTALL.txt").write_text(text)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    sums = "".join(f"{_digest(path)}  {path.relative_to(folder)}\n" for path in files)
    (folder / "SHA256SUMS").write_text(sums)


def pack(folder: Path, out: Path) -> None:
    """One file to carry over, the same for the same content."""
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted([folder, *folder.rglob("*")]):
            info = tar.gettarinfo(path, str(path.relative_to(folder.parent)))
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            info.mtime = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
            info.mode = 0o755 if info.isdir() else 0o644
            if info.isfile():
                with path.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)


def bundle(extras: str, dist: Path, wheels: Path | None = None) -> Path:
    """Make the whole; where it is. wheels: those that there are already, instead of an index's."""
    with tempfile.TemporaryDirectory() as temporary:
        new = Path(temporary, "wheels")
        new.mkdir()
        if wheels is None:
            gather(build(Path(temporary)), extras, new)
        else:
            for wheel in wheels.glob("*.whl"):
                shutil.copy2(wheel, new)
        (own,) = new.glob("diode_fec-*.whl")
        version = own.name.split("-")[1]
        folder = Path(temporary, f"diode-offline-{version}-{python()}-{platform()}")
        folder.mkdir()
        new.rename(folder / "wheels")
        complete(folder, version)
        dist.mkdir(exist_ok=True)
        out = dist / f"{folder.name}.tar"
        pack(folder, out)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a bundle to install from without Internet.")
    parser.add_argument("--extras", default="confine", help="of pyproject.toml, with commas")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    asked = parser.parse_args()
    out = bundle(asked.extras, asked.dist)
    print(f"{out}  ({out.stat().st_size / 1e6:.0f} MB)")
    print(f"{_digest(out)}  {out.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
