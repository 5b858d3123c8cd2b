"""What of a person's own code has to be on every node: the files that blocks need, and no more.

That is each module or package that a block names, and what those import from the same folder, in
functions too. Of a package all files are taken that are no data of some size.
"""

import shutil
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from modulefinder import ModuleFinder
from pathlib import Path

from gcbench.errors import UsageError
from gcbench.registry import look_here
from gcbench.spec.cases import parse_block
from gcbench.units import size_text

# a file of a package that is larger is data, and stays
LARGEST_FILE = 2**20
LARGEST = 64 * 2**20
_LEFT = ("__pycache__", "node_modules", "build", "dist")


def ship(blocks: Iterable[str], folder: Path) -> list[str]:
    """Copy into a folder what blocks, by their specs, need of modules that are not installed.

    Returns the top names of what was copied. Raises UsageError where that is too much.
    """
    wanted = [Path(place) for name in _modules(blocks) for place in _own(name)]
    found: dict[str, Path] = {}
    while wanted:
        place = wanted.pop()
        if place.name not in found:
            found[place.name] = place
            wanted += _imported(place)
    total = sum(_copy(place, folder) for place in found.values())
    if total > LARGEST:
        raise UsageError(
            f"the modules {', '.join(sorted(found))} are {size_text(total)}, more than the "
            f"{size_text(LARGEST)} that are sent to nodes: install them there"
        )
    return sorted(found)


def _modules(blocks: Iterable[str]) -> Iterator[str]:
    for block in blocks:
        module, _, attribute = parse_block(block).target.partition(":")
        if attribute:
            yield module.partition(".")[0]


def _own(name: str) -> Iterator[Path]:
    """Where a top-level module lies, unless it is installed as nodes may have it too.

    It is looked for and not imported: what that does is tried in another process.
    """
    look_here()
    spec = find_spec(name)
    places: list[Path] = []
    if spec and spec.submodule_search_locations is not None:
        places = [Path(folder) for folder in spec.submodule_search_locations]
    elif spec and spec.has_location and spec.origin:
        places = [Path(spec.origin)]
    yield from (place.resolve() for place in places if not _is_installed(place.resolve()))


def _is_installed(place: Path) -> bool:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(kind) for kind in kinds}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    ours = Path(__file__).resolve().parents[2]
    return place.is_relative_to(ours) or any(
        place.is_relative_to(Path(folder).resolve()) for folder in folders
    )


def _imported(place: Path) -> Iterator[Path]:
    """What a module or package imports from the folder in which it lies."""
    beside = place.parent
    for file in [place] if place.is_file() else place.rglob("*.py"):
        finder = ModuleFinder(path=[str(beside)])
        try:
            finder.run_script(str(file))
        except (SyntaxError, OSError, ValueError):
            continue  # whoever imports it is told
        for name in {name.partition(".")[0] for name in finder.modules} - {"__main__"}:
            if name not in sys.stdlib_module_names:
                single = beside / f"{name}.py"
                yield single if single.is_file() else beside / name


def _copy(place: Path, folder: Path) -> int:
    """Copy a module, or a package less its data; returns the bytes."""
    if place.is_file():
        shutil.copy(place, folder / place.name)
        return place.stat().st_size
    total = 0
    for file in _files(place):
        into = folder / place.name / file.relative_to(place)
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, into)
        total += file.stat().st_size
    return total


def _files(package: Path) -> Iterator[Path]:
    for file in sorted(package.rglob("*")):
        inside = file.relative_to(package).parts
        hidden = any(part.startswith(".") or part in _LEFT for part in inside)
        if not hidden and file.is_file() and file.stat().st_size <= LARGEST_FILE:
            yield file
