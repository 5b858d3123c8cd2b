"""Measured ceilings of this machine's devices: kept where they are known, measured where not."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gcbench.measure import environment
from gcbench.measure.peaks import kept
from gcbench.records import Manifest, Peaks
from gcbench.spec.cases import Case
from gcbench.stats.machine_flags import was_loaded

Log = Callable[[str], None]


class Ceilings:
    """The ceilings of this machine's devices, each looked for once as long as this lives.

    What this machine does not know yet, or no longer, is measured and kept.
    """

    def __init__(self, manifest: Manifest, tell: Log, on_step: Log) -> None:
        """Take the machine as it is now.

        `on_step` gets what is measured, `tell` a sentence where something is stale or cannot be
        kept.
        """
        self._manifest, self._tell, self._on_step = manifest, tell, on_step
        self._known: dict[tuple[str, int | None], Peaks] = {}

    def of(self, cases: Iterable[Case]) -> tuple[Peaks, ...]:
        """The ceilings that cases are held against: one for each device and number of threads."""
        wanted: dict[tuple[str, int | None], list[str]] = {}
        for case in cases:
            threads = (case.threads or self._manifest.threads) if case.device == "cpu" else None
            dtypes = wanted.setdefault((case.device, threads), [])
            if case.dtype not in dtypes:
                dtypes.append(case.dtype)
        return tuple(self._found(*place, dtypes) for place, dtypes in wanted.items())

    def _found(self, device: str, threads: int | None, dtypes: Sequence[str]) -> Peaks:
        known = self._known.get((device, threads))
        if known is None or not known.dtypes >= set(dtypes):
            known = of_device(self._manifest, device, threads, dtypes, self._tell, self._on_step)
            self._known[device, threads] = known
        return known


def anew(
    manifest: Manifest,
    device: str,
    threads: int | None,
    dtypes: Sequence[str],
    tell: Log,
    on_step: Log,
) -> Peaks:
    """Measure all ceilings of a device, also those that last, and keep them.

    What a quiet moment told is not given up for what a busy one does. `on_step` gets what is
    measured next, `tell` a sentence where they cannot be kept.
    """
    from gcbench.measure.peaks import measuring

    name = environment.device_id(device)
    known = kept.find(manifest, device, name, threads, lambda text: None)
    found = measuring.measure(manifest, device, threads, dtypes, sustained=True, tell=on_step)
    kept.keep(manifest, joined(known, found), name, tell)
    return found


def of_device(
    manifest: Manifest,
    device: str,
    threads: int | None,
    dtypes: Sequence[str],
    tell: Log,
    on_step: Log,
) -> Peaks:
    """The ceilings of a device for some dtypes, from what is kept or measured.

    What a busy machine told is measured anew in a quiet moment, and nothing else is.
    """
    name = environment.device_id(device)
    known = kept.find(manifest, device, name, threads, tell)
    if known is None:
        changes = kept.changes(manifest, device, name, threads)
        if changes:
            what = "; ".join(changes)
            tell(f"measuring the peaks of {device} once for this state of the machine ({what})")
    doubted = () if known is None or was_loaded(manifest) else tuple(known.busy)
    wanted = [each for each in dtypes if known is None or each not in known.dtypes - {*doubted}]
    if known and not wanted and "copies" not in doubted:
        return known
    if {*doubted} & {*wanted, "copies"}:
        tell(f"the peaks of {device} were measured while the machine was busy: measuring them anew")
    from gcbench.measure.peaks import measuring

    def step(what: str) -> None:
        on_step(f"measuring, once, the peaks of {device}: {what}")

    copies = None if "copies" in doubted else known
    found = measuring.measure(manifest, device, threads, wanted, tell=step, known=copies)
    found = joined(known, found)
    kept.keep(manifest, found, name, tell)
    return found


def joined(known: Peaks | None, found: Peaks) -> Peaks:
    """What was found, and what was known of all else.

    A busy moment tells less than a quiet one; of two busy ones the faster counts.
    """
    if known is None:
        return found
    stays = {part for part in {*known.dtypes, "copies"} if _stays(part, known, found)}

    def rates(of: str) -> dict[str, float]:
        old, new = getattr(known, of), getattr(found, of)
        return {**old, **{dtype: rate for dtype, rate in new.items() if dtype not in stays}}

    busy = {part: flags for part, flags in found.busy.items() if part not in stays}
    busy |= {part: flags for part, flags in known.busy.items() if part in stays}
    moved = known if "copies" in stays else found
    return replace(
        found,
        product_flops_per_s=rates("product_flops_per_s"),
        convolution_flops_per_s=rates("convolution_flops_per_s"),
        sustained_flops_per_s=rates("sustained_flops_per_s"),
        roads=(
            *(rate for rate in known.roads if rate.dtype in stays),
            *(rate for rate in found.roads if rate.dtype not in stays),
        ),
        copies=moved.copies,
        launch_us=moved.launch_us,
        busy=busy,
        flags=tuple(sorted({flag for flags in busy.values() for flag in flags})),
    )


def _stays(part: str, known: Peaks, found: Peaks) -> bool:
    """Whether what is known of a part, a dtype or `copies`, is worth more than what was found."""
    if part != "copies" and part not in found.dtypes:
        return True
    if part not in found.busy or part not in known.busy:
        return part in found.busy
    return _rate(known, part) > _rate(found, part)


def _rate(peaks: Peaks, part: str) -> float:
    if part == "copies":
        return max((rate for _, rate in peaks.copies), default=0.0)
    best = peaks.best(part)
    return (best and best.flops_per_s) or 0.0
