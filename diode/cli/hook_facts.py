"""What a command of --on-delivery is told: the facts of a delivery, and the variables made of them.

Facts are what the journal keeps as JSON: names escaped, paths as the sink has them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from diode.objects import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diode.events import Key
    from diode.incoming import Incoming
    from diode.sink import Delivered, tally

DELIVERY = "delivery"
Facts = dict[str, Any]


def variables(facts: Facts, root: str, *, stored: bool) -> Mapping[str, str]:
    """The environment of the command. root: of the paths; stored: they may be URLs of a store."""
    path = facts["path"]
    if not (stored and "://" in path):
        path = os.path.join(root, path)
    return {
        "DIODE_EVENT": DELIVERY,
        "DIODE_NAME": facts["name"],
        "DIODE_PATH": path,
        "DIODE_SIZE": str(facts["size"]),
        "DIODE_SHA256": facts["sha256"],
        "DIODE_SENDER": f"{facts['sender']:08x}",
        "DIODE_NUMBER": str(facts["number"]),
        "DIODE_SIGNED_BY": facts["signed_by"],
        "DIODE_SIGNED_BY_KEY": facts["signed_by_key"],
        "DIODE_BUNDLE": "1" if facts["bundle"] else "0",
        "DIODE_SECONDS": str(facts["seconds"]),
        "DIODE_LOSS": str(facts["loss"]),
    }


def of(key: Key, incoming: Incoming) -> Facts:
    """What is told of an object, but for where it lies; as in the ledger."""
    manifest, came = incoming.manifest, incoming.came
    return {
        "name": escape(manifest.name),
        "size": manifest.size,
        "sha256": manifest.digest.hex(),
        "sender": key.sender,
        "number": key.number,
        "signed_by": came.signed_by,
        "signed_by_key": came.signed_by_key,
        "bundle": False,
        "seconds": came.seconds,
        "loss": came.loss,
    }


def placed(where: Delivered, *, is_folder: bool) -> Facts:
    """Where a file lies; a folder's path ends with a slash."""
    path = where.path + ("/" if is_folder else "")
    return {"path": path, "sha256": where.sha256, "duplicate": where.duplicate}


def known(row: tally.Row, facts: Facts) -> tuple[int, Facts]:
    """What the ledger knows of a file that was delivered."""
    return row.member, facts | {
        "name": escape(row.name),
        "path": row.path,
        "size": row.size,
        "sha256": row.sha256.hex(),
        "bundle": row.member > 0,
        "duplicate": False,
    }
