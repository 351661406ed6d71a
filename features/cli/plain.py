"""Where commands print what data hold: ids, titles, messages and reasons, which are no markup."""

from rich.console import Console


def plain_console(width: int | None = None) -> Console:
    """Return standard output: so many characters wide where nobody looks at a terminal, if said.

    Texts are printed as they are. To Rich ``[x]`` would be a style, ``[/x]`` an error, and ``:x:`` may be a picture.
    """
    return Console(width=None if Console().is_terminal else width, markup=False, emoji=False)
