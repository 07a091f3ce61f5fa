"""Sizes, times, shares and modes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diode import quantity


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (quantity.size, "1500", 1500),
        (quantity.size, "10M", 10_000_000),
        (quantity.size, "1.5 MB", 1_500_000),
        (quantity.size, "4GiB", 4 << 30),
        (quantity.duration, "500ms", 0.5),
        (quantity.duration, "2", 2.0),
        (quantity.duration, "10min", 600.0),
        (quantity.duration, " 7d ", 604800.0),
        (quantity.share, "25%", 0.25),
        (quantity.share, "0.25", 0.25),
        (quantity.mode, "0440", 0o440),
        (quantity.mode, "640", 0o640),
    ],
)
def test_what_people_write(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (quantity.size, "5 apples", "is not a size such as"),
        (quantity.size, "-1", "is not a size such as"),
        (quantity.size, "9" * 40, "more than there can be"),
        (quantity.duration, "soon", "is not a time such as"),
        (quantity.duration, "9" * 400, "more than there can be"),
        (quantity.share, "much", "is not a share such as"),
        (quantity.share, "%", "is not a share such as"),
        (quantity.mode, "0777", "is not a file mode such as"),
    ],
)
def test_what_is_none_is_named(read, text, said):
    with pytest.raises(ValueError, match=said):
        read(text)


@given(st.sampled_from([quantity.size, quantity.duration]), st.text(max_size=50))
def test_any_text_is_a_number_or_a_sentence(read, text):
    try:
        assert 0 <= read(text) < float("inf")
    except ValueError as error:
        said = str(error)
    else:
        return
    assert "is not" in said or "there can be" in said
