"""Options: what each is called, what it takes, and which commands take it. No torch, no typer.

An option is declared once. From its line come a command's signature and help (`cli.taking`), its
key in a TOML file and how it is written back (`config`), its environment variable, and whether it
may be said again when a run is gone on with (`said`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gcbench.options.readers import Given
from gcbench.spec.cases import values_of

# what a command line gives: one text, several, a flag without a value, files
Kind = Literal["text", "texts", "flag", "path", "paths"]
VARIABLES = "GCBENCH_"
INSIDE, AXES, EFFORT, PICTURES = "Inside", "Axes", "How long", "Pictures"
SELECTION, PIVOT = "Which cases, in which order", "Pivot"
TROUBLE, CLUSTER, FILES, RESUMING = "Trouble", "Cluster", "Files", "Going on"
OUTPUT = "Output"
# in the order in which help shows them, behind what has none
PANELS = (
    *(INSIDE, AXES, SELECTION, PIVOT, EFFORT, PICTURES),
    *(TROUBLE, CLUSTER, FILES, RESUMING, OUTPUT),
)


def as_it_is(value: Any) -> Any:
    """Write a value that TOML has as it is."""
    return value


@dataclass(frozen=True)
class Option:
    """One option, or argument, of some commands.

    `read` makes a value of the texts given; without it a command gets them as they are. `usual` is
    the text that stands for it where nobody says it, `also` are other names of it. One with a
    `field` says that of a plan (a field of `Sweep`), and then has its key in the `table` of a file
    (None is before the first), unless `in_files` says no. `variable` tells whether the environment
    may say it, `guard` whether it may be said of a run that is gone on with. What it `excludes`
    gives way where this is said with more weight; what it `implies` are texts for others that are
    not said beside it.
    """

    name: str
    help: str
    commands: tuple[str, ...] = ()
    short: str | None = None
    also: tuple[str, ...] = ()
    kind: Kind = "text"
    metavar: str | None = None
    panel: str | None = None
    argument: bool = False
    required: bool = False
    read: Callable[[Sequence[Given]], Any] | None = None
    written: Callable[[Any], Any] = as_it_is
    usual: str | None = None
    field: str | None = None
    table: str | None = None
    in_files: bool = True
    variable: bool = False
    guard: bool = False
    excludes: tuple[str, ...] = ()
    implies: tuple[tuple[str, str], ...] = ()
    completed: Callable[[str], list[tuple[str, str]]] | None = None

    @property
    def place(self) -> str:
        """How sentences name it: `--max-time`, `BLOCK`."""
        if self.argument:
            return (self.metavar or self.name).strip("[].")
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable_name(self) -> str:
        """Its environment variable, where it has one: `GCBENCH_MAX_TIME`."""
        return f"{VARIABLES}{self.name.upper()}"

    @property
    def has_key(self) -> bool:
        """Whether a file may say it."""
        return self.field is not None and self.in_files

    def usual_text(self) -> str | None:
        """What stands where nobody says it, as help tells it; None where its help says more."""
        if self.usual is not None or self.field is None or "Default:" in self.help:
            return self.usual
        from gcbench.spec.grid import Sweep

        value = Sweep.__dataclass_fields__[self.field].default
        if value is None or isinstance(value, bool) or value == ():
            return None
        written = self.written(value)
        return ",".join(map(str, written)) if isinstance(written, list) else str(written)


def words(choices: Any, between: str = "|") -> str:
    """What an option's value may be, as help shows it."""
    return between.join(values_of(choices))


def named(options: Iterable[Option]) -> dict[str, Option]:
    """Options by their names. Raises ValueError where two of one command have one name."""
    found: dict[str, Option] = {}
    for option in options:
        if option.name in found:
            raise ValueError(f"two options are named {option.name!r}")
        found[option.name] = option
    return found
