"""Drop folders: when a file is taken, which ones are left alone, and what becomes of them."""

import os
import time

import pytest

from diode.errors import SourceError
from diode.source import departing, watch
from diode.source.allowing import AllowList
from diode.source.drop import LEAVING, PIECE, DropFolder
from diode.source.files import identity


class Place:
    """A drop folder under a clock of its own."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.now = 0.0
        self.skipped = {}
        self.drop = DropFolder(str(folder), 3, 2.0, self.skipped.__setitem__, **options)

    def scan(self, after=0.0, take=True):
        """Names of what is ripe."""
        self.now += after
        ripe = []
        for one in self.drop.scan(lambda: self.now):
            if one is not None:
                ripe.append(one)
                if take:
                    self.drop.take(one)
        return ["/".join(one.found.parts) for one in ripe]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_a_file_is_taken_once_when_it_has_not_changed_over_the_settle_time(place):
    (place.folder / "a").write_bytes(b"1")
    assert place.scan() == []
    assert place.scan(1.9) == []
    assert place.scan(0.2) == ["a"]
    assert place.scan(5) == []
    assert place.drop.waiting == 0


def test_only_what_is_allowed_is_taken(tmp_path):
    allowed = AllowList(("*.sig", "*.asc"), largest=10)
    place = Place(tmp_path, allowed=allowed)
    (tmp_path / "d").mkdir()
    for name, size in {
        "a.sig": 10,
        "b.asc": 11,
        "c.sig.exe": 1,
        "d/e.SIG": 1,
        "d/f.asc": 0,
    }.items():
        (tmp_path / name).write_bytes(b"x" * size)
    place.scan()
    assert sorted(place.scan(3)) == ["a.sig", "d/f.asc"]
    told = {os.path.relpath(path, tmp_path): why for path, why in place.skipped.items()}
    assert told == {
        "b.asc": "not allowed: 11 B are more than 10 B",
        "c.sig.exe": "not allowed: its name is none of *.sig *.asc",
        "d/e.SIG": "not allowed: its name is none of *.sig *.asc",
    }
    assert place.drop.arrived(("c.sig.exe",)) is None
    assert place.drop.arrived(("b.asc",)) is None


def test_so_many_in_a_time_and_the_others_wait(tmp_path):
    place = Place(tmp_path, allowed=AllowList(most=(2, 60.0)))
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b"x")
    assert place.drop.arrived(("0",)) is None, "it waits for a scan, which has a clock"
    place.scan()
    assert len(place.scan(3)) == 2
    assert set(place.skipped.values()) == {"it waits: no more than 2 files in 60 s"}
    assert place.scan(1) == []
    assert len(place.scan(30)) == 1
    assert place.scan(28) == []
    assert len(place.scan(300)) == 2


def test_a_file_that_grows_waits_and_one_that_changes_is_taken_again(place):
    path = place.folder / "a"
    path.write_bytes(b"1")
    place.scan()
    path.write_bytes(b"22")
    assert place.scan(3) == []
    assert place.scan(3) == ["a"]
    path.write_bytes(b"333")
    assert place.scan(3) == []
    assert place.scan(3) == ["a"]
    now = identity(path.stat())
    place.drop.forget(("a",), (0, *now[1:]))
    assert place.scan(3) == []
    place.drop.forget(("a",), now)
    assert [place.scan(), place.scan(3)] == [[], ["a"]]


@pytest.mark.parametrize(
    "name",
    ["a.tmp", "a.PART", ".a", "a~", "~$a.doc", "a.crdownload", "sent/a", ".d/a"],
)
def test_names_of_what_is_unfinished_or_ours_are_left_alone(place, name):
    (place.folder / name).parent.mkdir(exist_ok=True)
    (place.folder / name).write_bytes(b"1")
    assert [place.scan(), place.scan(9)] == [[], []]
    assert place.drop.arrived(tuple(name.split("/"))) is None
    assert place.skipped == {}


def test_subfolders_are_part_of_the_name(place):
    (place.folder / "x/y").mkdir(parents=True)
    (place.folder / "x/y/a").write_bytes(b"1")
    (place.folder / "b").write_bytes(b"1")
    place.scan()
    assert sorted(place.scan(2)) == ["b", "x/y/a"]


def test_subfolders_are_priorities(tmp_path):
    place = Place(tmp_path, priorities=True)
    for name in ("a", "9/b", "0/x/c", "10/d", "x/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    place.scan()
    place.now = 2
    found = {r.found.parts: r.priority for r in place.drop.scan(lambda: place.now) if r}
    assert found == {("a",): 3, ("b",): 9, ("x", "c"): 0}
    assert sorted(place.skipped) == [str(tmp_path / "10/d"), str(tmp_path / "x/e")]


def test_links_pipes_and_files_with_other_names_are_told_once(place, tmp_path_factory):
    secret = tmp_path_factory.mktemp("other") / "secret"
    secret.write_bytes(b"1")
    (place.folder / "link").symlink_to(secret)
    (place.folder / "folder").symlink_to(secret.parent)
    os.mkfifo(place.folder / "pipe")
    os.link(secret, place.folder / "hard")
    assert [place.scan(), place.scan(3)] == [[], []]
    said = {os.path.basename(path): why for path, why in place.skipped.items()}
    assert said.keys() == {"link", "folder", "pipe", "hard"}
    place.skipped.clear()
    assert (place.scan(3), place.skipped) == ([], {})


def test_a_subfolder_that_becomes_a_link_is_not_entered(place, tmp_path_factory):
    """Whoever may write to the folder must not get another one sent."""
    other = tmp_path_factory.mktemp("other")
    (other / "a").write_bytes(b"secret")
    (place.folder / "d").mkdir()
    (place.folder / "d/a").write_bytes(b"mine")
    place.scan()
    place.now = 3
    (ripe,) = [one for one in place.drop.scan(lambda: place.now) if one]
    (place.folder / "d").rename(place.folder / ".e")
    (place.folder / "d").symlink_to(other)
    with pytest.raises(SourceError, match="changed before it could be sent"):
        ripe.found.source()
    assert place.drop.arrived(("d", "a")) is None


def test_a_file_that_was_renamed_in_is_ripe_at_once(place):
    (place.folder / "a.tmp").write_bytes(b"1")
    (place.folder / "a.tmp").rename(place.folder / "a")
    ripe = place.drop.arrived(("a",))
    place.drop.take(ripe)
    assert ripe.found.parts == ("a",)
    assert place.drop.arrived(("a",)) is None
    assert [place.scan(), place.scan(9)] == [[], []]


def test_a_folder_that_is_away_forgets_nothing(place):
    (place.folder / "a").write_bytes(b"1")
    place.scan()
    assert place.scan(2) == ["a"]
    away = place.folder.with_name("away")
    place.folder.rename(away)
    assert [place.scan(9), place.scan(9)] == [[], []]
    assert not place.drop.whole
    assert list(place.skipped.values()) == ["No such file or directory"]
    away.rename(place.folder)
    assert [place.scan(9), place.scan(9)] == [[], []]
    (place.folder / "a").unlink()
    place.scan()
    assert place.drop.whole and not place.drop.taken


def test_a_scan_gives_the_word_back_again_and_again(place):
    for number in range(3 * PIECE):
        (place.folder / str(number)).touch()
    assert list(place.drop.scan(lambda: 0.0)).count(None) == 4


def sent(place, name="a", content=b"1"):
    path = place.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return tuple(name.split("/")), identity(path.stat())


def test_what_was_sent_is_deleted_kept_or_moved(place):
    assert departing.delete(place.drop, *sent(place))
    assert not (place.folder / "a").exists()
    assert departing.keep(place.drop, *sent(place))
    assert (place.folder / "a").exists()
    assert departing.move(place.drop, *sent(place, "x/b.txt", b"one"))
    assert departing.move(place.drop, *sent(place, "x/b.txt", b"two"))
    assert (place.folder / "sent/x/b.txt").read_bytes() == b"one"
    assert (place.folder / "sent/x/b.2.txt").read_bytes() == b"two"
    assert not list((place.folder / "x").iterdir())


@pytest.mark.parametrize("after", [departing.delete, departing.move])
def test_what_was_not_sent_stays(place, after):
    parts, before = sent(place)
    sent(place, content=b"new")
    assert not after(place.drop, parts, before)
    assert (place.folder / "a").read_bytes() == b"new"
    (place.folder / "a").unlink()
    assert not after(place.drop, parts, before)


def test_another_file_put_there_at_the_last_moment_stays(place, monkeypatch):
    parts, before = sent(place)
    rename = os.rename

    def late(*args, **kwargs):
        if args[0] == "a":
            (place.folder / "a").unlink()
            (place.folder / "a").write_bytes(b"another")
        rename(*args, **kwargs)

    monkeypatch.setattr(os, "rename", late)
    assert not departing.delete(place.drop, parts, before)
    assert (place.folder / "a").read_bytes() == b"another"


def test_what_was_leaving_when_the_process_was_killed_gets_its_name_back(place):
    (place.folder / f"{LEAVING}a").write_bytes(b"1")
    (place.folder / f"{LEAVING}b").write_bytes(b"old")
    (place.folder / "b").write_bytes(b"new")
    place.scan()
    assert (place.folder / "a").read_bytes() == b"1"
    assert (place.folder / "b").read_bytes() == b"new"


def heard(watching, seconds=5.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := watching.wait(0.1):
            return found
    return []


def test_a_watch_tells_what_was_renamed_in(tmp_path):
    pytest.importorskip("inotify_simple")
    watching = watch.Inotify()
    (tmp_path / "d").mkdir()
    watching.add(str(tmp_path), ())
    watching.add(str(tmp_path), ("d",))
    watching.add(str(tmp_path), ("not there",))
    try:
        (tmp_path / "a.tmp").write_bytes(b"1")
        assert {moved for _, _, moved in heard(watching)} == {False}
        (tmp_path / "a.tmp").rename(tmp_path / "d/a")
        assert (str(tmp_path), ("d", "a"), True) in heard(watching)
        watching.wake()
        assert watching.wait(60) == []
        (tmp_path / "d/a").unlink()
        (tmp_path / "d").rmdir()
        heard(watching, 0.5)
        assert (str(tmp_path), ("d",)) not in watching._known
    finally:
        watching.close()


def test_without_a_watch_one_waits_and_can_be_woken():
    scans = watch.Scans()
    try:
        scans.add("/", ())
        assert scans.wait(0.01) == []
        scans.wake()
        assert scans.wait(60) == []
    finally:
        scans.close()


def test_what_is_renamed_in_while_a_scan_goes_on_is_taken_once(place):
    for number in range(3 * PIECE):
        (place.folder / f"{number:06}").touch()
    place.scan()
    assert len(place.scan(3)) == 3 * PIECE
    scan = place.drop.scan(lambda: place.now)
    assert next(scan) is None  # it has passed some places by now, and not others
    late = [f"{letter}{number}" for letter in "!z" for number in range(20)]
    for name in late:
        (place.folder / name).touch()
        ripe = place.drop.arrived((name,))
        assert ripe is not None
        place.drop.take(ripe)
    assert [one for one in scan if one is not None] == []
    assert place.scan(3) == []
    assert place.scan(3) == []
    assert set(place.drop.taken) >= {(name,) for name in late}


def test_a_name_that_cannot_be_given_back_stops_nothing(place):
    for name in (LEAVING, LEAVING + "back", "a", "z"):
        (place.folder / name).touch()
    place.scan()
    place.scan(1)
    assert sorted(place.scan(3)) == ["a", "back", "z"]
