import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from diode.code import by_id
from diode.coder import Here
from diode.geometry import Geometry
from diode.service import coders
from diode.service.coders import Coders

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def geometry(code, k, size, n):
    if by_id(code).lacks:
        pytest.skip(f"{by_id(code).package} is not installed")
    return Geometry(k * size, code, k, n, size, passes=1)


def block(k, size, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (k, size), np.uint8)


@pytest.fixture
def notices():
    return []


@pytest.fixture
def two(notices):
    pool = Coders(2, notices.append)
    yield pool
    pool.close()


def parity(coder, cut, source, numbers):
    into = np.empty((len(numbers), cut.symbol_size), np.uint8)
    coder.begin(cut, source, numbers).put(into)
    return into


@pytest.mark.parametrize(
    ("code", "k", "size", "n"), [(1, 200, 1408, 250), (2, 400, 1400, 440), (3, 1000, 1408, 1100)]
)
def test_parity_is_the_same_as_computed_here(two, code, k, size, n):
    cut = geometry(code, k, size, n)
    for seed in range(5):  # more than there are processes, so that memory is used again
        source, numbers = block(k, size, seed), np.arange(k, n)[:: seed + 1]
        assert (parity(two, cut, source, numbers) == parity(Here(), cut, source, numbers)).all()


def test_several_at_a_time_and_out_of_order(two):
    cut = geometry(3, 500, 1408, 600)
    numbers = np.arange(500, 600)
    sources = [block(500, 1408, seed) for seed in range(3)]
    making = [two.begin(cut, source, numbers) for source in sources]  # one more than processes
    for source, made in reversed(list(zip(sources, making, strict=True))):
        into = np.empty((100, 1408), np.uint8)
        made.put(into)
        assert (into == parity(Here(), cut, source, numbers)).all()


@pytest.mark.parametrize("room", [1000, coders.ROOM])
def test_what_does_not_fit_or_is_not_worth_it_is_computed_here(two, monkeypatch, room):
    monkeypatch.setattr(coders, "ROOM", room)
    cut = geometry(1, 4, 64, 8) if room > 1000 else geometry(3, 1000, 1408, 1100)
    for process in two.processes:
        os.kill(process, signal.SIGSTOP)  # they would never answer
    try:
        source, numbers = block(cut.k, cut.symbol_size), np.arange(cut.k, cut.n)
        assert (parity(two, cut, source, numbers) == parity(Here(), cut, source, numbers)).all()
    finally:
        for process in two.processes:
            os.kill(process, signal.SIGCONT)


def test_a_process_that_is_killed_costs_nothing_but_speed(two, notices):
    cut = geometry(3, 1000, 1408, 1100)
    source, numbers = block(1000, 1408), np.arange(1000, 1100)
    wanted = parity(Here(), cut, source, numbers)
    victims = two.processes
    os.kill(victims[0], signal.SIGSTOP)  # in the middle of it
    made = two.begin(cut, source, numbers)
    os.kill(victims[0], signal.SIGKILL)
    into = np.empty((100, 1408), np.uint8)
    made.put(into)
    assert (into == wanted).all()
    assert len(notices) == 1
    assert len(two.processes) == 1
    os.kill(victims[1], signal.SIGKILL)
    for _ in range(3):
        assert (parity(two, cut, source, numbers) == wanted).all()
    assert len(notices) == 2
    assert two.processes == []


def test_they_keep_no_file_and_no_link(two, tmp_path):
    with (tmp_path / "open").open("w"):
        for process in two.processes:
            time.sleep(0.2)
            links = [
                os.readlink(f"/proc/{process}/fd/{n}") for n in os.listdir(f"/proc/{process}/fd")
            ]
            others = [link for link in links if link != os.devnull]
            assert len(others) == 1
            assert others[0].startswith("socket:")


def test_they_end_with_whoever_started_them():
    program = (
        "import signal, sys\n"
        "from diode.service.coders import Coders\n"
        "print(*Coders(3, print).processes, flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        processes = [int(number) for number in parent.stdout.readline().split()]
        assert len(processes) == 3
        parent.kill()
    until = time.monotonic() + 10
    while alive := [p for p in processes if there(p)]:
        assert time.monotonic() < until, f"{alive} go on"
        time.sleep(0.05)


def there(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_same_bytes_go_out_whoever_computes_them(shell):
    if by_id(3).lacks:
        pytest.skip("reed-solomon-leopard is not installed")
    (shell.folder / "data").write_bytes(np.random.default_rng(1).bytes(9_000_000))
    for jobs in (0, 2):
        state = shell.folder / f"state{jobs}"
        state.mkdir()
        (state / "sender.json").write_text(
            '{"sender":7,"number":0,"frames":0,"secret":"' + "A" * 43 + '="}'
        )
        options = ["--code", "leopard", "--jobs", jobs, "--state", state, "--fresh"]
        done = shell.run("send", "data", "--to", f"file:{shell.folder}/{jobs}.cap", *options)
        assert done.code == 0, done.err
    assert (shell.folder / "0.cap").read_bytes() == (shell.folder / "2.cap").read_bytes()
