"""Code leopard by the formula of wire 4.2, symbol by symbol, slowly: what others may start from."""

from __future__ import annotations

BASIS = (
    *(0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012),
    *(0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E),
)


def times(a: int, b: int) -> int:
    """In GF(2^16) with x^16+x^5+x^3+x^2+1."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x1002D if a >> 15 else 0)
        b >>= 1
    return product


def inverse(a: int) -> int:
    result, exponent = 1, 65_534
    while exponent:
        result = times(result, a) if exponent & 1 else result
        a, exponent = times(a, a), exponent >> 1
    return result


def omega(number: int) -> int:
    """The field element with that number."""
    element = 0
    for bit, base in enumerate(BASIS):
        element ^= base if number >> bit & 1 else 0
    return element


NUMBER_OF = {omega(i): i for i in range(1 << 16)}


def elements_of(symbol: bytes) -> list[int]:
    """Elements in a symbol: of each 64 bytes the first 32 are low halves, the others high ones."""
    pieces = [symbol[i : i + 64] for i in range(0, len(symbol), 64)]
    return [
        omega(low | high << 8) for p in pieces for low, high in zip(p[:32], p[32:], strict=True)
    ]


def symbol_of(elements: list[int]) -> bytes:
    numbers = [NUMBER_OF[e] for e in elements]
    pieces = [numbers[i : i + 32] for i in range(0, len(numbers), 32)]
    return b"".join(bytes(n & 0xFF for n in p) + bytes(n >> 8 for n in p) for p in pieces)


def leopard_symbols(whole: bytes, k: int, numbers: list[int], most: int = 0) -> list[bytes]:
    """Symbols of a block by the formula of wire 4.2. most: n x passes of its manifest."""
    size = len(whole) // k
    source = [whole[i : i + size] for i in range(0, len(whole), size)]
    parts = [elements_of(s) for s in source]
    wanted, width, constant = min(most - k, k) if most else k, 64, 1
    while width < wanted:
        width *= 2
    for i in range(1, width):
        constant = times(constant, omega(i))
    found = []
    for number in numbers:
        if number < k:
            found.append(source[number])
            continue
        total = [0] * len(parts[0])
        for s, part in enumerate(parts):
            below = times(constant, omega(number - k) ^ omega(width + s))
            factor = times(omega(1 + s // width), inverse(below))
            total = [t ^ times(factor, e) for t, e in zip(total, part, strict=True)]
        found.append(symbol_of(total))
    return found
