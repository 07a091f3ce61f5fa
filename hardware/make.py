"""Everything generated of the hardware pages, from its sources.

    python hardware/make.py [FOLDER]     into hardware/generated, and the tables into the pages

circuits.py gives netlists, schematics.py drawings, cables/ WireViz drawings and lists of
material, spice.py the simulations. Tables stand in the pages between `<!-- table NAME -->` and
`<!-- end -->`. With a FOLDER nothing else is touched: that is how the tests look whether
the files that are checked in are those that come out. `made-with.txt` names the versions of the
programs and the font, since with others a line may be drawn elsewhere.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
GENERATED = HERE / "generated"
PAGES = (*sorted(HERE.glob("*.md")), HERE.parent / "firmware-notes/firmware.md")
LIBRARIES = ("matplotlib", "schemdraw", "skidl", "wireviz")


def cables(target: Path) -> None:
    wireviz = Path(sys.executable).with_name("wireviz")
    files = sorted((HERE / "cables").glob("*.yml"))
    command = [wireviz, "--format", "st", "--output-dir", target, *files]
    subprocess.run(command, check=True, capture_output=True)
    for svg in target.glob("rs232-*.svg"):
        svg.write_text(svg.read_text().rstrip() + "\n")


def versions() -> str:
    """One a line; the programs say theirs in their own ways."""
    said = {name: importlib.metadata.version(name) for name in LIBRARIES}
    for name, option in (("dot", "-V"), ("ngspice", "-v")):
        ran = subprocess.run([name, option], capture_output=True, text=True, check=False)
        found = re.search(r"\d+(\.\d+)*", ran.stdout + ran.stderr)
        said[name] = found[0] if found else "?"
    # Graphviz makes boxes as wide as their text is in the font that stands in for Arial here.
    ran = subprocess.run(["fc-match", "-f", "%{file}", "arial"], capture_output=True, check=False)
    said["arial"] = Path(ran.stdout.decode()).name
    return "".join(f"{name} {version}\n" for name, version in sorted(said.items()))


# Tables -------------------------------------------------------------------------------------------


def material(netlist: Path) -> str:
    """The parts of a circuit, equal ones together."""
    from oneway import read_kicad

    parts = read_kicad(netlist.read_text()).parts
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for ref, (kind, value) in parts.items():
        rows[kind, value.removeprefix("SENDER ").removeprefix("RECEIVER ")].append(ref)
    lines = ["| parts | | |", "|---|---|---|"]
    for (kind, value), refs in sorted(rows.items(), key=lambda row: row[1]):
        lines.append(f"| {', '.join(sorted(refs))} | {kind} | {value if value != kind else ''} |")
    return "\n".join(lines)


def wires(listed: Path) -> str:
    """WireViz's list of material."""
    lines = ["| parts | | |", "|---|---|---|"]
    for line in listed.read_text().splitlines()[1:]:
        _, what, count, unit, where = line.split("\t")
        lines.append(f"| {where} | {what} | {count} {unit} |".replace("  |", " |"))
    return "\n".join(lines)


def tables(made: Path) -> dict[str, str]:
    import spice
    import uart

    results = json.loads((made / "spice.json").read_text())
    slow = [name for name in results if "RS-232" in name]
    found = {
        "uart": uart.table(),
        "couplers": spice.table(results, ["6N137, 470 ohm", "HCPL-7723"]),
        "phototransistor": spice.table(results, ["4N35, 1 k"]),
        "rs232": spice.table(results, slow),
    }
    found |= {f"parts {path.stem}": material(path) for path in sorted(made.glob("*.net"))}
    return found | {f"parts {p.name[:-8]}": wires(p) for p in sorted(made.glob("*.bom.tsv"))}


def filled(page: str, made: Path) -> str:
    """A page with its tables as they are now. KeyError for one that nobody makes."""
    of = tables(made)

    def table(match: re.Match[str]) -> str:
        return f"<!-- table {match[1]} -->\n{of[match[1]]}\n<!-- end -->"

    return re.sub(r"<!-- table ([^>]*?) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def main(target: Path) -> int:
    import circuits
    import oneway
    import schematics
    import spice

    worst = circuits.main(target)
    schematics.main(target)
    cables(target)
    spice.main(target)
    (target / "made-with.txt").write_text(versions())
    ways = [*sorted((HERE / "cables").glob("*.yml")), *sorted(target.glob("*.net"))]
    return worst | oneway.main([str(path) for path in ways])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    code = main(GENERATED)
    for place in PAGES:
        place.write_text(filled(place.read_text(), GENERATED))
    sys.exit(code)
