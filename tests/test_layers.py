"""The rules that `ls diode/` shows: imports point one way, files and functions stay short.

All imports are read from the syntax tree, those inside functions too. An import under
`TYPE_CHECKING` is not there when the program runs, so it makes no cycle, but not even for a
type may a pure layer know a service or the command line.
"""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "diode"
TESTS = ROOT / "tests"

# Each may import those before it. Members of one row do not know each other.
LAYERS = [
    {"record_health"},
    {
        "errors",
        "limits",
        "bucket",
        "health",
        "quantity",
        "supply",
        "sent",
        "child",
        "wake",
        "allocator",
    },
    {"events", "keytext", "lettering", "wording"},
    {"ordering", "mtree"},
    {"gf256", "binomial"},
    {"frame"},
    {"stamp", "distinct"},
    {"block", "tag"},
    {"code"},
    {"geometry"},
    {"plan"},
    {"objects", "slots"},
    {"database", "web", "topics", "endpoint", "opcua"},
    {"broker"},
    {"record", "record_group"},
    {"announcements", "bundle", "seal", "cipher", "coder"},
    {"envelope", "receipt"},
    {
        "forecast",
        "schedule",
        "reception",
        "suspect",
        "parity",
        "orphans",
        "admission",
        "linkstats",
        "alignment",
        "linktest",
    },
    {"group", "lanes"},
    {"assembly", "collector", "senders", "incoming", "keyring", "identities", "advice"},
    {"parking", "passes", "ahead", "flow", "inflow", "outflow"},
    {"traffic"},
    {"transmitter", "receiver", "inspection"},
    {"on_air"},
    {"record_forecast"},
    {"constant_rate", "standing"},
]
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
NOT_BELOW_RECEIVER = {
    "transmitter",
    "assembly",
    "passes",
    "schedule",
    "lanes",
    "on_air",
    "constant_rate",
    "flow",
    "traffic",
    "standing",
    "outflow",
}
"""What the receiving core does not know although it stands above it."""

FAMILIES = {
    "carrier": {"service", "cli", "transmitter", "receiver", "sink", "source"},
    "modem": {"service", "cli", "transmitter", "receiver", "sink", "source", "carrier", "line"},
    "line": {"service", "cli", "transmitter", "receiver", "sink", "source", "carrier", "modem"},
    "source": {"service", "cli", "receiver", "collector", "sink", "carrier", "line", "modem"},
    "sink": {"service", "cli", "transmitter", "source", "carrier", "line", "modem"},
    "metrics": {"service", "cli", "sink", "source", "carrier", "line", "modem", "page"},
    "page": {"cli", "sink", "source", "carrier", "line", "modem", "metrics"},
    "acquire": {"cli", "receiver", "sink", "carrier", "line", "modem", "publish"},
    "publish": {"cli", "transmitter", "source", "carrier", "line", "modem", "acquire"},
    "confine": {"service", "cli", "sink", "source", "carrier", "line", "modem", *RANK}
    - {"errors", "objects"},
    "doctor": {"service", "cli", "sink", "source", "line", "modem", *RANK}
    - {"errors", "code", "keytext"},
    "service": {"cli", "page"},
}
"""What each family must not import."""

RECEIVING = (
    "receiver",
    "collector",
    "suspect",
    "parity",
    "orphans",
    "reception",
    "senders",
    "admission",
    "incoming",
    "parking",
    "keyring",
    "identities",
    "sink",
    "service.receiver",
    "service.merged",
    "service.deliveries",
    "service.reading_health",
    "service.vitals",
    "inflow",
    "publish",
    "service.record_store",
    "service.record_delivery",
    "service.record_examining",
    "cli.publishing",
    "cli.recv",
    "cli.receiving",
    "cli.receipt",
    "cli.hooking",
    "cli.watching",
    "ordering",
)
TRANSMITTING = (
    "transmitter",
    "ahead",
    "on_air",
    "constant_rate",
    "outflow",
    "acquire",
    "service.gathering",
    "service.record_spool",
    "service.record_intake",
    "cli.recording",
    "cli.sending",
    "assembly",
    "passes",
    "source",
    "service.sender",
    "service.lanes",
    "service.logbook",
    "service.history",
    "service.resuming",
    "service.returned",
    "cli.course",
    "cli.receipting",
    "cli.preparing",
    "cli.steady",
    "cli.lanes",
    "schedule",
    "lanes",
    "cli.send",
    "cli.sending",
    "cli.piecewise",
)

