"""Whether a circuit lets anything go back: a proof on its netlist.

    python hardware/oneway.py board.net …      KiCad netlists, also of a board of your own
    python hardware/oneway.py cable.yml …      cables in the form of WireViz

One part with the value SENDER… and one with RECEIVER… are the ports of the two machines. A
circuit is one-way when all of this holds:

1. Nothing joins the two sides but what is meant to: parts whose two halves are not connected
   (couplers), all of which carry from the sender's side to the receiver's, and nets whose names
   begin with LINE: wires, light. A line net with `GND` in its name joins grounds and nothing else.
2. On a line nobody on the receiver's side can speak, and nobody on the sender's side can listen.
3. No path of signals leads from any pin of the receiver's port that can speak to any pin of the
   sender's port that can listen: through parts as they carry (parts.py), through resistors,
   capacitors and wires both ways, but not along supplies.
4. One does lead from the sender to the receiver: a circuit that carries nothing proves nothing.

A kind of part that parts.py does not know is a refusal: what it lets through is not known.
What the proof cannot see: a part that is not what is printed on it, leakage through a supply that
both sides share outside of the netlist, and whatever is soldered on later.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parts import DRIVES, HEARS, KINDS, PORT_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from parts import Kind

SENDER, RECEIVER, LINE = "SENDER", "RECEIVER", "LINE"
Node = tuple[str, str]
"""A pin: the part's reference and the pin's number."""
Island = tuple[str, frozenset[str]]
"""A part, or a half of one: its reference and pins that hang together inside."""
Sides = dict[str, dict[Island, list[str]]]
"""Of SENDER and RECEIVER: what hangs together with its port, and by what."""


@dataclass
class Netlist:
    """parts: reference to (kind, value). nets: name to pins."""

    parts: dict[str, tuple[str, str]] = field(default_factory=dict)
    nets: dict[str, set[Node]] = field(default_factory=dict)

    def kind(self, ref: str) -> Kind:
        return KINDS[self.parts[ref][0]]

    def port(self, side: str) -> str:
        """The reference of that side's port; ValueError unless there is exactly one."""
        found = [ref for ref, (_, value) in self.parts.items() if value.startswith(side)]
        if len(found) != 1 or self.parts[found[0]][0] not in PORT_NAMES:
            raise ValueError(f"one port with the value {side}… is needed, there are {found}")
        return found[0]

    def net_of(self) -> dict[Node, str]:
        return {node: name for name, nodes in self.nets.items() for node in nodes}


def problems(netlist: Netlist) -> list[str]:
    """Why this circuit is not proved to be one-way; none if it is."""
    unknown = sorted({kind for kind, _ in netlist.parts.values()} - set(KINDS))
    if unknown:
        return [f"parts that are not known: {', '.join(unknown)}"]
    strange = sorted(
        f"{r}.{p}" for n in netlist.nets.values() for r, p in n if not _has(netlist, r, p)
    )
    if strange:
        return [f"pins that no such part has: {', '.join(strange)}"]
    try:
        ports = {side: netlist.port(side) for side in (SENDER, RECEIVER)}
    except ValueError as error:
        return [str(error)]
    sides = {side: _side(netlist, ref) for side, ref in ports.items()}
    found = [*_joins(netlist, sides), *_lines(netlist, sides)]
    back = _path(netlist, ports[RECEIVER], ports[SENDER])
    if back:
        found.append(f"a way back: {' -> '.join(back)}")
    if not _path(netlist, ports[SENDER], ports[RECEIVER]):
        found.append("nothing leads from the sender to the receiver")
    return found


def _has(netlist: Netlist, ref: str, pin: str) -> bool:
    return ref in netlist.parts and pin in {number for number, _, _ in netlist.kind(ref).pins}


def _is_port(island: Island, sides: Sides) -> bool:
    """Whether this is the receiver's port."""
    return len(sides[RECEIVER][island]) == 1


def _islands(netlist: Netlist) -> Iterator[Island]:
    """Each part, or each half of one, as its reference and pins."""
    for ref in netlist.parts:
        for pins in netlist.kind(ref).islands:
            yield ref, pins


