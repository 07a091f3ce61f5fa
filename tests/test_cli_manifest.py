"""`diode manifest`, `send --manifest`, `verify --against`; and what other programs say of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cli import Ran, Shell, make

HARD = [
    b"plain.txt",
    b"with space",
    b"-rf",
    b"new\nline",
    b"tab\tand \\ backslash",
    b"#comment",
    b"star*[a]?=",
    "Gr\u00fc\u00dfe \u65e5\u672c".encode(),
    b"x" * 200,
    b"deep/er/still/file",
    b" both ends ",
    b"\xff\xfe latin",
]


@pytest.fixture
def tree(shell: Shell) -> Path:
    for number, name in enumerate(HARD):
        make(shell.folder / "tree" / os.fsdecode(name), 100 * number, number)
    (shell.folder / "tree/empty").mkdir()
    return shell.folder / "tree"


def delivered(shell: Shell, *more: str) -> Path:
    ran = shell.run("send", "tree", "--manifest", "--to", "file:cap")
    assert ran.code == 0, ran.err
    ran = shell.run("recv", "inbox", "--from", "file:cap", *more)
    assert ran.code == 0, ran.err
    return shell.folder / "inbox"


def other(program: str, *arguments: object, folder: Path, env: dict | None = None) -> Ran:
    """Another program's word."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [program, *map(str, arguments)], cwd=folder, capture_output=True, check=False, env=env
    )
    return Ran(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"))


def test_a_tree_with_hard_names_arrives_with_its_list(shell: Shell, tree: Path) -> None:
    inbox = delivered(shell, "--names", "exact")
    ran = shell.run("verify", "inbox/tree", "--against", "inbox/tree.mtree")
    assert (ran.code, ran.err.splitlines()) == (0, ["12 files in the list", "no difference"])
    listed = shell.run("manifest", tree).out
    assert (inbox / "tree.mtree").read_text() == listed
    assert listed.isascii()


def test_names_that_were_escaped_count_as_what_they_were(shell: Shell, tree: Path) -> None:
    inbox = delivered(shell)
    assert not (inbox / "tree" / os.fsdecode(HARD[3])).exists()
    ran = shell.run("verify", "inbox/tree", "--against", "inbox/tree.mtree", "--json")
    assert ran.code == 0, ran.out
    assert ran.events("comparison") == [
        {"event": "comparison", "changed": 0, "missing": 0, "extra": 0}
    ]


def test_what_differs_is_told(shell: Shell, tree: Path) -> None:
    inbox = delivered(shell, "--names", "exact", "--mode", "0640")
    (inbox / "tree/plain.txt").write_bytes(b"other")
    (inbox / "tree/with space").unlink()
    (inbox / "tree/more").write_bytes(b"")
    ran = shell.run("verify", "inbox/tree", "--against", "inbox/tree.mtree")
    assert ran.code == 3
    assert ran.out.splitlines() == [
        "extra more",
        "changed plain.txt: 0 bytes and 5 bytes",
        "missing with space",
    ]
    ran = shell.run("manifest", "--compare", "inbox/tree.mtree", "tree")
    assert (ran.code, ran.out) == (0, "")
    ran = shell.run("manifest", "--compare", "tree", "inbox/tree", "--json")
    assert {e["kind"] for e in ran.events("difference")} == {"changed", "missing", "extra"}


def test_netbsd_mtree_agrees(shell: Shell, tree: Path) -> None:
    inbox = delivered(shell, "--names", "exact", "--mode", "0640")
    arguments = ("-p", inbox / "tree", "-f", inbox / "tree.mtree")
    ran = other("mtree", *arguments, folder=shell.folder)
    assert (ran.code, ran.out) == (0, ""), ran.out + ran.err
    (inbox / "tree/-rf").write_bytes(b"x" * 200)
    ran = other("mtree", *arguments, folder=shell.folder)
    assert ran.code == 2
    assert "sha256" in ran.out


def test_ours_reads_what_netbsd_mtree_and_bsdtar_write(shell: Shell, tree: Path) -> None:
    keys = ("-k", "type,size,sha256")
    netbsd = other("mtree", "-c", *keys, "-p", tree, folder=shell.folder)
    (shell.folder / "older").write_bytes(netbsd.out.encode("latin-1"))
    written = {
        "netbsd": netbsd,
        "full paths": other("mtree", "-C", *keys, "-f", "older", folder=shell.folder),
        "bsdtar": other(
            *("bsdtar", "-cf", "-", "--format=mtree", "--options=mtree:sha256", "-C", tree, "."),
            folder=shell.folder,
        ),
    }
    for name, one in written.items():
        (shell.folder / "spec").write_bytes(one.out.encode("latin-1"))
        ran = shell.run("manifest", "--compare", "tree", "spec")
        assert (ran.code, ran.out) == (0, ""), f"{name}: {ran.out}{ran.err}\n{one.out}"


def test_bsdtar_reads_ours(shell: Shell, tree: Path) -> None:
    """It packs what the list names, and finds each."""
    inbox = delivered(shell, "--names", "exact")
    utf8 = {**os.environ, "LC_ALL": "C.UTF-8"}
    ran = other(
        *("bsdtar", "-cf", shell.folder / "packed.tar", f"@{inbox / 'tree.mtree'}"),
        folder=inbox / "tree",
        env=utf8,
    )
    assert ran.code == 0, ran.err
    (shell.folder / "out").mkdir()
    done = other("tar", "xf", shell.folder / "packed.tar", folder=shell.folder / "out")
    assert done.code == 0, done.err
    ran = shell.run("manifest", "--compare", "tree", "out")
    assert (ran.code, ran.out) == (0, ""), ran.out


def test_sha256sum_agrees(shell: Shell, tree: Path) -> None:
    ran = shell.run("manifest", "tree", "--format", "sha256")
    (shell.folder / "sums").write_text(ran.out, encoding="utf-8", errors="surrogateescape")
    assert other("sha256sum", "--quiet", "-c", "../sums", folder=tree).code == 0
    ran = shell.run("manifest", "--compare", "sums", "tree")
    assert (ran.code, ran.out) == (3, "extra empty\n"), "sha256sum knows no folders"


def test_what_is_no_part_of_it_is_told(shell: Shell, tree: Path) -> None:
    (tree / "link").symlink_to("plain.txt")
    (tree / ".diode").mkdir()
    (tree / ".diode/ledger.db").write_bytes(b"x")
    ran = shell.run("manifest", "tree")
    assert ran.code == 0
    assert "left out tree/link: a symbolic link" in ran.err
    assert "ledger.db" not in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none"], 1, "none is no folder"),
        (["--compare", "tree"], 2, "expected 2 arguments"),
        (["--compare", "tree", "none"], 1, "No such file"),
        (["--compare", "tree", "bad"], 1, "line 1: a path that leads out"),
    ],
)
def test_errors(shell: Shell, tree: Path, arguments: list[str], code: int, words: str) -> None:
    (shell.folder / "bad").write_text("../x size=1\n")
    ran = shell.run("manifest", *arguments)
    assert ran.code == code
    assert words in ran.err
    assert "hint: " in ran.err


def test_a_list_without_bundles_and_of_a_renamed_folder(shell: Shell, tree: Path) -> None:
    arguments = ("--no-bundle", "--manifest", "--name", "a/b", "--to", "file:cap")
    assert shell.run("send", "tree", *arguments).code == 0
    assert shell.run("recv", "inbox", "--from", "file:cap", "--names", "exact").code == 0
    assert shell.run("verify", "inbox/a/b", "--against", "inbox/a/b.mtree").code == 0
