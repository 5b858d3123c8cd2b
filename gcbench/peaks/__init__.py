"""Measured ceilings of this machine's devices: kept where they are known, measured where not."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gcbench import environment
from gcbench.disturbance import was_loaded
from gcbench.peaks import kept
from gcbench.records import Manifest, Peaks
from gcbench.spec import Case

Tell = Callable[[str], None]


class Ceilings:
    """The ceilings of this machine's devices, each looked for once as long as this lives.

    What this machine does not know yet, or no longer, is measured and kept.
    """

    def __init__(self, manifest: Manifest, tell: Tell, on_step: Tell) -> None:
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
        if known is None or not known.product_flops_per_s.keys() >= set(dtypes):
            known = of_device(self._manifest, device, threads, dtypes, self._tell, self._on_step)
            self._known[device, threads] = known
        return known


def anew(
    manifest: Manifest,
    device: str,
    threads: int | None,
    dtypes: Sequence[str],
    tell: Tell,
    on_step: Tell,
) -> Peaks:
    """Measure all ceilings of a device, also those that last, and keep them.

    `on_step` gets what is measured next, `tell` a sentence where they cannot be kept.
    """
    from gcbench.peaks import measuring

    found = measuring.measure(manifest, device, threads, dtypes, sustained=True, tell=on_step)
    kept.keep(manifest, found, environment.device_id(device), tell)
    return found


def of_device(
    manifest: Manifest,
    device: str,
    threads: int | None,
    dtypes: Sequence[str],
    tell: Tell,
    on_step: Tell,
) -> Peaks:
    """The ceilings of a device for some dtypes, from what is kept or measured."""
    name = environment.device_id(device)
    known = kept.find(manifest, device, name, threads, tell)
    if known and known.flags and not was_loaded(manifest):
        tell(f"the peaks of {device} were measured while the machine was busy: measuring them anew")
        known = None
    missing = [dtype for dtype in dtypes if not known or dtype not in known.product_flops_per_s]
    if known and not missing:
        return known
    from gcbench.peaks import measuring

    def step(what: str) -> None:
        on_step(f"measuring, once, the peaks of {device}: {what}")

    found = measuring.measure(manifest, device, threads, missing, tell=step)
    if known:
        found = replace(
            found,
            product_flops_per_s=known.product_flops_per_s | found.product_flops_per_s,
            convolution_flops_per_s=known.convolution_flops_per_s | found.convolution_flops_per_s,
            sustained_flops_per_s=known.sustained_flops_per_s,
        )
    kept.keep(manifest, found, name, tell)
    return found