def _side(netlist: Netlist, port: str) -> dict[Island, list[str]]:
    """All parts and halves of parts that hang together with that port, but for lines; and how: the
    shortest chain of parts and nets from the port.
    """
    net_of = netlist.net_of()
    nets = {
        (ref, pins): sorted({net_of[ref, pin] for pin in pins if (ref, pin) in net_of})
        for ref, pins in _islands(netlist)
    }
    touched: dict[str, list[Island]] = defaultdict(list)
    for island, names in nets.items():
        for net in names:
            touched[net].append(island)
    seen = {island: [port] for island in nets if island[0] == port}
    waiting = deque(seen)
    while waiting:
        island = waiting.popleft()
        for net in nets[island]:
            for other in () if net.startswith(LINE) else touched[net]:
                if other not in seen:
                    seen[other] = [*seen[island], net, other[0]]
                    waiting.append(other)
    return seen


def _joins(netlist: Netlist, sides: Sides) -> Iterator[str]:
    """Rule 1."""
    across = [
        sides[SENDER][i] for i in sides[RECEIVER] if i in sides[SENDER] and _is_port(i, sides)
    ]
    if across:
        yield f"both sides hang together: {' - '.join(across[0])}"
        return
    where = {
        (ref, pin): side for side, islands in sides.items() for ref, pins in islands for pin in pins
    }
    for ref in netlist.parts:
        for a, b in netlist.kind(ref).moves:
            if where.get((ref, a)) == RECEIVER and where.get((ref, b)) == SENDER:
                yield f"{ref} carries from the receiver's side to the sender's"


def _lines(netlist: Netlist, sides: Sides) -> Iterator[str]:
    """Rule 2, and what a line of grounds may have."""
    where = {
        (ref, pin): side for side, islands in sides.items() for ref, pins in islands for pin in pins
    }
    for name, nodes in netlist.nets.items():
        if not name.startswith(LINE):
            continue
        for ref, pin in sorted(nodes):
            type_ = netlist.kind(ref).type_of(pin)
            told = f"{name}: {ref}.{netlist.kind(ref).name_of(pin)}"
            if ("GND" in name) != (type_ == "power") and type_ != "passive":
                yield f"{told} does not belong on it"
            elif where.get((ref, pin)) == RECEIVER and type_ in DRIVES:
                yield f"{told} could speak on the line"
            elif where.get((ref, pin)) == SENDER and type_ in HEARS:
                yield f"{told} could listen to the line"


def _path(netlist: Netlist, source: str, sink: str) -> list[str]:
    """Rules 3 and 4: a way of signals from one port to the other, as pins and nets; none: []."""
    net_of = netlist.net_of()
    supplies = {name for name, nodes in netlist.nets.items() if _is_supply(netlist, nodes)}
    steps: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for ref in netlist.parts:
        for a, b in netlist.kind(ref).moves:
            if (ref, a) in net_of and (ref, b) in net_of:
                steps[net_of[ref, a]].append((ref, net_of[ref, b]))
    ends = {net_of[n]: n for n in _pins_that(netlist, sink, HEARS) if n in net_of}
    for first in _pins_that(netlist, source, DRIVES):
        ways = [[net_of[first]]] if net_of.get(first) else []
        seen = set(supplies)
        while ways:
            way = ways.pop()
            if way[-1] in seen:
                continue
            seen.add(way[-1])
            if way[-1] in ends:
                return [_called(netlist, first), *way, _called(netlist, ends[way[-1]])]
            ways += [[*way, ref, net] for ref, net in steps[way[-1]]]
    return []


def _is_supply(netlist: Netlist, nodes: set[Node]) -> bool:
    """Whether a net feeds parts; one that an output can move carries signals all the same."""
    types = {netlist.kind(ref).type_of(pin) for ref, pin in nodes}
    return "power" in types and not types & DRIVES


def _pins_that(netlist: Netlist, ref: str, types: Iterable[str]) -> list[Node]:
    return [(ref, number) for number, _, type_ in netlist.kind(ref).pins if type_ in types]


def _called(netlist: Netlist, node: Node) -> str:
    ref, pin = node
    return f"{ref}.{netlist.kind(ref).name_of(pin)}"


# Reading ------------------------------------------------------------------------------------------


def _tree(text: str) -> list[Any]:
    """An S-expression as nested lists."""
    stack: list[list[Any]] = [[]]
    for word in re.findall(r'"(?:[^"\\]|\\.)*"|[()]|[^\s()"]+', text):
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word.strip('"'))
    if len(stack) != 1 or not stack[0]:
        raise ValueError("not a netlist: its brackets do not match")
    return stack[0][0]


