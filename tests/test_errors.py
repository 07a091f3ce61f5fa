"""The tree of operator errors: exit codes are a contract, every class has words of its own."""

import inspect

import pytest

from diode import errors

EXIT_CODES = {
    "DiodeError": 1,
    "UsageError": 2,
    "KeyFileError": 2,
    "NoState": 2,
    "Partial": 3,
    "NothingHeard": 4,
    "CarrierError": 10,
    "Locked": 11,
    "SignatureError": 12,
    "DestinationError": 13,
    "UnsafeFolder": 13,
    "ConfigurationError": 14,
    "OtherState": 14,
    "SourceError": 1,
    "ReceiptError": 1,
    "ConfinementError": 1,
}
CLASSES = {
    name: thing
    for name, thing in vars(errors).items()
    if inspect.isclass(thing) and issubclass(thing, errors.DiodeError)
}


def test_exit_codes():
    assert {name: thing.exit_code for name, thing in CLASSES.items()} == EXIT_CODES


@pytest.mark.parametrize("thing", CLASSES.values(), ids=CLASSES)
def test_docstring_is_the_text_without_a_better_one(thing):
    assert "__doc__" in vars(thing) and thing.__doc__
    assert str(thing()) == inspect.cleandoc(thing.__doc__)
    assert thing().hint == ""
    error = thing("what happened", hint="what to type")
    assert (str(error), error.hint) == ("what happened", "what to type")
