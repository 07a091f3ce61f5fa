from __future__ import annotations

import hashlib

from cli import Shell, make


def test_demo_delivers_readme_and_picture_through_damage(shell: Shell) -> None:
    ran = shell.run("demo", "--baud", "921600", "--json")
    assert ran.code == 0, ran.err
    results = ran.events("demo_result")
    assert [r["name"] for r in results] == ["README.md", "rings.ppm"]
    for result in results:
        assert result["sent"] == result["received"]
        assert len(result["sent"]) == 64


def test_demo_of_a_file_shows_its_digest_twice(shell: Shell) -> None:
    digest = hashlib.sha256(make(shell.folder / "x", 30_000)).hexdigest()
    ran = shell.run("demo", "x", "--baud", "921600", "--impair", "drop=5%,seed=1")
    assert ran.code == 0, ran.err
    assert ran.err.count(digest) == 2
    assert "frames good" in ran.err


def test_demo_that_cannot_work_fails(shell: Shell) -> None:
    make(shell.folder / "x", 30_000)
    ran = shell.run("demo", "x", "--baud", "2000000", "--impair", "drop=100%")
    assert ran.code == 1
    assert "what arrived is not what was sent" in ran.err