def _of(tree: list[Any], name: str) -> list[list[Any]]:
    return [branch for branch in tree if isinstance(branch, list) and branch[0] == name]


def _one(tree: list[Any], name: str) -> Any:
    (found,) = _of(tree, name)
    return found[1]


def read_kicad(text: str) -> Netlist:
    """A netlist as KiCad and SKiDL write it. ValueError where it is none.

    A part is of the kind that its field `Oneway` names, or else of that of its symbol.
    """
    tree = _tree(text)
    found = Netlist()
    for part in _of(_of(tree, "components")[0], "comp"):
        kind = _one(_of(part, "libsource")[0], "part")
        fields = [field for group in _of(part, "fields") for field in _of(group, "field")]
        told = [field[2] for field in fields if _one(field, "name") == "Oneway" and len(field) > 2]
        kind = told[0] if told else kind
        found.parts[_one(part, "ref")] = (kind, _one(part, "value"))
    for net in _of(_of(tree, "nets")[0], "net"):
        nodes = {(_one(node, "ref"), str(_one(node, "pin"))) for node in _of(net, "node")}
        found.nets[_one(net, "name")] = nodes
    return found


def read_cable(cable: dict[str, Any]) -> Netlist:
    """A cable as WireViz has it, with `notes: SENDER` or `RECEIVER` at its ends and, where a wire
    joins the two, the label of the wire for the name of its net. `loops` join pins of one plug.
    """
    found = Netlist()
    for name, plug in cable["connectors"].items():
        found.parts[name] = (plug["type"].split(",")[0], plug["notes"])
    joined: list[set[Node]] = []
    labels: dict[Node, str] = {}
    for name, plug in cable["connectors"].items():
        joined += [{(name, str(pin)) for pin in loop} for loop in plug.get("loops", [])]
    for strand in cable["connections"]:
        joined += _strands(cable, strand, labels)
    for nodes in _merged(joined):
        label = {labels[node] for node in nodes if node in labels}
        wires = {node for node in nodes if node not in labels}
        named = "+".join(sorted(label)) or f"{'-'.join(min(wires))} loop"
        found.nets[named] = wires
    return found


def _strands(cable: dict[str, Any], strand: list[Any], labels: dict[Node, str]) -> list[set[Node]]:
    """What one entry of `connections` joins, pairwise."""
    columns = []
    for entry in strand:
        ((name, pins),) = entry.items()
        columns.append([(name, str(pin)) for pin in _numbers(pins)])
        if name in cable["cables"]:
            wires = cable["cables"][name]["wirelabels"]
            labels.update({(name, pin): wires[int(pin) - 1] for _, pin in columns[-1]})
    return [
        {a, b}
        for left, right in itertools.pairwise(columns)
        for a, b in zip(left, right, strict=True)
    ]


def _numbers(pins: Any) -> list[Any]:
    return list(pins) if isinstance(pins, list) else [pins]


def _merged(joined: list[set[Node]]) -> list[set[Node]]:
    out: list[set[Node]] = []
    for pair in joined:
        touching = [nodes for nodes in out if nodes & pair]
        out = [nodes for nodes in out if not nodes & pair]
        out.append(pair.union(*touching))
    return out


def read(path: Path) -> Netlist:
    """A netlist or, by its suffix, a cable. ValueError where it is neither; OSError."""
    text = path.read_text(errors="replace")
    try:
        if path.suffix in {".yml", ".yaml"}:
            import yaml  # only cables need it

            return read_cable(yaml.safe_load(text))
        return read_kicad(text)
    except ImportError as error:
        raise ValueError("to read cables: pip install 'diode-fec[hardware]'") from error
    except Exception as error:  # whatever is wrong with somebody's file, it is not a netlist
        raise ValueError(
            "neither a netlist (in KiCad: File, Export, Netlist) nor a cable of WireViz's (.yml)"
        ) from error


def main(paths: list[str]) -> int:
    if not paths:
        print(__doc__.partition("One part with")[0].strip(), file=sys.stderr)
        return 2
    worst = 0
    for path in map(Path, paths):
        try:
            found = problems(read(path))
        except (OSError, ValueError) as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            worst = 2
            continue
        worst = max(worst, bool(found))
        print(f"{path.name}: {'one-way' if not found else 'NOT PROVED ONE-WAY'}")
        for text in found:
            print(f"    {text}")
    return int(worst)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
