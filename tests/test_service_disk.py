"""Work beside the listening: in order, bounded, its results seen in the thread that asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from diode.errors import DestinationError
from diode.service.disk import AtOnce, Beside, Disk


@pytest.fixture(params=[AtOnce, Beside], ids=["at once", "beside"])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    made = request.param()
    yield made
    made.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_results_come_in_order_and_in_this_thread(disk: Disk) -> None:
    seen = []
    for n in range(100):
        disk.do(lambda n=n: n * n, lambda r: seen.append((r, threading.get_ident())))
    disk.settle(wait=True)
    assert seen == [(n * n, threading.get_ident()) for n in range(100)]
    assert not disk.busy


def test_what_the_disk_refuses_is_a_result(disk: Disk) -> None:
    seen = []

    def full() -> None:
        raise DestinationError("no room")

    disk.do(full, seen.append)
    disk.settle(wait=True)
    assert [str(e) for e in seen] == ["no room"]


def test_other_errors_come_through(disk: Disk) -> None:
    def wrong() -> None:
        disk.do(lambda: 1 // 0, lambda _: None)
        disk.settle(wait=True)

    with pytest.raises(ZeroDivisionError):
        wrong()


def test_what_is_asked_has_its_turn_and_no_results_are_seen(disk: Disk) -> None:
    done: list[int] = []
    seen: list[None] = []
    disk.do(lambda: done.append(1), seen.append)
    before = len(seen)
    assert disk.ask(lambda: list(done)) == [1]
    assert len(seen) == before
    with pytest.raises(DestinationError):
        disk.ask(refused)
    disk.settle(wait=True)
    assert seen == [None]


def refused() -> None:
    raise DestinationError("no room")


def test_results_may_ask_for_more(disk: Disk) -> None:
    seen = []

    def more(n: int) -> None:
        seen.append(n)
        if n < 50:
            disk.do(lambda: n + 1, more)

    disk.do(lambda: 0, more)
    disk.settle(wait=True)
    assert seen == list(range(51))


def test_what_is_told_from_within_comes_before_the_result(disk: Disk) -> None:
    seen = []
    tell = disk.tell(lambda *what: seen.append((what, threading.get_ident())))
    disk.do(lambda: tell("a", 1), lambda _: seen.append("done"))
    disk.settle(wait=True)
    assert seen == [(("a", 1), threading.get_ident()), "done"]


def test_work_goes_on_while_nobody_asks() -> None:
    disk, done, seen = Beside(), threading.Event(), []
    disk.do(done.set, seen.append)
    assert done.wait(20)
    assert disk.busy and not seen
    until(lambda: not disk._results.empty())
    disk.settle()
    assert seen == [None] and not disk.busy
    disk.close()


def test_what_waits_is_bounded() -> None:
    disk, gate, begun = Beside(waiting=1000), threading.Event(), []
    disk.do(lambda: gate.wait(20), lambda _: None, 900)
    hurried = threading.Thread(
        target=lambda: (disk.do(lambda: begun.append(1), lambda _: None, 200), begun.append(0))
    )
    hurried.start()
    hurried.join(0.2)
    assert hurried.is_alive() and not begun  # it waits for room
    gate.set()
    hurried.join(20)
    disk.settle(wait=True)
    assert sorted(begun) == [0, 1]
    disk.do(lambda: None, lambda _: None, 5000)  # larger than all there is: alone, not never
    disk.settle(wait=True)
    disk.close()


def test_closing_leaves_what_has_not_begun() -> None:
    disk, gate, begun = Beside(), threading.Event(), []
    disk.do(lambda: (begun.append(1), gate.wait(20)), lambda _: None)
    disk.do(lambda: begun.append(2), lambda _: None)
    until(lambda: bool(begun))
    threading.Timer(0.05, gate.set).start()
    disk.close()
    assert begun == [1]
