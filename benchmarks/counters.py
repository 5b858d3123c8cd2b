"""Which counter is right: seven tools over modules of known cost.

Needs the extra `counters`. Every count is made in a copy of this process, since some tools leave
patches in torch. Known are: by hand, modules that people bring; timm's classes of attention, by the
functions that each calls; the smallest classifier of each of torchvision's families, by the
metadata of its weights, to its digits. `near` is within 1 %: such tools count norms, biases or
activations too.
"""

import argparse
import contextlib
import importlib.metadata
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torchvision.models import get_model_builder

import gcbench
from gcbench.system.forked import ForkError, forked

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import brought
import by_functions
import shipped


@dataclass(frozen=True)
class Known:
    """A module whose cost is known: MACs, to a number of digits behind the point of a G or all."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    macs: int
    digits: int | None = None

    def judge(self, found: int) -> str:
        """Right, near or wrong."""
        if self.digits is None:
            right = found == self.macs
        else:
            right = round(found / 1e9, self.digits) == round(self.macs / 1e9, self.digits)
        if right:
            return "right"
        return "near" if abs(found - self.macs) <= 0.01 * self.macs else "wrong"


# --- the tools: MACs of a module on an input ------------------------------------------------------


def by_gcbench(module: nn.Module, x: torch.Tensor) -> int:
    if x.ndim == 4:
        return gcbench.count(module, tuple(x.shape)).macs
    from gcbench.measure.counting.account import watched
    from gcbench.measure.workload import Workload

    work = Workload(module, x)
    work.settle()
    return watched(work).macs


def by_fvcore(module: nn.Module, x: torch.Tensor) -> int:
    from fvcore.nn import FlopCountAnalysis

    return int(FlopCountAnalysis(module.eval(), x).total())


def by_torch(module: nn.Module, x: torch.Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(x)
    return counter.get_total_flops() // 2


def by_ptflops(module: nn.Module, x: torch.Tensor) -> int:
    from ptflops import get_model_complexity_info

    macs, _ = get_model_complexity_info(
        module.eval(), tuple(x.shape[1:]), as_strings=False, print_per_layer_stat=False
    )
    return int(macs)


def by_thop(module: nn.Module, x: torch.Tensor) -> int:
    from thop import profile

    return int(profile(module.eval(), inputs=(x,), verbose=False)[0])


def by_torchinfo(module: nn.Module, x: torch.Tensor) -> int:
    from torchinfo import summary

    return int(summary(module.eval(), input_data=x, verbose=0).total_mult_adds)


def by_calflops(module: nn.Module, x: torch.Tensor) -> int:
    from calflops import calculate_flops

    return int(
        calculate_flops(module.eval(), args=[x], output_as_string=False, print_results=False)[1]
    )


TOOLS = {
    "gcbench": by_gcbench,
    "fvcore": by_fvcore,
    "torch": by_torch,
    "ptflops": by_ptflops,
    "thop": by_thop,
    "torchinfo": by_torchinfo,
    "calflops": by_calflops,
}


# --- what is known --------------------------------------------------------------------------------


def by_hand() -> Iterator[Known]:
    """Modules that people bring, with their MACs by hand."""
    shape = 1, 16, 6, 5
    for name, kind in list(vars(brought).items()):
        if isinstance(kind, type) and hasattr(kind, "expect"):
            yield Known(name, lambda kind=kind: kind(16), shape, kind.expect(*shape)[1])


def of_timm() -> Iterator[Known]:
    """timm's classes of attention, on one input; MACs of the functions that each calls."""
    for name, (_, shape) in shipped.TIMM.items():
        one = (1, *shape[1:])
        macs = by_functions.macs_of(shipped.attention(name), torch.randn(one))
        yield Known(name, partial(shipped.attention, name), one, macs)


def of_torchvision() -> Iterator[Known]:
    """The smallest classifier of each family; MACs of its metadata, to three digits of a G."""
    families: dict[str, list[str]] = {}
    for name in shipped.CLASSIFIERS:
        families.setdefault(get_model_builder(name).__module__, []).append(name)
    for names in families.values():
        name = min(names, key=lambda each: shipped.told(each)[2])
        side, _, gmacs = shipped.told(name)
        shape = 1, 3, side, side
        yield Known(name, partial(shipped.classifier, name), shape, round(gmacs * 1e9), 3)


SETS = {"by hand": by_hand, "timm": of_timm, "torchvision": of_torchvision}


def outcome(tool: str, known: Known, module: nn.Module, limit_s: float) -> tuple[str, str]:
    """What a tool made of a module: right, near, wrong or refused; and what it said."""

    def count() -> int:
        warnings.simplefilter("ignore")
        return TOOLS[tool](module, torch.randn(known.shape))

    try:
        found = forked(count, limit_s)
    except ForkError as error:
        return "refused", str(error)
    return known.judge(found), f"{found:,} for {known.macs:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--set", choices=SETS, action="append", help="Default: all.")
    parser.add_argument("--tool", choices=TOOLS, action="append", help="Default: all.")
    parser.add_argument("--limit", type=float, default=120.0, help="Seconds for one count.")
    parser.add_argument("--json", type=Path, help="Write every outcome here.")
    asked = parser.parse_args()
    tools = asked.tool or list(TOOLS)
    for tool in tools:
        # once, here, and not in every copy of this process
        with contextlib.suppress(ImportError):
            __import__(tool)
    told: dict[str, dict[str, dict[str, tuple[str, str]]]] = {}
    for name in asked.set or SETS:
        for known in SETS[name]():
            torch.manual_seed(0)
            module = known.build()
            for tool in tools:
                found = outcome(tool, known, module, asked.limit)
                told.setdefault(tool, {}).setdefault(name, {})[known.name] = found
                print(f"{tool:10} {known.name:30} {found[0]:8} {found[1][:120]}", file=sys.stderr)
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1) + "\n")
    print(f"| tool | version | {' | '.join(next(iter(told.values())))} |")
    print("|---|---|" + "---|" * len(next(iter(told.values()))))
    for tool, sets in told.items():
        cells = [_cell(Counter(word for word, _ in found.values())) for found in sets.values()]
        print(f"| {tool} | {importlib.metadata.version(tool)} | {' | '.join(cells)} |")


def _cell(counts: Counter[str]) -> str:
    return " / ".join(str(counts[word]) for word in ("right", "near", "wrong", "refused"))


if __name__ == "__main__":
    main()
