"""Key files: of which kind, whose, and who else may read or change them.

A secret key that others may read is refused when it is used (service/keys.py); here it is said
before. A public key that others may change is as bad: whoever changes it says whose signatures
count. So is a folder in which others may put another file in its place.
"""

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING

from diode import keytext
from diode.doctor import Check, bad, hint, ok

if TYPE_CHECKING:
    from diode.doctor.machine import Machine


def checks(path: str, machine: Machine) -> list[Check]:
    """What there is to say of a key file."""
    whole = os.path.abspath(path)
    name, quoted = f"key {path}", shlex.quote(path)
    found = machine.status(whole)
    if found is None:
        return [bad(name, "there is none", f"diode keygen {quoted.removesuffix('.pub')}")]
    if not stat.S_ISREG(found.st_mode):
        return [bad(name, "it is no file", f"ls -ld {quoted}")]
    kind = _kind(machine, whole)
    if kind is None:
        what = "this user cannot read it"
        return [bad(name, what, f"chown $USER {quoted}")]
    if kind not in keytext.KINDS:
        return [bad(name, "no key of diode is in it", f"diode keygen {quoted}.new")]
    return [_key(name, quoted, kind, found, machine), _folder(name, whole, machine)]


def _kind(machine: Machine, path: str) -> str | None:
    """The first word that is no remark; None where the file cannot be read."""
    if not machine.permits(path, write=False) or (text := machine.read(path)) is None:
        return None
    lines = (line.split() for line in text.splitlines())
    return next((words[0] for words in lines if words and words[0][0] != "#"), "")


def _key(name: str, quoted: str, kind: str, found: os.stat_result, machine: Machine) -> Check:
    mode, owner = stat.S_IMODE(found.st_mode), machine.user(found.st_uid)
    facts = f"{keytext.KINDS[kind]}, mode {mode:04o}, owner {owner}"
    secret = kind in keytext.SECRET
    if found.st_uid not in (machine.uid, 0):
        what = f"it belongs to another user ({facts})"
        return (bad if secret else hint)(name, what, f"chown $USER {quoted}")
    if secret and mode & 0o077:
        mend = f"chmod 600 {quoted}  # and a new key, if somebody may have read it"
        return bad(name, f"others may use it ({facts})", mend)
    if mode & 0o022:
        return bad(name, f"others may change it ({facts})", f"chmod go-w {quoted}")
    return ok(name, facts)


def _folder(name: str, path: str, machine: Machine) -> Check:
    folder = os.path.dirname(path)
    found = machine.status(folder)
    name = f"{name}: folder"
    mode = stat.S_IMODE(found.st_mode) if found else 0
    if mode & 0o022 and not mode & stat.S_ISVTX:
        what = f"others may put another key in its place ({folder}, mode {mode:04o})"
        return bad(name, what, f"chmod go-w {shlex.quote(folder)}")
    return ok(name, f"mode {mode:04o}")