MAX_FILE = 400
MAX_FUNCTION = 60
LONG_FILES = {
    "diode/receiver.py": (476, "every kind of frame meets the same objects and bounds"),
    "diode/collector.py": (441, "whole, suspect and parked blocks share the same slots"),
    "diode/transmitter.py": (408, "records, flows, the carousel and what is void share one line"),
    "diode/sink/parts.py": (425, "the journal makes sense only beside the part that it speaks of"),
}
LONG_FUNCTIONS: dict[str, tuple[int, str]] = {}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(p): p for p in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def tree(name):
    return ast.parse(MODULES[name].read_text())


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(node, for_types=False):
    """(statement, whether it stands under TYPE_CHECKING) of every import in this tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, for_types
        elif is_type_checking(child):
            yield from statements(ast.Module(child.body, []), True)
            yield from statements(ast.Module(child.orelse, []), for_types)
        else:
            yield from statements(child, for_types)


def imported(statement):
    """The modules of diode that an import names."""
    if isinstance(statement, ast.Import):
        names = [a.name for a in statement.names]
    else:
        assert statement.level == 0, "relative imports hide the layer"
        whole = [f"{statement.module}.{a.name}" for a in statement.names]
        names = [w if w in MODULES else statement.module for w in whole]
    return {n for n in names if n.split(".")[0] == "diode"}


def imports_of(name):
    """(modules imported when the program runs, modules imported for types), diode's own only."""
    found = set(), set()
    for statement, for_types in statements(tree(name)):
        found[for_types].update(imported(statement))
    assert found[0] | found[1] <= MODULES.keys(), f"{name} imports what there is not"
    return found


IMPORTS = {name: imports_of(name) for name in MODULES}


def top(name):
    """`frame` of `diode.frame`, `line` of `diode.line.cobs`, nothing of `diode`."""
    return name.split(".")[1] if "." in name else ""


def family(name):
    return [n for n in MODULES if top(n) == name]


# Direction ----------------------------------------------------------------------------------


def test_every_module_has_a_place():
    placed = RANK.keys() | FAMILIES.keys() | {"", "__main__", "cli"}
    assert {top(n) for n in MODULES} <= placed


@pytest.mark.parametrize("name", [n for n in MODULES if top(n) in RANK])
def test_pure_layers_import_downwards(name):
    runtime, typing = IMPORTS[name]
    for other in runtime:
        if top(other) == top(name):
            continue
        assert top(other) in RANK, f"{name} imports {other}, which is no pure layer"
        assert RANK[top(other)] < RANK[top(name)], f"{name} imports {other}, which is above it"
    assert not {top(o) for o in runtime | typing} & {"service", "cli"}
    if top(name) == "receiver":
        assert not {top(o) for o in runtime | typing} & NOT_BELOW_RECEIVER


@pytest.mark.parametrize("name", [n for n in MODULES if top(n) in FAMILIES])
def test_families_do_not_import_upwards(name):
    runtime, typing = IMPORTS[name]
    wrong = {o for o in runtime | typing if top(o) in FAMILIES[top(name)]}
    assert not wrong, f"{name} imports {wrong}"


def test_only_the_command_line_imports_the_command_line():
    for name, (runtime, typing) in IMPORTS.items():
        if top(name) not in ("cli", "__main__"):
            assert "cli" not in {top(o) for o in runtime | typing}, name


def test_no_cycles():
    """Among imports at the top of modules; one inside a function may close a circle."""
    done = set()

    def visit(name, path):
        assert name not in path, f"a cycle: {' -> '.join([*path, name])}"
        if name in done:
            return
        top_level = [n for n in tree(name).body if isinstance(n, ast.Import | ast.ImportFrom)]
        direct = set().union(*map(imported, top_level))
        for other in sorted(direct):
            visit(other, [*path, name])
        done.add(name)

    for name in MODULES:
        visit(name, [])


