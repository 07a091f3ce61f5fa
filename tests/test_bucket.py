"""A bucket fills with what is futile and empties with time alone."""

from diode.bucket import Bucket


def test_it_is_full_after_so_many_drops_and_leaks_at_its_rate():
    bucket = Bucket(rate=4, burst=10)
    for _ in range(10):
        assert not bucket.full(100.0)
        bucket.pour()
    assert bucket.full(100.0)
    assert not bucket.full(100.25)
    bucket.pour()
    assert bucket.full(100.25)
    assert not bucket.full(102.75)
    bucket.pour(9.5)
    assert not bucket.full(102.75)
    bucket.pour(0.5)
    assert bucket.full(102.75)


def test_a_pause_leaves_no_more_than_an_empty_bucket():
    bucket = Bucket(rate=4, burst=10)
    bucket.full(0.0)
    bucket.full(1e9)
    bucket.pour(10)
    assert bucket.full(1e9)


def test_a_clock_that_goes_back_lets_nothing_leak():
    bucket = Bucket(rate=4, burst=10)
    bucket.full(100.0)
    bucket.pour(10)
    assert bucket.full(50.0)
    assert not bucket.full(50.25), "it goes on from there"
