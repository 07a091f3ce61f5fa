"""Writes tests/vectors/*.vec: bytes made from firmware-notes/wire-format.md.

Nothing of `diode` is imported. Headers are packed by struct, checks computed by crcmod, COBS by
the cobs package, Reed-Solomon words by reedsolo, symbols by zfec and raptorq, those of leopard by
leopard_reference.py, and manifests and the frames of modems by the few lines below; so what the
product gives for the same inputs is held against the document and not against itself. The format of
the files is in tests/README.md.

Run again it writes the same bytes, and removes vectors it no longer makes. Where raptorq cannot be
installed, the vectors made with it stay as they are.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import crcmod.predefined
import reedsolo
import zfec
from cobs import cobs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from leopard_reference import leopard_symbols

try:
    import raptorq
except ImportError:
    raptorq = None

FOLDER = Path(__file__).parent / "vectors"
SENDER, OTHER = 0x0D10DE07, 0x5EED0002

crc16 = crcmod.predefined.mkPredefinedCrcFun("xmodem")
crc32c = crcmod.predefined.mkPredefinedCrcFun("crc-32c")
crc64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, rev=True, xorOut=(1 << 64) - 1)
assert crc32c(b"123456789") == 0xE3069283
assert crc64(b"123456789") == 0x995DC9BBDF1939FA
RS = reedsolo.RSCodec(32)


def pattern(length: int, seed: int = 1) -> bytes:
    """Bytes without any pattern, the same on every machine."""
    blocks = range(-(-length // 32))
    return b"".join(hashlib.sha256(b"%d %d" % (seed, i)).digest() for i in blocks)[:length]


# Frames, wire 3 ---------------------------------------------------------------------------------


def closed(body: bytes) -> bytes:
    return body + struct.pack("<I", crc32c(body))


def full(
    kind, payload, *, sequence=0, code=0, sender=SENDER, number=1, block=0, symbol=0, version=1
):
    """A full frame, wire 3.1."""
    vk = version << 4 | kind
    head = struct.pack("<BBHIIII", vk, code, sequence & 0xFFFF, sender, number, block, symbol)
    return closed(head + payload)


def compact(payload, *, sequence=0, sender=SENDER, number=1, block=0, symbol=0):
    """A compact data frame, wire 3.2."""
    alias = crc16(struct.pack("<II", sender, number))
    return closed(struct.pack("<BBHI", 0x12, sequence & 0xFF, alias, block << 8 | symbol) + payload)


BEAT = struct.Struct("<QIIIIHH")
BEAT_FIELDS = ("frames", "uptime", "interval", "rate", "queue", "pass", "passes")


def beat(code, counts=None, **header):
    """A heartbeat, wire 3.4."""
    counts = counts or {}
    body = BEAT.pack(*(counts.get(name, 0) for name in BEAT_FIELDS))
    return full(4, body, code=code, **header)


# Blocks and codes, wire 4 -----------------------------------------------------------------------


def block(data: bytes, k: int, size: int) -> bytes:
    return (data + struct.pack("<Q", crc64(data))).ljust(k * size, b"\0")


def cut(whole: bytes, size: int) -> list[bytes]:
    return [whole[i : i + size] for i in range(0, len(whole), size)]


def symbols(whole: bytes, k: int, numbers: list[int]) -> list[bytes]:
    """Symbols of a block by zfec's own numbering, wire 4.2."""
    return zfec.Encoder(k, 256).encode(cut(whole, len(whole) // k), list(numbers))


def raptorq_symbols(whole: bytes, k: int, numbers: list[int]) -> list[bytes]:
    """Symbols of a block by the raptorq package, which numbers them as RFC 6330 does."""
    encoder = raptorq.Encoder.with_defaults(whole, len(whole) // k)
    packets = encoder.get_encoded_packets(max(0, max(numbers) - k + 1))
    assert all(packets[n][:4] == struct.pack(">I", n) for n in numbers)
    return [packets[n][4:] for n in numbers]


# Announcements, wire 5 --------------------------------------------------------------------------


def pack(value) -> bytes:
    """MessagePack, shortest forms, of what a manifest is made of."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bytes):
        if len(value) < 256:
            return b"\xc4" + bytes([len(value)]) + value
        return b"\xc5" + struct.pack(">H", len(value)) + value
    if isinstance(value, list):
        assert len(value) < 1 << 16
        head = (
            bytes([0x90 | len(value)])
            if len(value) < 16
            else b"\xdc" + struct.pack(">H", len(value))
        )
        return head + b"".join(pack(v) for v in value)
    if 0 <= value < 128:
        return bytes([value])
    if -32 <= value < 0:
        return struct.pack(">b", value)
    forms = [(0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q")]
    if value < 0:
        forms = [(0xD0, ">b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q")]
    for lead, form in forms:
        try:
            return bytes([lead]) + struct.pack(form, value)
        except struct.error:
            continue
    raise ValueError(value)


@dataclass
class Facts:
    """A manifest's elements in their order, wire 5.2."""

    status: int = 0
    type: int = 0
    name: bytes = b"report.pdf"
    size: int = 300
    digest: bytes = hashlib.sha256(pattern(300)).digest()
    code: int = 1
    k: int = 5
    n: int = 7
    symbol_size: int = 64
    passes: int = 1
    mtime: int | None = None
    cipher: int = 0

    def elements(self) -> list:
        """Those that are sent: the last one is left out where it is 0."""
        return list(vars(self).values())[: None if self.cipher else -1]

    def header(self) -> dict[str, object]:
        return {
            "status": self.status,
            "type": self.type,
            "name": self.name.hex(),
            "size": self.size,
            "sha256": self.digest.hex(),
            "code": self.code,
            "k": self.k,
            "n": self.n,
            "symbol-size": self.symbol_size,
            "passes": self.passes,
            "mtime": "nil" if self.mtime is None else self.mtime,
            **({"cipher": self.cipher} if self.cipher else {}),
        }


def announcement(elements: list, sections=()) -> bytes:
    body = pack(elements)
    parts = [struct.pack("<BH", kind, len(content)) + content for kind, content in sections]
    return struct.pack("<H", len(body)) + body + b"".join(parts)


SEED = bytes(range(32))


def signature(body: bytes, *, seed=SEED, sender=SENDER, number=1) -> bytes:
    """Key id and signature of an announcement's bytes, wire 5.5."""
    secret = Ed25519PrivateKey.from_private_bytes(seed)
    identity = struct.pack("<II", sender, number)
    signed = secret.sign(b"diode announcement v1\0" + identity + body)
    return hashlib.sha256(public(seed)).digest()[:8] + signed


def public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


# Encryption, wire 4.5 and 5.6 ---------------------------------------------------------------------


def hkdf(secret: bytes, info: bytes, salt: bytes = bytes(32)) -> bytes:
    """RFC 5869 with SHA-256, 32 bytes: the first block of its output."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\1", "sha256")


def x25519(secret: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).exchange(
        X25519PublicKey.from_public_bytes(public)
    )


def x25519_public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


@dataclass
class Enclosed:
    """An object as this project's sender encloses it."""

    facts: Facts
    secret: bytes = bytes(range(100, 132))
    recipients: tuple[bytes, ...] = ()
    signers: bytes = b""
    sender: int = SENDER
    number: int = 1

    @property
    def identity(self) -> bytes:
        return struct.pack("<II", self.sender, self.number)

    @property
    def outer(self) -> Facts:
        open_ = {"type": 0, "name": b"", "digest": b"", "mtime": None}
        return Facts(**vars(self.facts) | open_)

    @property
    def object_key(self) -> bytes:
        whole = pack(self.facts.elements())
        return hkdf(self.secret, b"diode object v1\0" + self.identity + whole + self.signers)

    @property
    def blocks_key(self) -> bytes:
        return hkdf(self.object_key, b"diode blocks v1\0")

    def envelope(self, recipient: bytes) -> bytes:
        pair = hkdf(self.secret + self.object_key, b"diode ephemeral v1\0" + recipient)
        ephemeral = x25519_public(pair)
        info = b"diode envelope v1\0" + self.identity
        wrapper = hkdf(x25519(pair, recipient), info, ephemeral + recipient)
        return ephemeral + ChaCha20Poly1305(wrapper).encrypt(bytes(12), self.object_key, None)

    @property
    def concealed(self) -> bytes:
        f = self.facts
        content = pack([f.type, f.name, f.digest, f.mtime, self.signers])
        plain = struct.pack("<H", len(content)) + content
        plain += bytes(-len(plain) % 32)
        key = hkdf(self.object_key, b"diode manifest v1\0")
        return AESGCM(key).encrypt(bytes(12), plain, self.identity + pack(self.outer.elements()))

    @property
    def sections(self) -> list[tuple[int, bytes]]:
        return [*((2, self.envelope(r)) for r in self.recipients), (3, self.concealed)]


def sealed_block(data: bytes, k: int, size: int, key: bytes, number: int) -> bytes:
    return AESGCM(key).encrypt(number.to_bytes(12, "little"), data, None).ljust(k * size, b"\0")


def manifest_frames(whole: bytes, count: int, numbers: list[int], **header) -> list[bytes]:
    """Frames of kind 3, wire 5.1."""
    size = -(-len(whole) // count)
    padded = whole.ljust(count * size, b"\0")
    coded = symbols(padded, count, numbers) if count > 1 else [padded] * len(numbers)
    tag = crc32c(padded)
    return [
        full(3, coded[i], code=count, block=tag, symbol=n, **header) for i, n in enumerate(numbers)
    ]


# Lines, wire 6 ----------------------------------------------------------------------------------


def stuffed(frames: list[bytes]) -> bytes:
    return b"\0" + b"".join(cobs.encode(f) + b"\0" for f in frames)


def scrambler() -> bytes:
    register, bits = 0xFF, []
    for _ in range(255 * 8):  # x^8 + x^7 + x^5 + x^3 + 1, the oldest bit is the one sent
        bits.append(register >> 7)
        new = (register >> 7 ^ register >> 4 ^ register >> 2 ^ register) & 1
        register = (register << 1 | new) & 0xFF
    return bytes(int("".join(map(str, bits[i : i + 8])), 2) for i in range(0, len(bits), 8))


SCRAMBLER = scrambler()
assert SCRAMBLER[:5] == bytes.fromhex("FF480EC09A")
SYNC = bytes.fromhex("1ACFFC1D")


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def word(frame: bytes) -> bytes:
    return bytes(RS.encode((bytes([len(frame)]) + frame).ljust(223, b"\0")))


def piece(frame: bytes) -> bytes:
    return SYNC + xor(word(frame), SCRAMBLER)


def flipped(data: bytes, places, mask: int = 0xFF) -> bytes:
    out = bytearray(data)
    for place in places:
        out[place] ^= mask
    return bytes(out)


# Frames of the synchronous modems, wire 7.2 and 7.3 ----------------------------------------------

PROFILES = {"robust": (7, 1, 2), "telephone": (9, 3, 4), "cable": (37, 7, 8)}
"""Groups, and the inner code's rate."""


def xorshift32(x: int):
    while True:
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        yield x


def times(a: int, b: int) -> int:
    """A product in GF(2)[x] / (x^4 + x + 1), by shifts."""
    product = 0
    for bit in range(4):
        if b >> bit & 1:
            product ^= a << bit
    for bit in (6, 5, 4):
        if product >> bit & 1:
            product ^= 0b10011 << (bit - 4)
    return product


def power(exponent: int) -> int:
    out = 1
    for _ in range(exponent):
        out = times(out, 2)
    return out


def inner_code(information: list[int], m: int) -> list[int]:
    """The code word of these elements of GF(16), wire 7.3."""
    k = len(information)
    random = xorshift32(0x2545F491 ^ k << 16 ^ m)
    owner = [i for i in range(k) for _ in range(3 if i % 2 else 2)]
    check = [e % m for e in range(len(owner))]
    for e in reversed(range(1, len(owner))):
        f = next(random) % (e + 1)
        check[e], check[f] = check[f], check[e]
    edges_of = {i: [e for e in range(len(owner)) if owner[e] == i] for i in range(k)}

    def close(edge: int) -> bool:
        others = [o for o in edges_of[owner[edge]] if o != edge]
        return any(abs(check[o] - check[edge]) < 4 for o in others)

    for e in range(len(owner)):
        f = e
        while close(e):
            f = (f + 1) % len(owner)
            if owner[f] == owner[e]:
                continue
            check[e], check[f] = check[f], check[e]
            if close(e) or close(f):
                check[e], check[f] = check[f], check[e]
    c = [power(next(random) % 15) for _ in owner]
    a = [0] + [power(next(random) % 15) for _ in range(m - 1)]
    parity = [0] * m
    for e, i in enumerate(owner):
        parity[check[e]] ^= times(c[e], information[i])
    for i in range(1, m):
        parity[i] ^= times(a[i], parity[i - 1])
    return information + parity


def modem_words(groups: int, k: int, n: int, size: int, content: bytes) -> tuple[list[int], str]:
    """The words of all channel symbols of a frame, header first, and which symbols are raised."""
    count = 32 * size * groups
    room = count * k // n // 2
    filled = content.ljust(room, b"\0")
    assert len(filled) == room
    information = [v for byte in filled for v in (byte >> 4, byte & 15)]
    coded = inner_code(information, count - len(information))
    step = round(count * 0.618034)
    while math.gcd(step, count) > 1:
        step += 1
    slots = [0] * count
    for j, value in enumerate(coded):
        slots[j * step % count] = value
    scrambled = [s ^ r >> 28 for s, r in zip(slots, xorshift32(0x9E3779B9), strict=False)]
    h = (size - 1) + 4 * (4 - size)
    header = [times(h, power(g % 15)) for g in range(groups)]
    bits = zip(range(32 * size), xorshift32(0x1F123BB5), strict=False)
    return header + scrambled, "0" + "".join(str(x >> 31) for _, x in bits)


# A whole transmission ---------------------------------------------------------------------------


class Sender:
    """Frames of a sender in the order of this file's calls, numbered as wire 3.3 asks."""

    def __init__(self, sender: int = SENDER, *, short: bool = True) -> None:
        self.sender = sender
        self.short = short
        self.frames: list[bytes] = []

    @property
    def _next(self) -> dict[str, int]:
        return {"sequence": len(self.frames), "sender": self.sender}

    def beat(self, code: int, highest: int) -> None:
        count = len(self.frames)
        counts = {"frames": count, "rate": 11520}
        self.frames.append(beat(code, counts, number=highest, **self._next))

    def announce(
        self, number: int, facts: Facts, count: int = 1, numbers=(0,), sections=()
    ) -> None:
        for symbol in numbers:
            whole = announcement(facts.elements(), sections)
            self.frames += manifest_frames(whole, count, [symbol], number=number, **self._next)

    def data(self, number: int, facts: Facts, content: bytes, index: int, numbers) -> None:
        """Symbols of one block; those that are zero by definition are the caller's to leave out."""
        room = facts.k * facts.symbol_size - 8
        whole = block(content[index * room : (index + 1) * room], facts.k, facts.symbol_size)
        self.symbols(number, facts, whole, index, numbers)

    def symbols(self, number: int, facts: Facts, whole: bytes, index: int, numbers) -> None:
        code = {1: symbols, 2: raptorq_symbols, 3: leopard_symbols}[facts.code]
        most = (facts.n * facts.passes,) if code is leopard_symbols else ()
        for symbol in numbers:
            body = code(whole, facts.k, [symbol], *most)[0]
            place = {"number": number, "block": index, "symbol": symbol, **self._next}
            made = compact(body, **place) if self.short else full(1, body, code=facts.code, **place)
            self.frames.append(made)


def facts_of(content: bytes, name: bytes, **others) -> Facts:
    digest = hashlib.sha256(content).digest()
    return Facts(name=name, size=len(content), digest=digest, **others)


# The vectors ------------------------------------------------------------------------------------

made: dict[str, str] = {}


def vector(file: str, about: str, section: str, expect: str, data: bytes, /, **header) -> None:
    """One file; its layer is the first word of its name, `_` in a key stands for `-`."""
    pairs: list[tuple[str, object]] = [("about", about), ("section", section)]
    pairs += [("layer", file.split("-", maxsplit=1)[0]), ("expect", expect)]
    for key, value in header.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(key.replace("_", "-"), v.hex() if isinstance(v, bytes) else v) for v in values]
    lines = [f"{key}: {value}".rstrip() for key, value in pairs]
    lines += ["", *(row.hex() for row in cut(data, 32))]
    assert file not in made, file
    made[file] = "\n".join(lines) + "\n"


def frame_vectors() -> None:
    place = {"sequence": 0xBEEF, "number": 0x01020304, "block": 0xA0B0C0D0, "symbol": 0x0201FE}
    body = pattern(40)
    whole = full(1, body, code=1, **place)
    inputs = {"kind": 1, "code": 1, "sender": SENDER, **place, "payload_hex": body}
    vector("frame-data-full", "a full data frame", "3.1", "accept", whole, **inputs)
    longest = pattern(16_384 - 24, 2)
    vector(
        "frame-data-longest",
        "the longest frame there is: 16,384 bytes",
        "3.5",
        "accept",
        full(1, longest, code=1, **place),
        **{k: v for k, v in inputs.items() if k != "payload_hex"},
        payload_sha256=hashlib.sha256(longest).digest(),
    )
    vector(
        "frame-data-reserved",
        "reserved bits are ignored",
        "3.1",
        "accept",
        full(1, body, code=1, **place | {"symbol": 0xFF0201FE}),
        canonical="no",
        **inputs,
    )
    short = {"sequence": 0xEF, "number": 0x01020304, "block": 0xC0D0E0, "symbol": 0xFE}
    vector(
        "frame-data-compact",
        "a compact data frame",
        "3.2",
        "accept",
        compact(body, **short),
        **{"kind": 2, "sender": SENDER, **short, "payload_hex": body},
        alias=crc16(struct.pack("<II", SENDER, 0x01020304)),
    )
    vector("frame-damaged", "one wrong bit", "3.6", "reject-check", flipped(whole, [30], 0x10))
    vector("frame-truncated", "the last byte is missing", "3.5", "reject-check", whole[:-1])
    vector("frame-trailing", "one byte too many", "3.5", "reject-check", whole + b"\0")
    vector(
        "frame-short", "shorter than any frame", "3.5", "reject-length", closed(b"\x12" + bytes(6))
    )
    vector(
        "frame-short-full",
        "long enough for a compact frame, too short for kind 1",
        "3.5",
        "reject-length",
        closed(b"\x11" + bytes(18)),
    )
    vector("frame-version", "a later version", "7", "reject-version", full(1, body, version=2))
    vector("frame-kind-unassigned", "kind 9", "7", "reject-kind", full(9, body))
    vector("frame-kind-record", "records nobody asked for", "3.1", "reject-kind", full(5, body))


def heartbeat_vectors() -> None:
    for name, code in (("going-on", 0), ("last", 1), ("first", 2)):
        counts = {"frames": 0x0102030405060708, "uptime": 86_400, "interval": 1000}
        counts |= {"rate": 11_520, "queue": 3, "pass": 2, "passes": 5}
        place = {"sequence": 0x0708, "number": 42}
        data = beat(code, counts, **place)
        inputs = {"kind": 4, "code": code, "sender": SENDER, **place, "block": 0, "symbol": 0}
        vector(
            f"frame-heartbeat-{name}",
            f"heartbeat, {name}",
            "3.4",
            "accept",
            data,
            **inputs,
            **counts,
        )
    late = BEAT.pack(*range(5, 12)) + b"later"
    vector(
        "frame-heartbeat-longer",
        "a heartbeat of a later version: its first 28 bytes mean the same",
        "3.4",
        "accept",
        full(4, late, number=42),
        **dict(zip(BEAT_FIELDS, range(5, 12), strict=True)),
        kind=4,
        code=0,
        sender=SENDER,
        number=42,
        canonical="no",
    )
    counts = dict(zip(BEAT_FIELDS, range(5, 12), strict=True))
    of_lane = {"lane-frames": 0x0102030405060708, "lane": 2, "lanes": 4}
    vector(
        "frame-heartbeat-lane",
        "a heartbeat on the third of four lanes",
        "3.4",
        "accept",
        full(4, BEAT.pack(*counts.values()) + struct.pack("<QHH", *of_lane.values()), number=42),
        **counts,
        **of_lane,
        kind=4,
        code=0,
        sender=SENDER,
        number=42,
        canonical="no",
    )
    vector("frame-heartbeat-short", "27 bytes", "3.4", "reject-length", full(4, bytes(27)))


def idle_vectors() -> None:
    place = {"kind": 7, "code": 0, "sender": SENDER, "sequence": 0x0708}
    place |= {"number": 0, "block": 0, "symbol": 0}
    for name, payload in (("slot", pattern(198)), ("empty", b"")):
        data = full(7, payload, sequence=0x0708, number=0)
        about = f"an idle frame of {len(data)} bytes"
        inputs = place | {"payload-hex": payload.hex()}
        vector(f"frame-idle-{name}", about, "3.10", "accept", data, **inputs)
    vector(
        "frame-heartbeat-slot",
        "a heartbeat as long as all other frames: zeros behind what is known of it",
        "3.10",
        "accept",
        full(4, BEAT.pack(*range(5, 12)).ljust(198, b"\0"), number=42),
        **dict(zip(BEAT_FIELDS, range(5, 12), strict=True)),
        kind=4,
        code=0,
        sender=SENDER,
        number=42,
        canonical="no",
    )


def constant_rate_vectors() -> None:
    """One object in slots of 78 bytes, idle frames between: no frame longer or shorter."""
    content, payload = pattern(300, 12), 52
    facts = facts_of(content, b"constant")
    s = Sender()

    def put(kind: int, body: bytes, **header: int) -> None:
        place = {"number": 0, "sequence": len(s.frames)} | header
        s.frames.append(full(kind, body.ljust(payload, b"\0"), **place))

    def announce() -> None:
        whole = announcement(facts.elements()).ljust(2 * payload, b"\0")
        for symbol in (0, 1):
            s.frames += manifest_frames(whole, 2, [symbol], sequence=len(s.frames))

    put(4, BEAT.pack(0, 0, 1000, 11520, 1, 0, 1), code=2, number=1)
    for seed in range(3):
        put(7, pattern(payload, seed))
    announce()
    for symbol in range(7):
        s.data(1, facts, content, 0, [symbol])
        put(7, pattern(payload, symbol))
    announce()
    put(4, BEAT.pack(len(s.frames), 1, 1000, 11520, 0, 1, 1), code=1, number=1)
    assert {len(f) for f in s.frames} == {76}
    wire = b"".join(cobs.encode(f) + b"\0" for f in s.frames)
    about = "an object at a constant rate: slots of 78 bytes, idle frames between"
    stream("constant-rate", about, "3.10", [], wire=wire, slot=78, deliver=told(1, facts))


def manifest_vectors() -> None:
    whole = announcement(Facts().elements())
    inputs = {"kind": 3, "sender": SENDER, "number": 1, "announcement": whole}
    single = manifest_frames(whole, 1, [0], number=1)[0]
    vector(
        "frame-manifest", "an announcement in one frame", "5.1", "accept", single, **inputs, code=1
    )
    for number in (0, 255):
        data = manifest_frames(whole, 3, [number], number=1)[0]
        vector(
            f"frame-manifest-3-symbol-{number:03}",
            "one symbol of an announcement of three, any three of which give it",
            "5.1",
            "accept",
            data,
            **inputs,
            code=3,
            symbol=number,
        )


def block_vectors() -> None:
    cases = [
        ("full", "a full block: the check ends it", 4 * 32 - 8, 4, 32),
        ("short", "a short last block: check, then zeros", 50, 4, 32),
        ("straddling", "the check lies across two symbols", 60, 4, 32),
        ("smallest", "the smallest block that holds data", 1, 1, 9),
    ]
    for name, about, length, k, size in cases:
        data = pattern(length, 3)
        header = {"data_hex": data, "k": k, "symbol_size": size}
        header["source_symbols"] = -(-(length + 8) // size)
        vector(f"block-{name}", about, "4.1", "accept", block(data, k, size), **header)
    whole = block(pattern(50, 3), 4, 32)
    header = {"size": 50, "k": 4, "symbol_size": 32}
    for name, about, place in (
        ("wrong-check", "a wrong byte in the check", 55),
        ("wrong-zeros", "a byte behind the check that is not zero", 100),
    ):
        vector(f"block-{name}", about, "4.3", "reject-check", flipped(whole, [place]), **header)


def code_vectors() -> None:
    cases = [
        (1, 24, [0, 1, 255]),
        (2, 24, [0, 1, 2, 3, 255]),
        (5, 16, [0, 4, 5, 6, 7, 254, 255]),
        (17, 16, [0, 16, 17, 18, *range(100, 115), 255]),
        (255, 4, [0, 254, 255]),
    ]
    for k, size, numbers in cases:
        source = pattern(k * size, k)
        vector(
            f"code-zfec-{k:03}",
            "symbols of these numbers, one behind the other",
            "4.2",
            "accept",
            b"".join(symbols(source, k, numbers)),
            code=1,
            k=k,
            symbol_size=size,
            numbers=" ".join(map(str, numbers)),
            source_hex=source,
        )
    wide = [
        ("leopard", 3, 1, 64, 0, [0, 1, 2, 64]),
        ("leopard", 3, 2, 64, 3, [0, 1, 2, 3, 33, 65]),
        ("leopard", 3, 5, 128, 0, [1, 3, 5, 6, 7, 40, 68]),
        ("leopard", 3, 65, 64, 0, [0, 64, 65, 66, 127, 128, 129, 192]),
        ("leopard", 3, 129, 64, 160, [0, 128, 129, 150, 192]),
        ("leopard", 3, 300, 64, 400, [0, 299, 300, 363, 427]),
        ("leopard", 3, 130, 64, 1000, [0, 129, 130, 257, 385]),
        ("raptorq", 2, 1, 8, 0, [0, 1, 2, 9]),
        ("raptorq", 2, 10, 16, 0, [0, 9, *range(10, 20), 1000]),
        ("raptorq", 2, 27, 24, 0, [0, 26, *range(27, 40), 200]),
    ]
    for name, code, k, size, most, numbers in wide:
        if name == "raptorq" and raptorq is None:
            continue
        source = pattern(k * size, code * k)
        made = (
            leopard_symbols(source, k, numbers, most)
            if name == "leopard"
            else raptorq_symbols(source, k, numbers)
        )
        header = {"code": code, "k": k, "symbol_size": size, "most": most, "source_hex": source}
        vector(
            f"code-{name}-{k:03}",
            "symbols of these numbers, one behind the other",
            "4.2",
            "accept",
            b"".join(made),
            numbers=" ".join(map(str, numbers)),
            **header,
        )
    source = pattern(48, 8)
    header = {"code": 0, "k": 3, "symbol_size": 16, "numbers": "2 0 1", "source_hex": source}
    data = source[32:] + source[:32]
    vector("code-repeat", "code 0 has the source symbols only", "4.2", "accept", data, **header)


def announcement_vectors() -> None:
    facts = Facts(mtime=1_700_000_000_123_456_789, name="zażółć/a.txt".encode())
    plain = announcement(facts.elements())
    header = facts.header()

    def case(stem: str, about: str, expect: str, data: bytes, /, **more) -> None:
        vector(f"announcement-{stem}", about, "5.1", expect, data, **more)

    case("file", "a file", "accept", plain, **header)
    padded = plain + bytes(5)
    case("padded", "zeros behind the end", "accept", padded, **header, canonical="no")
    sections = [(1, pattern(64, 4)), (200, b"")]
    case(
        "sections",
        "a signature and a section of unknown type, which is skipped",
        "accept",
        announcement(facts.elements(), sections),
        **header,
        sections=" ".join(f"{kind}:{content.hex()}" for kind, content in sections),
    )
    later = announcement([*facts.elements(), 0, [1, None, b"later"], 7])
    case("appended", "elements of a later version", "accept", later, **header, canonical="no")
    void = Facts(status=2)
    case("void", "the source failed", "void", announcement(void.elements()), **void.header())
    folder = Facts(type=1, size=0, digest=hashlib.sha256(b"").digest(), name=b"empty/folder")
    data = announcement(folder.elements())
    case("directory", "an empty directory", "accept", data, **folder.header())
    case("trailing", "a byte behind the zeros", "malformed", padded + b"\1")
    case("truncated", "the manifest is longer than what came", "malformed", plain[:-1])
    case("length-only", "one byte", "malformed", b"\x05")
    cut_section = plain + struct.pack("<BH", 1, 64) + bytes(63)
    case("section-truncated", "a section runs over the end", "malformed", cut_section)
    short = announcement(facts.elements()[:-1])
    case("element-missing", "ten elements", "malformed", short)
    behind = struct.pack("<H", len(pack(facts.elements())) + 1) + pack(facts.elements()) + b"\0"
    case("manifest-trailing", "a byte behind the array, inside the manifest", "malformed", behind)


def signature_vectors() -> None:
    """Announcements with signatures and what a receiver that has the key makes of them."""
    facts, void = Facts(), Facts(status=2)
    plain, other = announcement(facts.elements()), bytes(range(32, 64))

    def case(stem, about, sections, verdict, of=facts, **more):
        data = announcement(of.elements(), sections)
        vector(
            f"announcement-signed-{stem}",
            about,
            "5.5",
            "void" if of is void else "accept",
            data,
            **of.header(),
            sections=[f"{kind}:{content.hex()}" for kind, content in sections],
            sender=SENDER,
            number=1,
            key_hex=public(SEED),
            verdict=verdict,
            **more,
        )

    good = signature(plain)
    seed = {"seed_hex": SEED}
    case("right", "signed by the key given", [(1, good)], "signed", **seed)
    voided = signature(announcement(void.elements()))
    case("void", "the source failed, and that is signed", [(1, voided)], "signed", of=void, **seed)
    case(
        "void-borrowed",
        "void, with the signature of the object",
        [(1, good)],
        "bad-signature",
        void,
    )
    case("none", "not signed", [], "unsigned")
    case("other-key", "signed by another key", [(1, signature(plain, seed=other))], "unknown-key")
    moved = signature(plain, number=2)
    case("other-number", "signed for another object number", [(1, moved)], "bad-signature")
    moved = signature(plain, sender=OTHER)
    case("other-sender", "signed for another sender", [(1, moved)], "bad-signature")
    case("flipped", "one bit is wrong", [(1, flipped(good, [40], 1))], "bad-signature")
    case("short", "71 bytes", [(1, good[:-1])], "bad-signature")
    named = good[:8] + signature(plain, seed=other)[8:]
    case(
        "named",
        "another key's signature under the id of the key given",
        [(1, named)],
        "bad-signature",
    )
    two = [(1, signature(plain, seed=other)), (1, good)]
    case("two", "signed by another key and by the key given", two, "signed")
    covered = signature(plain + struct.pack("<BH", 200, 3) + b"abc")
    case(
        "section",
        "a section before the signature is signed",
        [(200, b"abc"), (1, covered)],
        "signed",
    )
    case("behind", "a section behind the signature", [(1, good), (200, b"abc")], "bad-signature")
    case("before", "a section put before it", [(200, b"abc"), (1, good)], "bad-signature")


IDENTITIES = [bytes(range(first, first + 32)) for first in (140, 180, 220)]
READERS = [x25519_public(secret) for secret in IDENTITIES]


def enclosed_vectors() -> None:
    """Encrypted announcements, and what a receiver with the first identity makes of them."""
    facts = Facts(name="zażółć/a.txt".encode(), mtime=1_700_000_000_123_456_789, cipher=1)
    one = Enclosed(facts, recipients=(READERS[0],))

    def case(stem, about, of, sections=None, verdict="opened", *, by_us=False, **change):
        outer = Facts(**vars(of.outer) | change)
        sections = of.sections if sections is None else sections
        inner = {"inner_type": of.facts.type, "inner_name": of.facts.name.hex()}
        inner |= {"inner_sha256": of.facts.digest.hex(), "signers": of.signers.hex()}
        inner["inner_mtime"] = "nil" if of.facts.mtime is None else of.facts.mtime
        secrets = {"secret_hex": of.secret, "recipients_hex": [r.hex() for r in of.recipients]}
        opened = verdict == "opened"
        vector(
            f"announcement-encrypted-{stem}",
            about,
            "5.6",
            "void" if outer.status == 2 else "accept",
            announcement(outer.elements(), sections),
            **outer.header(),
            sections=[f"{kind}:{content.hex()}" for kind, content in sections],
            sender=SENDER,
            number=1,
            identity_hex=IDENTITIES[0],
            opening=verdict,
            **(inner | {"blocks_key_hex": of.blocks_key} if opened else {}),
            **(secrets if by_us else {}),
        )

    case("one", "for one recipient", one, by_us=True)
    three = Enclosed(facts, recipients=(READERS[1], READERS[2], READERS[0]))
    case("three", "for three, of whom the receiver is the last", three, by_us=True)
    signed = Enclosed(facts, recipients=(READERS[0],), signers=bytes(range(8)))
    case("signers", "tells inside who signs", signed, by_us=True)
    folder = {"type": 1, "size": 0, "digest": hashlib.sha256(b"").digest(), "name": b"a folder"}
    folder = Enclosed(Facts(**folder, cipher=1), recipients=(READERS[0],))
    case("directory", "a directory, which shows as an empty file", folder, by_us=True)
    void = Enclosed(Facts(**vars(facts) | {"status": 2}), recipients=(READERS[0],))
    case("void", "the source failed", void, by_us=True)
    case("two-signers", "two key ids", Enclosed(facts, recipients=READERS[:1], signers=pattern(16)))
    others = Enclosed(facts, recipients=(READERS[1],))
    case("others", "for somebody else", others, verdict="sealed")
    moved = Enclosed(facts, recipients=(READERS[0],), number=2)
    case("moved", "enclosed under another number", moved, verdict="sealed")
    envelope, concealed = one.envelope(READERS[0]), one.concealed
    zero = [(2, bytes(32) + envelope[32:]), (3, concealed)]
    case("zero", "a public key with which everything agrees on zero", one, zero, "sealed")
    short = [(2, envelope[:-1]), (3, concealed)]
    case("short", "an envelope of 79 bytes", one, short, "sealed")
    many = [(2, pattern(80, 40 + i)) for i in range(16)] + one.sections
    case("seventeenth", "sixteen envelopes that are none before it", one, many, "sealed")
    case("size", "its size was changed", one, verdict="bad-seal", size=301)
    case("status", "it was made void by another", one, verdict="bad-seal", status=2)
    turned = [(2, envelope), (3, flipped(concealed, [20], 1))]
    case("flipped", "one bit of the concealed part is wrong", one, turned, "bad-seal")
    case("bare", "no concealed part", one, [(2, envelope)], "bad-seal")
    twice = [(2, envelope), (3, concealed), (3, concealed)]
    case("twice", "two concealed parts", one, twice, "bad-seal")
    mixed = [(2, envelope), (3, others.concealed), (3, concealed)]
    case("mixed", "another object's concealed part before its own", one, mixed, "bad-seal")
    odd = Enclosed(facts, recipients=(READERS[0],), signers=bytes(7))
    case("odd", "signers of seven bytes", odd, verdict="bad-seal")
    nameless = Facts(**vars(facts) | {"name": b""})
    nameless = Enclosed(nameless, recipients=(READERS[0],))
    case("nameless", "a name of no bytes is concealed", nameless, verdict="bad-seal")

    for name, about, change in (
        ("named", "encrypted, and tells its name", {"name": b"report.pdf"}),
        ("hashed", "encrypted, and tells its digest", {"digest": facts.digest}),
        ("dated", "encrypted, and tells its time", {"mtime": 0}),
        ("typed", "encrypted, and tells its type", {"type": 1, "size": 0}),
        ("unknown", "a cipher nobody knows", {"cipher": 2}),
    ):
        data = announcement(Facts(**vars(one.outer) | change).elements(), one.sections)
        vector(f"announcement-encrypted-{name}", about, "5.6", "malformed", data)


def tagged(plain: bytes, key: bytes) -> bytes:
    """A frame with the tag of that link key, wire 3.9."""
    body = bytes([plain[0] | 0x80]) + plain[1:-4]
    return closed(body + hashlib.blake2b(body, key=key, digest_size=8).digest())


def tagged_vectors() -> None:
    key, other = pattern(32, 40), pattern(32, 41)
    frames = {
        "full": full(1, pattern(64, 42), code=1, sequence=700, block=3, symbol=9),
        "compact": compact(pattern(210, 43), sequence=7, block=70_000, symbol=255),
        "heartbeat": beat(0, {"frames": 1234, "rate": 11_520}),
    }
    for name, plain in frames.items():
        about = f"a {name} frame with its tag"
        vector(f"tagged-{name}", about, "3.9", "accept", tagged(plain, key), link_key_hex=key,
               plain_hex=plain)  # fmt: skip
    wrong = tagged(frames["full"], other)
    vector("tagged-other", "the tag of another key", "3.9", "reject-tag", wrong, link_key_hex=key)
    forged = flipped(tagged(frames["full"], key)[:-4], [30])
    vector("tagged-forged", "a payload that was changed, its check made right", "3.9",
           "reject-tag", closed(forged), link_key_hex=key)  # fmt: skip
    vector("tagged-plain", "a frame without a tag where a key is asked for", "3.9",
           "reject-untagged", frames["full"], link_key_hex=key)  # fmt: skip
    vector("tagged-unasked", "a frame with a tag where no key is known", "3.9", "reject-keyed",
           tagged(frames["full"], key))  # fmt: skip


def sealed_block_vectors() -> None:
    key = pattern(32, 30)
    header = {"k": 4, "symbol_size": 32, "cipher": 1, "key_hex": key}
    for name, about, length, number in (
        ("full", "a full block under the cipher", 4 * 32 - 16, 0),
        ("short", "a short one, number 70,000", 50, 70_000),
    ):
        data = pattern(length, 31)
        more = {"block": number, "source_symbols": -(-(length + 16) // 32)}
        whole = sealed_block(data, 4, 32, key, number)
        vector(
            f"block-encrypted-{name}", about, "4.5", "accept", whole,
            **header, data_hex=data, **more,
        )  # fmt: skip
    whole = sealed_block(pattern(50, 31), 4, 32, key, 9)
    for name, about, change in (
        ("tag", "a wrong byte in the tag", {"place": 60}),
        ("data", "a wrong byte in the ciphertext", {"place": 3}),
        ("zeros", "a byte behind the tag that is not zero", {"place": 100}),
        ("moved", "the block of another number", {"block": 10}),
    ):
        data = flipped(whole, [change["place"]]) if "place" in change else whole
        more = {"size": 50, "block": change.get("block", 9)}
        vector(f"block-encrypted-{name}", about, "4.5", "reject-check", data, **header, **more)


def encrypted_stream_vectors() -> None:
    content = pattern(700, 32)
    facts = facts_of(content, b"late.bin", cipher=1)  # three blocks of 304 bytes
    enclosed = Enclosed(facts, recipients=(READERS[1], READERS[0]))
    s = Sender()
    s.beat(2, 1)
    s.announce(1, enclosed.outer, sections=enclosed.sections)
    for index, known in ((0, 0), (1, 0), (2, 3)):  # the last block has two source symbols
        part = content[index * 304 : (index + 1) * 304]
        whole = sealed_block(part, 5, 64, enclosed.blocks_key, index)
        s.symbols(1, enclosed.outer, whole, index, [n for n in range(7) if not 5 - known <= n < 5])
    s.announce(1, enclosed.outer, sections=enclosed.sections)
    s.beat(1, 1)
    data = [i for i, f in enumerate(s.frames) if f[0] == 0x12]
    lossy = [f for i, f in enumerate(s.frames) if i not in {data[1], data[9], data[14]}]
    header = {"deliver": told(1, facts), "identity_hex": IDENTITIES[0]}
    stream("encrypted", "encrypted, as many symbols lost as can be", "4.5", lossy, **header)


def range_vectors() -> None:
    wrong = [
        ("status", "status 1", {"status": 1}),
        ("name-nul", "a name with NUL", {"name": b"a\0b"}),
        ("name-long", "a name of 4,097 bytes", {"name": b"n" * 4097}),
        ("size", "a size of 2^63", {"size": 1 << 63}),
        ("digest", "a digest of 31 bytes", {"digest": bytes(31)}),
        ("code", "a code nobody knows", {"code": 77}),
        ("k-wide", "k = 256 with code 1", {"k": 256}),
        ("symbol-size", "a symbol no frame can carry", {"symbol_size": 16_361}),
        ("no-room", "blocks with room for the check alone", {"k": 1, "symbol_size": 8}),
        ("blocks", "more than 2^32 blocks", {"k": 1, "symbol_size": 9, "size": (1 << 32) + 1}),
    ]
    for name, about, change in wrong:
        data = announcement(Facts(**change).elements())
        vector(f"announcement-range-{name}", about, "5.2", "malformed", data)


def name_vectors() -> None:
    names = [
        ("traversal", b"../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("absolute", b"//etc/./shadow", "etc/shadow"),
        ("escape", b"\x1b[2J\x1b]0;root\x07.txt", "%1B[2J%1B]0;root%07.txt"),
        ("bidi", b"inv\xe2\x80\xaefdp.exe\xff", "inv%E2%80%AEfdp.exe%FF"),
        ("device", b"nul.txt", "%6Eul.txt"),
    ]
    for name, raw, safe in names:
        facts = Facts(name=raw)
        vector(
            f"announcement-name-{name}",
            "a name that must be made safe",
            "5.2",
            "accept",
            announcement(facts.elements()),
            **facts.header(),
            safe_name=safe,
        )


# Bundles, wire 5.7 ------------------------------------------------------------------------------


def bundle(entries: list[tuple], count: int | None = None, behind: bytes = b"") -> bytes:
    """A bundle of (type, flags, name, content, mtime)."""
    made = struct.pack("<I", len(entries) if count is None else count)
    for type_, flags, name, content, mtime in entries:
        made += struct.pack("<BBHIq", type_, flags, len(name), len(content), mtime)
    made += b"".join(name for _, _, name, _, _ in entries)
    return made + b"".join(content for _, _, _, content, _ in entries) + behind


def of_bundle(entries: list[tuple]) -> list[str]:
    """How a vector tells what is in it: type, mtime or `nil`, SHA-256 of the content, name."""
    return [
        f"{type_} {mtime if flags else 'nil'} {hashlib.sha256(content).hexdigest()} {name.hex()}"
        for type_, flags, name, content, mtime in entries
    ]


MEMBERS = [
    (0, 1, b"photos/a.jpg", pattern(100, 70), 1_700_000_000_123_456_789),
    (0, 0, b"photos/\xffb", b"", 0),
    (1, 1, b"photos/empty", b"", -1),
    (0, 1, b"c", pattern(33, 71), 1),
]


def bundle_vectors() -> None:
    one = MEMBERS[:1]
    for name, about, entries in (
        ("small", "files, one of them empty, and an empty directory", MEMBERS),
        ("one", "one file", one),
    ):
        vector(f"bundle-{name}", about, "5.7", "accept", bundle(entries), member=of_bundle(entries))
    whole = bundle(MEMBERS)
    kind, flags, name, content, mtime = one[0]
    for case, about, data in (
        ("empty", "no bytes", b""),
        ("cut", "a byte short", whole[:-1]),
        ("trailing", "a byte too many", bundle(MEMBERS, behind=b"\0")),
        ("none", "no entries", bundle([])),
        ("count", "more entries than there may be", bundle(one, count=16_385)),
        ("claimed", "a count that is not true", bundle(MEMBERS, count=0xFFFF_FFFF)),
        ("table", "entries that run over the end", bundle(one, count=16_384)),
        ("type", "a bundle in a bundle", bundle([(2, flags, name, content, mtime)])),
        ("flags", "a flag that is not known", bundle([(kind, 3, name, content, mtime)])),
        ("time", "a time without its flag", bundle([(kind, 0, name, content, mtime)])),
        ("nameless", "no name", bundle([(kind, flags, b"", content, mtime)])),
        ("nul", "NUL in a name", bundle([(kind, flags, b"a\0b", content, mtime)])),
        ("long", "a name of 4,097 bytes", bundle([(kind, flags, b"n" * 4097, content, mtime)])),
        ("twice", "one name twice", bundle([*MEMBERS, *one])),
        ("directory", "a directory with content", bundle([(1, flags, name, content, mtime)])),
        ("sum", "sizes that only add up modulo 2^32", whole[:8] + b"\xff" * 4 + whole[12:]),
    ):
        vector(f"bundle-bad-{case}", about, "5.7", "malformed", data)


def without_zeros(length: int) -> bytes:
    """A frame of that many bytes none of which is zero, its check included."""
    for seed in range(1000):
        frame = closed(b"\x12" + pattern(length - 5, seed).replace(b"\0", b"\1"))
        if 0 not in frame:
            return frame
    raise AssertionError(length)


def cobs_vectors() -> None:
    for length in (12, 254, 255, 508, 509, 600):
        frame = without_zeros(length)
        about = f"{length} bytes without a zero"
        data = cobs.encode(frame) + b"\0"
        vector(f"cobs-{length:03}", about, "6.1", "accept", data, frames=frame)
    zeros = closed(b"\x12" + bytes(300))
    data = cobs.encode(zeros) + b"\0"
    vector("cobs-zeros", "a run of 300 zeros", "6.1", "accept", data, frames=zeros)
    mixed = closed(b"\x12" + b"\1" * 253 + b"\0" + b"\2" * 254 + b"\0\0" + b"\3" * 80)
    data = cobs.encode(mixed) + b"\0"
    vector("cobs-boundaries", "zeros behind 254 bytes", "6.1", "accept", data, frames=mixed)
    vector("cobs-empty", "a chunk of no content", "6.1", "reject-length", cobs.encode(b"") + b"\0")
    a, b = closed(b"\x12" + pattern(50, 5)), closed(b"\x12" + pattern(60, 6))
    both = f"{a.hex()} {b.hex()}"
    lost = cobs.encode(a) + cobs.encode(b) + b"\0"
    vector(
        "cobs-delimiter-lost",
        "both frames are found",
        "6.1",
        "accept",
        lost,
        frames=both,
        clean="no",
    )
    changed = cobs.encode(a) + b"\x55" + cobs.encode(b) + b"\0"
    header = {"frames": both, "clean": "no"}
    vector("cobs-delimiter-changed", "both frames are found", "6.1", "accept", changed, **header)
    wrong = flipped(cobs.encode(a), [20], 1) + b"\0" + cobs.encode(b) + b"\0"
    header = {"frames": b, "clean": "no", "rejected": "check 1"}
    vector("cobs-damaged", "a wrong byte costs its frame", "6.1", "accept", wrong, **header)


def rs_vectors() -> None:
    short, long = closed(b"\x12" + pattern(60, 7)), closed(b"\x11" + pattern(217, 8))
    assert len(long) == 222
    clean = piece(short)
    vector("rs-clean", "a frame of 65 bytes", "6.2", "accept", clean, frames=short)
    vector("rs-longest", "222 bytes: no padding", "6.2", "accept", piece(long), frames=long)
    spread = [4 + 15 * i for i in range(17)]
    header = {"frames": short, "clean": "no"}
    vector("rs-16-wrong", "16 wrong bytes", "6.2", "accept", flipped(clean, spread[:16]), **header)
    vector("rs-17-wrong", "17 wrong bytes", "6.2", "reject-check", flipped(clean, spread))
    bits = flipped(flipped(flipped(clean, [0], 0x80), [2], 0x01), [3], 0x10)
    vector("rs-sync-3", "3 wrong bits in the sync word", "6.2", "accept", bits, **header)
    bits = flipped(bits, [1], 0x02)
    vector("rs-sync-4", "4 wrong bits: no sync word", "6.2", "incomplete", bits)
    slipped = clean[:200] + clean[201:] + piece(long)
    header = {"frames": long, "clean": "no"}
    vector(
        "rs-slip", "a lost byte costs its frame, not the next", "6.2", "accept", slipped, **header
    )
    # The word of a frame whose last parity byte is zero, sent one place to the right: a zero came
    # in front. It is a word of the cyclic code as well.
    shifted = next(
        w for w in (word(closed(b"\x12" + pattern(60, s))) for s in range(10_000)) if w[-1] == 0
    )
    right = bytes([0]) + shifted[:-1]
    assert not any(RS.decode(right)[2])
    data = SYNC + xor(right, SCRAMBLER)
    vector("rs-shifted", "a code word shifted by one place", "6.2", "reject-length", data)
    plain = SYNC + word(short)
    vector("rs-unscrambled", "a word without the scrambler", "6.2", "reject-check", plain)


def modem_vectors() -> None:
    for name, (groups, k, n) in PROFILES.items():
        for size in (1, 2, 3, 4):
            room = 32 * size * groups * k // n // 2
            if (name, size) == ("robust", 1):  # the smallest one filled up
                content, about = pattern(40, 16), "filled up with zeros"
            else:
                content, about = pattern(room, 16 + size), "full"
            values, raised = modem_words(groups, k, n, size, content)
            text = "".join(f"{v:x}" for v in values)
            vector(
                f"modem-{name}-{size}",
                f"a frame of class {size}, {about}",
                "7.2",
                "accept",
                bytes.fromhex(text + "0" * (len(text) % 2)),
                modem=name,
                **{"class": size, "content-hex": content.hex(), "raised": raised},
            )


def stream(file, about, section, frames, *, line="cobs", expect="deliver", wire=None, **header):
    """A whole transmission. deliver: objects that must arrive; short: that must not."""
    data = (
        wire
        if wire is not None
        else (stuffed(frames) if line == "cobs" else b"".join(piece(f) for f in frames))
    )
    vector(f"stream-{file}", about, section, expect, data, line=line, **header)


def told(number: int, facts: Facts, sender: int = SENDER) -> str:
    return f"{sender:08x}:{number} {facts.size} {facts.digest.hex()} {facts.name.hex()}"


def small_stream_vectors() -> None:
    content = pattern(300, 10)
    facts = facts_of(content, b"report.pdf")
    for line, short in (("cobs", True), ("rs", True), ("rs", False)):
        s = Sender(short=short)
        s.beat(2, 1)
        s.announce(1, facts)
        s.data(1, facts, content, 0, range(4))
        s.announce(1, facts)
        s.data(1, facts, content, 0, range(4, 7))
        s.beat(1, 1)
        name = f"file-{line}" if short else f"file-{line}-full"
        about = f"300 bytes, {'compact' if short else 'full'} frames, line {line}"
        stream(name, about, "4.1", s.frames, line=line, deliver=told(1, facts))
    for name, kind in (("empty-file", 0), ("empty-directory", 1)):
        facts = facts_of(b"", name.encode(), type=kind)
        s = Sender()
        s.beat(2, 1)
        s.announce(1, facts, numbers=(0, 0, 0))
        s.beat(1, 1)
        stream(name, "a manifest and no block", "4.1", s.frames, deliver=told(1, facts))
    content = bundle(MEMBERS)
    facts = facts_of(content, b"photos/a.jpg and 3 more", type=2, mtime=None)
    s = Sender()
    s.beat(2, 1)
    s.announce(1, facts)
    s.data(1, facts, content, 0, (0, 1, 3, 6))
    s.beat(1, 1)
    stream("bundle", "a bundle of four", "5.7", s.frames, deliver=told(1, facts))


def large_stream_vectors() -> None:
    content = pattern(700, 11)
    facts = facts_of(content, b"late.bin", passes=2)  # three blocks of 312 bytes
    s = Sender()
    s.beat(2, 1)
    for first in (0, 7):  # the second pass sends the next numbers
        s.announce(1, facts)
        for index, known in ((0, 0), (1, 0), (2, 3)):  # the last block has two source symbols
            walk = [n for n in range(256) if not 5 - known <= n < 5]
            count = 7 - known
            at = first // 7 * count
            s.data(1, facts, content, index, walk[at : at + count])
    s.beat(1, 1)
    third = len(s.frames) // 3
    late = s.frames[third:]
    stream("late-join", "the first third is missing", "5.3", late, deliver=told(1, facts))
    once = s.frames[: len(s.frames) // 2 + 1]
    data = [i for i, f in enumerate(once) if f[0] == 0x12]
    lossy = [f for i, f in enumerate(once) if i not in {data[1], data[4], data[8], data[15]}]
    stream(
        "loss-recovered",
        "as many symbols lost as parity came",
        "4.2",
        lossy,
        deliver=told(1, facts),
    )
    poor = [f for i, f in enumerate(once) if i not in {data[7], data[9], data[12]}]
    header = {"expect": "incomplete", "short": f"{told(1, facts)} 1"}
    stream("loss-too-much", "block 1 lacks one symbol", "4.2", poor, **header)
    shuffled = sorted(once * 2, key=lambda f: hashlib.sha256(f).digest())
    about = "any order, everything twice, data before the manifest"
    stream("shuffled", about, "4.4", shuffled, deliver=told(1, facts))


def wide_stream_vectors() -> None:
    content = pattern(400, 16)
    for name, code, numbers in (
        ("leopard", 3, [0, 2, 9, 5, 70, 8, 7]),
        ("raptorq", 2, [0, 2, 9, 5, 17, 8, 7, 30]),
    ):
        if name == "raptorq" and raptorq is None:
            continue
        facts = facts_of(content, b"w.bin", code=code, k=7, n=10)
        s = Sender(short=False)
        s.announce(1, facts)
        s.data(1, facts, content, 0, numbers)
        about = f"a block of code {name} with symbols lost"
        stream(name, about, "4.2", s.frames, deliver=told(1, facts), code=code)


def many_stream_vectors() -> None:
    content, second = pattern(300, 12), pattern(200, 13)
    facts, other = facts_of(content, b"a.bin"), facts_of(second, b"b.bin")
    s, t = Sender(), Sender(OTHER, short=False)
    for who, what, bytes_ in ((s, facts, content), (t, other, second)):
        who.beat(2, 9)
        who.announce(9, what)
        who.data(9, what, bytes_, 0, [0, 1, 2, 5, 6, 7] if who is s else [1, 2, 3, 5])
        who.beat(1, 9)
    mixed = [f for pair in zip(s.frames, t.frames, strict=False) for f in pair]
    mixed += s.frames[len(t.frames) :]
    both = [told(9, facts), told(9, other, OTHER)]
    stream("two-senders", "two senders, one object number", "2", mixed, deliver=both)

    v = Sender()
    v.announce(1, facts)
    v.data(1, facts, content, 0, range(3))
    v.announce(1, Facts(**vars(facts) | {"status": 2}))
    v.data(1, facts, content, 0, range(3, 7))
    about = "taken back after three symbols; the rest comes too late"
    stream("void", about, "5.2", v.frames, expect="void", void=f"{SENDER:08x}:1")

    c = Sender()
    c.announce(1, facts)
    c.announce(1, facts_of(pattern(299), b"b.bin"))
    c.data(1, facts, content, 0, range(5))
    about = "a second manifest of one number: the first one wins"
    stream("conflict", about, "5.2", c.frames, deliver=told(1, facts), rejected="conflict 1")

    long = facts_of(content, b"/".join([b"folder" * 8] * 8) + b"/file")
    m = Sender()
    m.announce(1, long, 4, (0, 2, 5, 255))
    m.data(1, long, content, 0, range(5))
    about = "an announcement of four symbols, two of them parity"
    stream("long-name", about, "5.1", m.frames, line="rs", deliver=told(1, long))


def hostile_stream_vectors() -> None:
    content = pattern(300, 14)
    facts = facts_of(content, b"c.bin")
    s = Sender()
    s.announce(1, facts)
    s.data(1, facts, content, 0, range(2))
    s.frames.append(compact(pattern(64, 99), sequence=3, symbol=2))  # right check, wrong content
    s.data(1, facts, content, 0, [3, 4, 5, 6])
    about = "a wrong symbol whose frame is right: the block check tells"
    stream("wrong-symbol", about, "4.3", s.frames, deliver=told(1, facts))

    s = Sender()
    s.announce(1, facts)
    s.frames += [
        full(9, b"unknown kind"),
        full(1, bytes(64), version=3),
        compact(bytes(63)),
        full(1, bytes(64), code=1, symbol=256),
        full(1, bytes(64), code=1, block=1),
        full(3, announcement([1, 2, 3]), code=1, number=2, block=crc32c(announcement([1, 2, 3]))),
        full(3, announcement(facts.elements()), code=1, number=3, block=0),
    ]
    s.data(1, facts, content, 0, range(5))
    refused = ["kind 1", "version 1", "length 1", "index 2", "manifest 2"]
    about = "frames that are right and of no use"
    stream("refused", about, "3.5", s.frames, deliver=told(1, facts), rejected=refused)

    noise = pattern(400, 15)
    wire = noise + stuffed(s.frames[:1] + s.frames[8:]) + noise
    about = "noise before and behind"
    stream("noise", about, "6.1", [], wire=wire, deliver=told(1, facts), clean="no")


# Receipts, wire 10 ------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(high) if high else bytes([low])


def receipt(highest, received, closed=(), ledger=0x1ED6E400, sender=SENDER) -> bytes:
    """A receipt without what vouches for it, wire 10.1."""
    body = bytes.fromhex("d101") + struct.pack("<II", sender, ledger) + varint(highest)
    for ranges in (received, closed):
        body += varint(len(ranges))
        at = 0
        for first, last in ranges:
            body += varint(first - at - 1) + varint(last - first)
            at = last
    return body


def unsigned(body: bytes) -> bytes:
    return closed(body + b"\0")


def receipt_signed(body: bytes, seed=SEED) -> bytes:
    """Wire 10.2."""
    signer = Ed25519PrivateKey.from_private_bytes(seed)
    return body + b"\1" + signer.sign(b"diode receipt v1\0" + body + b"\1")


LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def gf32(a: int, b: int) -> int:
    """The product in GF(2)[x]/(x^5 + x^2 + 1), bit by bit."""
    out = 0
    while b:
        out ^= a if b & 1 else 0
        a = a << 1 ^ (0b100101 if a & 16 else 0)
        b >>= 1
    return out


def lettered(data: bytes) -> list[str]:
    """The lines of a receipt that is carried by hand, wire 10.3; checks found by trying all."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[i : i + 5], 2) for i in range(0, len(bits), 5)]
    pieces = [values[i : i + 28] for i in range(0, len(values), 28)]
    lines = []
    for number, piece in enumerate(pieces, 1):
        plain = weighted = 0
        power = 1
        for value in (number % 32, *piece):
            plain, weighted = plain ^ value, weighted ^ gf32(value, power)
            power = gf32(power, 2)
        checks = next(
            [a, a ^ plain]
            for a in range(32)
            if weighted == gf32(a, power) ^ gf32(a ^ plain, gf32(power, 2))
        )
        text = "".join(LETTERS[v] for v in [*piece, *checks])
        lines.append(f"{number}. " + " ".join(cut(text, 5)))
    return [*lines[:-1], lines[-1] + "."]


def receipt_vectors() -> None:
    """Receipts, and what is wrong with some that are none."""
    gaps = [(1, 99), (105, 3000), (3002, 5000), (5010, 7777), (7779, 9000), (9002, 10000)]
    cases = {
        "nothing": ("nothing came", 0, [], []),
        "one": ("one object", 1, [(1, 1)], []),
        "gaps": ("ten thousand objects with five gaps", 10000, gaps, []),
        "closed": ("two that will not come, one that may", 9, [(1, 3), (7, 8)], [(4, 5)]),
        "largest": ("the largest numbers there are", 2**32 - 1, [(2**32 - 2, 2**32 - 1)], []),
    }

    def told(highest, received, shut):
        pairs = [[f"{a}-{b}" for a, b in ranges] for ranges in (received, shut)]
        return {"sender": SENDER, "ledger": 0x1ED6E400, "highest": highest} | {
            key: value for key, value in zip(("received", "closed"), pairs, strict=True) if value
        }

    for stem, (about, highest, received, shut) in cases.items():
        body = receipt(highest, received, shut)
        for how, data in (("", unsigned(body)), ("-signed", receipt_signed(body))):
            more = {"seed_hex": SEED, "key_hex": public(SEED)} if how else {}
            header = told(highest, received, shut) | more | {"text": lettered(data)}
            words = about + (", signed" if how else "")
            vector(f"receipt-{stem}{how}", words, "10", "accept", data, **header)
    body = receipt(10, [(1, 4), (6, 6)])
    wrong = {
        "check": ("the check is wrong", unsigned(body)[:-1] + b"\0"),
        "cut": ("cut short", unsigned(body[:-2])),
        "behind": ("bytes behind the end", unsigned(body + b"\0")),
        "long-number": ("a number that is not in its shortest form", _long(body)),
        "touching": ("two ranges that are one", unsigned(receipt(10, [(1, 4), (5, 6)]))),
        "overlap": ("received and closed", unsigned(receipt(10, [(1, 4)], [(4, 5)]))),
        "beyond": ("more than the highest", unsigned(receipt(10, [(1, 11)]))),
        "nobody": ("for no sender", unsigned(receipt(1, [(1, 1)], sender=0))),
        "version": ("of a later version", unsigned(b"\xd1\x02" + body[2:])),
        "many": ("more ranges than a receiver takes", unsigned(body[:11] + varint(8193))),
    }
    for stem, (about, data) in wrong.items():
        vector(f"receipt-not-{stem}", about, "10", "malformed", data)
    data = bytearray(receipt_signed(body))
    data[10] ^= 1
    vector(
        "receipt-not-signed",
        "changed after it was signed",
        "10.2",
        "malformed",
        bytes(data),
        key_hex=public(SEED),
    )


def _long(body: bytes) -> bytes:
    """The same, its highest number 10 written in two bytes."""
    return unsigned(body[:10] + b"\x8a\0" + body[11:])


# Records, wire 11 -------------------------------------------------------------------------------


@dataclass
class Reading:
    """One record, wire 11.1."""

    topic: bytes
    payload: bytes = b""
    sequence: int = 1
    time: int | None = None
    quality: int = 0
    retain: bool = False
    repeats: int = 0

    def packed(self, shared: int = 0) -> bytes:
        head = 0x80 | self.repeats << 4 | (self.time is not None) << 3 | self.quality << 1
        rest = self.topic[shared:]
        size = len(self.payload)
        whole = struct.pack("<BBBHI", head | self.retain, shared, len(rest), size, self.sequence)
        if self.time is not None:
            whole += struct.pack("<q", self.time)
        return whole + rest + self.payload

    def told(self, class_: int = 0, stream: int = 3) -> str:
        """How a vector tells of it."""
        time = "nil" if self.time is None else self.time
        number = f"{class_} {stream} {self.sequence} {time} {self.quality} {int(self.retain)}"
        return f"{number} {self.repeats} {self.topic.hex()} {self.payload.hex()}".rstrip()


READINGS = [
    Reading(b"t/1", b"21.5"),
    Reading("Kessel 3/Öl/°C".encode(), b"88.25", 7, 1_700_000_000_123_456_789, 1, True),
    Reading("Kessel 3/Öl/bar".encode(), bytes(range(9)), 0xFFFFFFFF, -1, 2, False, 7),
    Reading(b"empty", b"", 2),
]


def record_frames(
    parts: list[bytes], class_=0, stream=3, group=5, first=0, **header
) -> list[bytes]:
    """Source frames of one group."""
    return [
        full(5, part, number=stream, block=group, symbol=class_ << 8 | n, sequence=n)
        for n, part in enumerate(parts)
    ]


def record_parity(parts: list[bytes], count: int, class_=0, stream=3, group=5) -> list[bytes]:
    """Parity frames of the group of these payloads, wire 11.3."""
    k, width = len(parts), max(map(len, parts))
    whole = b"".join(part.ljust(width, b"\0") for part in parts)
    check = struct.pack("<I", crc32c(whole))
    added = symbols(whole, k, list(range(k, k + count)))
    return [
        full(
            *(5, symbol + check),
            code=k,
            number=stream,
            block=group,
            symbol=class_ << 8 | n,
            sequence=n,
        )
        for n, symbol in enumerate(added, k)
    ]


def record_vectors() -> None:
    def case(name, about, section, frames, records, **header):
        wire = stuffed(frames)
        vector(f"records-{name}", about, section, "accept", wire, record=records, **header)

    small = READINGS[0].packed()
    told = [one.told() for one in READINGS]
    shared = READINGS[2].packed(len("Kessel 3/Öl/".encode()))
    together = small + READINGS[1].packed() + shared + READINGS[3].packed()
    case("smallest", "a small sender, without memory", "11.5", record_frames([small], 0, 0), [
        READINGS[0].told(0, 0)
    ])  # fmt: skip
    case(
        "together",
        "four in a frame, one with a shared topic",
        "11.1",
        record_frames([together]),
        told,
    )
    padded = record_frames([together + bytes(20)])
    case("padded", "zeros behind the last one", "11.1", padded, told, canonical="no")
    apart = [one.packed() for one in READINGS]
    source, added = record_frames(apart), record_parity(apart, 2)
    case("group", "a group with its parity", "11.3", source + added, told)
    repaired = [source[0], source[2], *added]
    order = [told[n] for n in (0, 2, 1, 3)]
    case("group-lost", "two of four lost, and given back", "11.3", repaired, order)
    wrong = [source[0], full(5, READINGS[3].packed(), number=3, block=5, symbol=2), *added]
    of_wrong = [told[0], told[3]]
    case("group-wrong", "one of another group among them", "11.3", wrong, of_wrong, canonical="no")
    ordered = [Reading(b"log", b"%d" % n, n) for n in range(1, 5)]
    packed = [one.packed() for one in ordered]
    frames = record_frames(packed, 1, 9)
    order = [frames[n] for n in (0, 2, 1, 1, 3)]
    every = [one.told(1, 9) for one in ordered]
    case("every", "out of order, and one twice", "11.2", order, every)
    late = record_frames([ordered[0].packed(), ordered[1].packed()], 0, 8)
    new = record_frames([ordered[0].packed()], 0, 9)
    case("stream", "a higher stream, and then an older one", "11.2", [late[0], *new, late[1]], [
        ordered[0].told(0, 8), ordered[0].told(0, 9)
    ])  # fmt: skip
    for name, about, part, records in (
        ("wildcard", "a wildcard in a topic", Reading(b"a/+").packed() + small, told[:1]),
        ("control", "an escape in a topic", small + Reading(b"a\x1b[31m").packed(), told[:1]),
        ("utf8", "a topic that is not UTF-8", small + Reading(b"a\xff").packed(), told[:1]),
        ("nameless", "no topic", small + Reading(b"").packed(), told[:1]),
        (
            "cut",
            "a payload longer than the frame",
            small + Reading(b"a", b"123").packed()[:-1],
            told[:1],
        ),
        ("shared", "more is shared than there is", small + READINGS[2].packed(4), told[:1]),
        ("behind", "something behind the zeros", small + b"\0\1", told[:1]),
        ("long", "a payload of 8,193 bytes", Reading(b"a", bytes(8193)).packed() + small, told[:1]),
    ):
        refused = {"rejected": "record 1", "canonical": "no"}
        case(f"bad-{name}", about, "11.1", record_frames([part]), records, **refused)
    other = record_frames([small], 2)
    case(
        "class", "a class that is not known", "11.2", other, [], rejected="index 1", canonical="no"
    )


def main() -> None:
    made.clear()
    for make in (
        *(frame_vectors, heartbeat_vectors, idle_vectors, constant_rate_vectors),
        *(manifest_vectors, block_vectors, code_vectors),
        *(
            announcement_vectors,
            signature_vectors,
            enclosed_vectors,
            sealed_block_vectors,
            tagged_vectors,
            encrypted_stream_vectors,
            range_vectors,
            name_vectors,
            bundle_vectors,
            receipt_vectors,
            cobs_vectors,
            rs_vectors,
            record_vectors,
        ),
        modem_vectors,
        *(small_stream_vectors, large_stream_vectors, wide_stream_vectors),
        *(many_stream_vectors, hostile_stream_vectors),
    ):
        make()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.vec"):
        if old.stem not in made and (raptorq or "raptorq" not in old.stem):
            old.unlink()
    for name, text in made.items():
        path = FOLDER / f"{name}.vec"
        if not path.exists() or path.read_text("ascii") != text:
            path.write_text(text, "ascii")
    print(f"{len(made)} vectors in {FOLDER.name}")


if __name__ == "__main__":
    main()