# One way ------------------------------------------------------------------------------------


def closure(name):
    """Every module that importing and running this one may load."""
    found, todo = set(), [name]
    while todo:
        one = todo.pop()
        if one in found:
            continue
        found.add(one)
        todo += IMPORTS[one][0]
        parent = one.rpartition(".")[0]
        if parent:
            todo.append(parent)
    return found


def under(names, prefixes):
    whole = [f"diode.{p}" for p in prefixes]
    return sorted(n for n in names if any(n == w or n.startswith(w + ".") for w in whole))


SIDES = pytest.mark.parametrize(
    ("verb", "forbidden"),
    [
        ("send", RECEIVING),
        ("recv", TRANSMITTING),
        ("receipt", TRANSMITTING),
        ("linktest_send", RECEIVING),
        ("linktest_recv", TRANSMITTING),
    ],
    ids=["send", "recv", "receipt", "linktest-send", "linktest-recv"],
)


@SIDES
def test_no_code_of_the_other_side_is_reachable(verb, forbidden):
    reachable = closure(f"diode.cli.{verb}")
    assert len(reachable) > 10
    assert under(reachable, forbidden) == []


@SIDES
def test_no_code_of_the_other_side_is_loaded(verb, forbidden):
    program = f"import sys, diode.cli.{verb}\nprint(*[m for m in sys.modules if m[:5] == 'diode'])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    assert f"diode.cli.{verb}" in loaded
    assert under(loaded, forbidden) == []
    assert set(loaded) <= closure(f"diode.cli.{verb}")


# Size ---------------------------------------------------------------------------------------


def test_files_are_short():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in MODULES.values()}
    worst = max(lengths, key=lengths.get)
    too_long = {
        path: n for path, n in lengths.items() if n > LONG_FILES.get(path, (MAX_FILE, ""))[0]
    }
    assert not too_long, f"{too_long}; the worst is {worst} with {lengths[worst]} lines"
    idle = [path for path in LONG_FILES if lengths[path] <= MAX_FILE]
    assert not idle, f"{idle} need no exception any more"


def functions():
    for name in MODULES:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{node.name}", node.end_lineno - node.lineno + 1


