"""diode completion: what makes a shell complete diode's words.

The scripts call `diode` with the line so far in the environment, and click finds the words: verbs,
options and choices from the command line's own definitions, the rest from complete.py. The
scripts are not click's, because words with a colon in them, as carrier URLs are, need care:

    bash   cuts a word at each colon and equals sign, and wants only the piece behind the last one.
           So the line is taken as a whole, cut here, and what bash has already is left out again.
    zsh    takes a colon for the beginning of a description.
    fish   wants words and descriptions with a tab between them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from click.shell_completion import ShellComplete, add_completion_class, split_arg_string

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_BASH = r"""# Completion of bash for diode; made by: diode completion bash
%(complete_func)s() {
    local IFS=$'\n' response type value
    COMPREPLY=()
    response=$(env DIODE_LINE="${COMP_LINE:0:COMP_POINT}" DIODE_WORD="${COMP_WORDS[COMP_CWORD]}" \
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    while IFS=$'\t' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            more) COMPREPLY+=("$value"); compopt -o nospace ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done <<<"$response"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
_ZSH = r"""#compdef %(prog_name)s
# Completion of zsh for diode; made by: diode completion zsh
_%(prog_name)s() {
    local -a response plain more
    local line type value help
    (( $+commands[%(prog_name)s] )) || return 1
    response=("${(@f)$(env DIODE_LINE="${(j: :)words[1,CURRENT]}" \
        %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")
    for line in $response; do
        IFS=$'\t' read -r type value help <<<"$line"
        value=${value//:/\\:}
        case $type in
            dir) _path_files -/ ;;
            file) _path_files ;;
            more) more+=("$value${help:+:$help}") ;;
            plain) plain+=("$value${help:+:$help}") ;;
        esac
    done
    (( $#more )) && _describe -V %(prog_name)s more -S ''
    (( $#plain )) && _describe -V %(prog_name)s plain
}
# Loaded from $fpath this file is the function's first call; sourced it only says what it is for.
if [[ $funcstack[1] == _%(prog_name)s ]]; then
    _%(prog_name)s "$@"
else
    compdef _%(prog_name)s %(prog_name)s
fi
"""
_FISH = r"""# Completion of fish for diode; made by: diode completion fish
function %(complete_func)s
    set -l line (commandline -cp)
    set -lx DIODE_LINE "$line"
    set -lx %(complete_var)s fish_complete
    set -l response (%(prog_name)s 2>/dev/null)
    for one in $response
        set -l parts (string split \t -- $one)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case '*'
                string join \t -- $parts[2..]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Shell(ShellComplete):
    """A shell that tells the line up to the cursor."""

    source_template = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("DIODE_LINE", "")
        words = split_arg_string(line)
        begun = bool(line) and (not line[-1].isspace() or _open(line))
        return (words[1:-1], words[-1]) if begun and words else (words[1:], "")

    def format_completion(self, item: CompletionItem[str]) -> str:
        help_ = " ".join((item.help or "").split())
        return "\t".join([item.type, _clean(item.value), *([help_] if help_ else [])])


class Bash(_Shell):
    name = "bash"
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        arguments, word = super().get_completion_args()
        # What bash will put another text in the place of: the piece behind the last break.
        piece = os.environ.get("DIODE_WORD", "").lstrip("'\"")
        if piece in (":", "=", "&", "?"):
            piece = ""
        self._known = word.removesuffix(piece) if word.endswith(piece) else ""
        return arguments, word

    def format_completion(self, item: CompletionItem[str]) -> str:
        return f"{item.type}\t{_clean(item.value).removeprefix(self._known)}"


class Zsh(_Shell):
    name = "zsh"
    source_template = _ZSH


class Fish(_Shell):
    name = "fish"
    source_template = _FISH


SHELLS: dict[str, type[_Shell]] = {one.name: one for one in (Bash, Zsh, Fish)}


def _open(line: str) -> bool:
    """Whether a quote is open at the end, so that a space belongs to the word."""
    quote = ""
    escaped = False
    for c in line:
        if escaped:
            escaped = False
        elif c == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
    return bool(quote) or escaped


def _clean(value: str) -> str:
    """What would break a line in two is in no name that is offered."""
    return "" if any(c in value for c in "\t\n\r") else value


def script(shell: str) -> str:
    """The text that a shell reads."""
    from diode.cli import COMPLETING, diode

    return SHELLS[shell](diode, {}, "diode", COMPLETING).source()


def ready() -> None:
    """Let click know these shells."""
    for one in SHELLS.values():
        add_completion_class(one)


@click.command(short_help="print what makes a shell complete diode's words")
@click.argument("shell", type=click.Choice(list(SHELLS)))
def command(shell: str) -> int:
    """Print the script that makes bash, zsh or fish complete verbs, options, ports and files.

    \b
      diode completion bash | sudo tee /usr/share/bash-completion/completions/diode
      source <(diode completion bash)                                for this shell only
      diode completion zsh > ~/.zfunc/_diode                         a folder of $fpath
      diode completion fish > ~/.config/fish/completions/diode.fish

    Where diode was installed for all, a package has put it there already.
    """
    click.echo(script(shell), nl=False)
    return 0
