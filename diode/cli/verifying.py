"""What `recv --verify` and `--identity` take and say: whose signatures count, what can be opened,
what was refused, who signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from diode.admission import Anyone, NoIdentity, lacks
from diode.cli import complete
from diode.errors import SignatureError
from diode.objects import escape
from diode.wording import plural

if TYPE_CHECKING:
    from diode.admission import Gate, Opener, Verdict
    from diode.cli.report import Report
    from diode.events import ObjectQuarantined
    from diode.service.receiver import Session

WHY = {
    "unsigned": "it is not signed; send it again with: diode send --sign KEYFILE",
    "unknown-key": "no key given here signed it; if its signer is to be trusted, listen with "
    "--verify PUBKEY of that key too, and send it again",
    "bad-signature": "its signature is wrong; if nobody meddles with the line, send it again",
    "sealed": "it is encrypted for somebody else; listen with --identity KEYFILE of one it is for",
    "size": "it is larger than --max-object or --quota of this receiver; with more of that, it can "
    "be sent again",
    "bad-seal": "it is encrypted for an identity given here, but not by whoever signed it, or it "
    "was changed on the way; if nobody meddles with the line, send it again",
}
"""What is not as it should be, and the next step, by `admission.Refusal` of the gate."""
MAX_TOLD = 20
"""Objects refused that are told one by one; after that they are only counted."""

verify_option = click.option(
    "--verify",
    multiple=True,
    metavar="PUBKEY",
    shell_complete=complete.files,
    help="Accept only what this public key signed: a file, or the line itself. Repeatable.",
)
identity_option = click.option(
    "--identity",
    "identities",
    multiple=True,
    metavar="KEYFILE",
    shell_complete=complete.files,
    help="Decrypt what is encrypted for this secret key. Repeatable.",
)


def gate(report: Report, verify: tuple[str, ...]) -> Gate:
    """What lets objects in. KeyFileError where one of the keys is none."""
    if not verify:
        return Anyone()
    from diode.keyring import Keyring
    from diode.seal import PublicKey
    from diode.service import keys

    accepted = [key for source in verify for key in keys.read_public(source, PublicKey)]
    for key in accepted:
        report.detail(f"accepting what is signed by {key.fingerprint} {key.comment}".rstrip())
    return Keyring(accepted)


def opener(report: Report, identities: tuple[str, ...]) -> Opener:
    """What opens encrypted objects. KeyFileError where one of the identities is none."""
    if not identities:
        return NoIdentity()
    from diode.envelope import Identity
    from diode.identities import Identities
    from diode.service import keys

    ours = [keys.read_secret(path, Identity) for path in identities]
    for identity in ours:
        public = identity.public
        report.detail(f"decrypting for {public.fingerprint} {public.comment}".rstrip())
    return Identities(ours)


def signed(verdict: Verdict) -> str:
    """Who signed an object, to go behind its size."""
    if verdict.signed_by is None:
        return ""
    key = verdict.fingerprint
    known_as = "" if verdict.signed_by == key else f" {key}"
    return f", signed by {escape(verdict.signed_by)}{known_as}"


@dataclass(slots=True)
class Refusals:
    """Tells of objects in quarantine."""

    told: int = 0

    def tell(self, report: Report, event: ObjectQuarantined) -> None:
        key = event.key
        concealed = event.manifest.concealed
        name = "an object" if concealed else escape(event.manifest.name)
        why = WHY.get(event.reason) or lacks(event.manifest)
        report.event(
            "object_quarantined" if event.reason in WHY else "object_incomplete",
            name=None if concealed else name,
            size=event.manifest.size,
            sender=key.sender,
            number=key.number,
            reason=event.reason,
            message=why,
        )
        self.told += 1
        if self.told <= MAX_TOLD:
            report.warn(f"{name} ({key}) is not accepted, {why}")
        elif self.told == MAX_TOLD + 1:
            report.warn("more objects are not accepted; from now on they are only counted")


def conclude(report: Report, session: Session) -> bool:
    """The last words on what is in quarantine; whether something is.

    Raises SignatureError where the objects asked for did not come for lack of a signature.
    """
    quarantine = session.receiver.quarantine
    for lack, count in (
        ("a good signature", quarantine.unsigned),
        ("an identity that opens them", quarantine.sealed),
        ("room", quarantine.oversized),
        (
            "a code",
            quarantine.total - quarantine.unsigned - quarantine.sealed - quarantine.oversized,
        ),
    ):
        if count:
            report.say(f"{plural(count, 'object')} not accepted for lack of {lack}")
    if session.unaccepted and not session.stopped:
        raise SignatureError(
            "the object asked for did not come with a signature that counts",
            hint="diode send --sign KEYFILE signs, recv --verify KEYFILE.pub accepts",
        )
    return quarantine.total > 0