def test_functions_are_short():
    lengths = dict(functions())
    worst = max(lengths, key=lengths.get)
    too_long = {
        name: n
        for name, n in lengths.items()
        if n > LONG_FUNCTIONS.get(name, (MAX_FUNCTION, ""))[0]
    }
    assert not too_long, f"{too_long}; the worst is {worst} with {lengths[worst]} lines"
    lines = sorted(lengths.values())
    assert lines[len(lines) // 2] < 15


# Every module is tested ---------------------------------------------------------------------

TESTED_IN = {
    "diode.limits": "test_receiver.py",
    "diode.ahead": "test_constant_rate.py",
    "diode.cli.preparing": "test_cli_send_recv.py",
    "diode.cli.steady": "test_cli_cbr.py",
    "diode.cli.sending": "test_cli_send_recv.py",
    "diode.cli.piecewise": "test_cli_streaming.py",
    "diode.source.specification": "test_cli_manifest.py",
    "diode.cli.streaming": "test_cli_streaming.py",
    "diode.forecast": "test_plan.py",
    "diode.sink": "test_sink_folder.py",
    "diode.source": "test_source_files.py",
    "diode.assembly": "test_transmitter.py",
    "diode.coder": "test_service_coders.py",
    "diode.child": "test_service_coders.py",
    "diode.database": "test_sink_ledger.py",
    "diode.cli.run_examples": "test_cli_run.py",
    "diode.cli.run_told": "test_cli_run.py",
    "diode.cli.run_receiver": "test_cli_run.py",
    "diode.cli.run_sender": "test_cli_run.py",
    "diode.service.settling": "test_cli_run.py",
    "diode.service.queues": "test_cli_run.py",
    "diode.service.places": "test_cli_run.py",
    "diode.service.leaving": "test_cli_run.py",
    "diode.service.feeding": "test_cli_run.py",
    "diode.service.building": "test_cli_run.py",
    "diode.metrics.textfile": "test_metrics.py",
    "diode.metrics.listener": "test_metrics.py",
    "diode.page.html": "test_page.py",
    "diode.page.plot": "test_page.py",
    "diode.page.view": "test_page.py",
    "diode.sent": "test_transmitter.py",
    "diode.service.record_process": "test_service_gathering.py",
    "diode.service.record_intake": "test_service_gathering.py",
    "diode.service.record_delivery": "test_service_gathering.py",
    "diode.acquire": "test_cli_records.py",
    "diode.acquire.opcua": "test_opcua.py",
    "diode.publish.opcua": "test_opcua.py",
    "diode.publish.apart": "test_opcua.py",
    "diode.publish.syslog": "test_acquire_syslog.py",
    "diode.acquire.mqtt": "test_cli_records.py",
    "diode.publish": "test_service_gathering.py",
    "diode.publish.mqtt": "test_cli_records.py",
    "diode.broker": "test_cli_records.py",
    "diode.cli.recording": "test_cli_records.py",
    "diode.cli.publishing": "test_cli_records.py",
    "diode.service.turns": "test_standing.py",
    "diode.supply": "test_constant_rate.py",
    "diode.traffic": "test_transmitter.py",
    "diode.senders": "test_reception.py",
    "diode.suspect": "test_collector.py",
    "diode.parity": "test_collector.py",
    "diode.admission": "test_signing.py",
    "diode.incoming": "test_receiver.py",
    "diode.parking": "test_receiver.py",
    "diode.service.examining": "test_service_vitals.py",
    "diode.cli.vital": "test_cli_status.py",
    "diode.cli.status_sender": "test_cli_status.py",
    "diode.cli.status_tables": "test_cli_status.py",
    "diode.cli.status_words": "test_cli_status.py",
    "diode.sink.audit": "test_cli_verify.py",
    "diode.sink.memory": "test_sink_folder.py",
    "diode.sink.tables": "test_sink_ledger.py",
    "diode.sink.age": "test_sink_folder.py",
    "diode.sink.files": "test_sink_parts.py",
    "diode.sink.place": "test_sink_folder.py",
    "diode.sink.trouble": "test_sink_folder.py",
    "diode.keyring": "test_signing.py",
    "diode.service.resuming": "test_service_logbook.py",
    "diode.service.history": "test_cli_receipt.py",
    "diode.service.returned": "test_cli_receipt.py",
    "diode.service.receipts": "test_cli_receipt.py",
    "diode.service.hook_journal": "test_cli_hooking.py",
    "diode.service.hook_process": "test_cli_hooking.py",
    "diode.cli.hook_facts": "test_cli_hooking.py",
    "diode.cli.receipting": "test_cli_receipt.py",
    "diode.cli.receiving": "test_cli_send_recv.py",
    "diode.lettering": "test_receipt.py",
    "diode.sink.tally": "test_cli_receipt.py",
    "diode.cli.course": "test_cli_resume.py",
    "diode.cli.storing": "test_cli_store.py",
    "diode.source.departing": "test_source_drop.py",
    "diode.source.allowing": "test_source_drop.py",
    "diode.source.watch": "test_source_drop.py",
    "diode.service.strict": "test_service_config.py",
    "diode.service.keys": "test_cli_keygen.py",
    "diode.cli.signing": "test_cli_sign.py",
    "diode.cli.verifying": "test_cli_sign.py",
    "diode": "test_layers.py",
    "diode.__main__": "test_cli_send_recv.py",
    "diode.cli": "test_cli_send_recv.py",
    "diode.cli.options": "test_cli_send_recv.py",
    "diode.cli.progress": "test_cli_send_recv.py",
    "diode.cli.recv": "test_cli_send_recv.py",
    "diode.cli.watching": "test_cli_send_recv.py",
    "diode.cli.report": "test_cli_send_recv.py",
    "diode.cli.send": "test_cli_send_recv.py",
    "diode.cli.complete": "test_cli_completion.py",
    "diode.cli.service": "test_service_install.py",
    "diode.service": "test_cli_send_recv.py",
    "diode.service.observer": "test_service_receiver.py",
    "diode.service.receiver": "test_cli_send_recv.py",
    "diode.service.sender": "test_cli_send_recv.py",
    "diode.carrier": "test_carrier_url.py",
    "diode.carrier.apart": "test_one_way.py",
    "diode.carrier.reader": "test_carrier_separate.py",
    "diode.cli.confinement": "test_one_way.py",
    "diode.confine": "test_one_way.py",
    "diode.confine.landlock": "test_one_way.py",
    "diode.confine.seccomp": "test_one_way.py",
    "diode.carrier.absence": "test_carrier_serial.py",
    "diode.carrier.channel": "test_carrier_impaired.py",
    "diode.carrier.ethernet": "test_carrier_url.py",
    "diode.carrier.interface": "test_carrier_udp.py",
    "diode.carrier.sockets": "test_carrier_udp.py",
    "diode.carrier.udp_receiving": "test_carrier_udp.py",
    "diode.carrier.udp_sending": "test_carrier_udp.py",
    "diode.carrier.descriptor": "test_carrier_pipe.py",
    "diode.carrier.impairment": "test_carrier_impaired.py",
    "diode.carrier.pace": "test_carrier_file.py",
    "diode.carrier.ports": "test_carrier_serial.py",
    "diode.carrier.terminal": "test_carrier_serial.py",
    "diode.line": "test_line_cobs.py",
    "diode.modem": "test_modem_auto.py",
    "diode.modem.discriminator": "test_modem_afsk.py",
    "diode.modem.segment": "test_modem_afsk.py",
    "diode.modem.soft": "test_modem_tones.py",
    "diode.modem.words": "test_modem_mfsk.py",
    "diode.cli.doctor": "test_doctor.py",
    "diode.cli.listening": "test_cli_sound.py",
    "diode.cli.picture": "test_cli_sound.py",
    "diode.advice": "test_linktest.py",
    "diode.record_health": "test_service_record_vitals.py",
    "diode.service.record_examining": "test_service_record_vitals.py",
    "diode.service.record_presence": "test_service_record_vitals.py",
    "diode.cli.alarming": "test_service_record_vitals.py",
    "diode.cli.status_records": "test_service_record_vitals.py",
    "diode.alignment": "test_linktest.py",
    "diode.linkstats": "test_linktest.py",
    "diode.service.linktest": "test_cli_linktest.py",
    "diode.cli.plan_objects": "test_cli_plan.py",
    "diode.cli.plan_report": "test_cli_plan.py",
    "diode.cli.plan_records": "test_cli_plan.py",
    "diode.record_forecast": "test_cli_plan.py",
    "diode.cli.linktest_plot": "test_cli_linktest.py",
    "diode.cli.linktest_recv": "test_cli_linktest.py",
    "diode.cli.linktest_report": "test_cli_linktest.py",
    "diode.cli.linktest_send": "test_cli_linktest.py",
    "diode.line.codeword": "test_line_rs.py",
    "diode.line.salvage": "test_line_cobs.py",
    "diode.code": "test_code.py",
    "diode.code.guard": "test_code.py",
    "diode.code.leopard": "test_code_wide.py",
    "diode.code.raptorq": "test_code_wide.py",
    "diode.code.isal": "test_code.py",
    "diode.code.repeat": "test_code.py",
    "diode.code.zfec": "test_code.py",
}
"""Modules whose tests do not stand in a file of their own name."""


def candidates(name):
    """test_line_cobs.py for diode.line.cobs, or what is said above."""
    if name in TESTED_IN:
        return [TESTED_IN[name]]
    parts = name.split(".")[1:]
    return ["_".join(["test", *parts]) + ".py", f"test_{parts[0]}.py"]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_test_file(name):
    assert any((TESTS / c).is_file() for c in candidates(name)), f"none of {candidates(name)}"
