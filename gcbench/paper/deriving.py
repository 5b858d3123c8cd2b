"""What gcbench derives of the rows of the paper's tables: counted now, from real modules."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gcbench import networks
from gcbench.measure.counting.meta import meta_pass
from gcbench.paper.printed import PrintedRow
from gcbench.spec.cases import Axes, Comparison, Network


@dataclass(frozen=True)
class Derived:
    """What a row's network has: parameters, MACs, those of convolutions among them, blocks."""

    params: int
    macs: int
    conv_macs: int
    inserted: int


@lru_cache(maxsize=128)
def derive(row: PrintedRow, size: tuple[int, int], whole: bool) -> Derived:
    """Build a row's network with its blocks on the meta device, and count one image of it."""
    case = compared([row], whole, Axes(size=size), "cpu").cases[-1]
    module = networks.build_meta(case)
    passed = meta_pass(module, case)
    return Derived(passed.params, passed.macs, passed.conv_macs, len(module.put))


def compared(rows: Sequence[PrintedRow], whole: bool, axes: Axes, device: str) -> Comparison:
    """Put rows of one network beside the plain network, in their order; that comes first."""
    insertions = [networks.read_insertion(row.insert) for row in rows if row.insert]
    network = Network(networks.resolve(rows[0].network), whole=whole)
    return networks.comparison_inside(network, insertions, [axes.ratio], axes, device)
