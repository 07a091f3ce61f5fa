"""diode linktest: measure a link from both ends. Each end is a module of its own."""

from __future__ import annotations

import importlib

import click

ENDS = ("send", "recv")


class Ends(click.Group):
    """The two ends, each `command` of its module, imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(ENDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in ENDS:
            return None
        command = importlib.import_module(f"diode.cli.linktest_{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Ends, short_help="measure a link, advise settings")
def command() -> None:
    """Measure a link: what is lost, in what bursts, how bits and bytes fare; and advise settings.

    \b
      diode linktest recv --from 'serial:/dev/ttyUSB1?baud=115200'    first the listener
      diode linktest send --to 'serial:/dev/ttyUSB0?baud=115200'      then the other end
    """
