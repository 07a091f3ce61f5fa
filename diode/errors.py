"""What can go wrong for the operator, as one tree.

    DiodeError                      1
      UsageError                    2
        KeyFileError                2
      Partial                       3
      NothingHeard                  4
      CarrierError                 10
      Locked                       11
      SignatureError               12
      DestinationError             13
        UnsafeFolder               13
      ConfigurationError           14
        OtherState                 14
      SourceError                   1
      ReceiptError                  1
      ConfinementError              1

Each class carries its exit code (a contract, see README) and its docstring is the text the
user reads when no better one was given. `hint` is the next step, with the command to
type where one can be built. Nothing that arrives from a link is ever raised as one of
these: hostile or noisy input becomes an event with a reason (events.py).
"""

from __future__ import annotations

import inspect


class DiodeError(Exception):
    """Something failed that has no better name."""

    exit_code = 1

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))
        self.hint = hint


class UsageError(DiodeError):
    """The command line does not say something that can be done."""

    exit_code = 2


class KeyFileError(UsageError):
    """A key is missing, malformed, or not kept secret."""


class NoState(UsageError):
    """There is no state of diode where it was looked for, or none that this user may read."""


class Partial(DiodeError):
    """Something is incomplete, was rejected or is in quarantine."""

    exit_code = 3


class NothingHeard(DiodeError):
    """Not one valid frame was heard."""

    exit_code = 4


class CarrierError(DiodeError):
    """The carrier cannot be opened, or is gone and did not come back."""

    exit_code = 10


class Locked(DiodeError):
    """Another instance holds the lock."""

    exit_code = 11


class SignatureError(DiodeError):
    """A signature is missing or wrong."""

    exit_code = 12


class DestinationError(DiodeError):
    """The destination is full or cannot be written."""

    exit_code = 13


class UnsafeFolder(DestinationError):
    """Others could change the folder, or put another in its place."""


class ConfigurationError(DiodeError):
    """The configuration is not valid."""

    exit_code = 14


class OtherState(ConfigurationError):
    """The receiver's state is missing, or is not the one that was asked for."""


class SourceError(DiodeError):
    """A file to be sent cannot be read, or changed while it was being sent."""


class ReceiptError(DiodeError):
    """A receipt is damaged, out of date, or not for this sender."""

    def __init__(self, message: str = "", *, hint: str = "", forged: bool = False) -> None:
        """forged: it is not from who it should be (exit code 12)."""
        super().__init__(message, hint=hint)
        if forged:
            self.exit_code = SignatureError.exit_code


class ConfinementError(DiodeError):
    """This process cannot be confined as was asked for."""
