"""The steps of the first run on a GPU, in order: their limits, and what each should read.

The ranges are an NVIDIA H100's, or what another card's entry in `CARDS` says; of a card that is
not there nothing is expected.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Value = float | str | None
# the least and the most of a number, or the only right word
Range = tuple[float, float] | str
Ranges = Mapping[str, Range]


@dataclass(frozen=True)
class Step:
    """A function of `gpu_steps`, the seconds that it may take, and what it should read."""

    name: str
    limit_s: float
    expected: Ranges = field(default_factory=dict)


CEILINGS: Ranges = {
    "copy_tb_per_s": (2.8, 3.2),
    "bfloat16_tflop_per_s": (740, 860),
    "launch_us": (3, 5),
}
GC_AT_1X256X56X56: Ranges = {
    "gc_us": (25, 40),
    "gc_host_us": (80, 130),
    "gc_graph_us": (18, 28),
    "gc_bound": "launch",
}
STEPS = (
    Step("versions", 12, {"l2_mib": (50, 50)}),
    Step("waits", 12, {"warm_cycles_per_ns": (1.9, 2.05)}),
    Step("event_pair", 12, {"queue_was_full": "yes", "event_pair_us": (1, 2)}),
    Step("queue", 12, {"launches_until_full": (1000, 1040)}),
    Step("tests", 75, {"tests_failed": (0, 0)}),
    Step("peaks", 35, CEILINGS),
    Step("flush", 12),
    Step("table", 38, GC_AT_1X256X56X56),
    Step("cold", 30, {"floor_us": (0, 17.5), "cold_us": (60, 90), "warm_us": (60, 90)}),
    Step("check", 30, {"trusted": "yes"}),
    Step("twice", 28, {"first_aa": (0.99, 1.01), "second_aa": (0.99, 1.01)}),
    Step("compiled", 34, {"second_by_first_compile": (0.5, 1.5)}),
    Step("variants", 34),
    # no GPU has run these kernels yet, so that nothing is expected of their times
    Step("fast", 22, {"kernels_are_equal": "yes"}),
    Step("sustained", 22, {"nl_sustained_by_burst": (0.95, 1.5)}),
    Step("capture", 20, {"capture": "refused", **CEILINGS}),
    Step("do_bench", 18, {"by_do_bench": (0.98, 1.02)}),
    Step("networks", 34, {"cases_that_sync": (0, 0)}),
)
CARDS: Mapping[str, Ranges] = {
    "H100": {},
    "H200": {"l2_mib": (60, 60), "copy_tb_per_s": (4.1, 4.5)},
    # the rehearsal's has the figures of an H100
    "Simulated GPU": {"floor_us": (24, 28)},
}


@dataclass(frozen=True)
class Reading:
    """A value that a step read, and what was expected of it."""

    name: str
    value: Value
    expected: Range | None = None

    @property
    def inside(self) -> bool | None:
        """Whether the value is as expected; None where nothing is."""
        if self.expected is None:
            return None
        if isinstance(self.value, float | int) and isinstance(self.expected, tuple):
            low, high = self.expected
            return low <= self.value <= high
        return self.value == self.expected

    def __str__(self) -> str:
        """The reading in a line, with the expectation beside it."""
        value = f"{self.value:.4g}" if isinstance(self.value, float | int) else str(self.value)
        return f"  {self.name:<28}{value:>12}  {self._verdict}"

    @property
    def _verdict(self) -> str:
        if self.expected is None:
            return "no expectation"
        wanted = self.expected
        words = wanted if isinstance(wanted, str) else " to ".join(f"{end:g}" for end in wanted)
        return f"expected {words}: {'inside' if self.inside else 'OUTSIDE'}"


def judged(step: Step, card: str, read: Iterable[tuple[str, Value]]) -> Iterator[Reading]:
    """Put beside each value what a card of this name should read.

    A value that is called `card` names it from then on.
    """
    for name, value in read:
        card = str(value) if name == "card" else card
        others = next((others for known, others in CARDS.items() if known in card), None)
        expected = None if others is None else {**step.expected, **others}.get(name)
        yield Reading(name, value, expected)
