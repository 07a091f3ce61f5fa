"""A configuration with any bytes in it: it is a sender's or a receiver's whose every number is in
its bounds, or an error for the operator that names the file, of printable lines; nothing else is
ever raised, and nothing that it says is opened.
"""

from __future__ import annotations

import harness

with harness.instrumented():
    import msgspec

    from diode.errors import ConfigurationError
    from diode.service import config

KEYS = [
    *(field.encode_name for field in msgspec.structs.fields(config.Sender)),
    *(field.encode_name for field in msgspec.structs.fields(config.Receiver)),
    *(field.encode_name for field in msgspec.structs.fields(config.Drop)),
]
VALUES = ['"2s"', '"25%"', '"5MB"', "7", "-1", "true", "[]", "{}", "[{}]", '["-"]', "nan", '"rs"']
VALUES += ['"serial:/dev/ttyS0"', '"/a"', '"keep"', "1e999", '"0440"', '{ last = 3, for = "1h" }']


def check(content: bytes) -> None:
    try:
        made = config.parse(content, "x.toml")
    except ConfigurationError as error:
        lines = str(error).split("\n")
        assert all(line.startswith("x.toml: ") and line.isprintable() for line in lines)
        return
    assert (made.sender is None) != (made.receiver is None)
    if made.sender is not None:
        assert made.sender.drop and made.sender.urls
        assert all(0 <= d.priority <= 9 and d.weight > 0 for d in made.sender.drop)
    if made.receiver is not None:
        assert made.receiver.quota >= 0
        assert all(made.receiver.commands.values())


def written(choices: harness.Choices) -> str:
    """A file with right keys and values that the fuzzer chooses."""
    lines = [choices.of("[sender]", "[receiver]")]
    lines += [choices.of('to = "file:/a"', 'from = "file:/a"\ninbox = "/b"', "")]
    for _ in range(choices.byte() % 8):
        key, value = KEYS[choices.byte() % len(KEYS)], VALUES[choices.byte() % len(VALUES)]
        lines.append(f"{key} = {value}")
    lines += ['[[sender.drop]]\nfolder = "/c"'] * (choices.byte() % 3)
    return "\n".join(lines)


def target(data: bytes) -> None:
    check(data)
    check(b'[sender]\nto = "file:/a"\n' + data)
    check(b'[receiver]\nfrom = "file:/a"\ninbox = "' + data + b'"')
    check(written(harness.Choices(data)).encode())


if __name__ == "__main__":
    harness.run(target)
