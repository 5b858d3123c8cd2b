"""Which arms share rounds, how many calls a sample holds, and how the time is shared out.

A heavy arm between two light ones evicts their caches and pulls their samples apart, so arms of
like cost form a group with rounds of its own; a heavy group gets few rounds, apart, before the
light ones.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gcbench.records import Arm
from gcbench.statistics import fewest_replicates

MIN_REPLICATES = 12
TARGET_REPLICATES = 40

# an arm up to this many times as slow as the lightest of its group shares its rounds
GROUP_FACTOR = 8
# a sample covers at least this long, so that reading the clock costs nothing beside it
MIN_SAMPLE_NS = 100_000
# the share of the time that all heavy groups together may take
HEAVY_SHARE = 0.6
# the first calls at a new place pay for page faults
UNTIMED_CALLS = 2
# more rounds inside one replicate narrow little: what differs between replicates stays
MAX_ROUNDS = 60


@dataclass(frozen=True)
class Group:
    """Arms that share rounds, by their positions. It is timed in `due` of `of` replicates.

    `untimed` calls of each arm come before its rounds; a round is expected to take `round_ns`.
    """

    arms: tuple[int, ...]
    calls: int
    rounds: int
    due: int
    of: int
    untimed: int
    round_ns: int

    def takes_part(self, replicate: int) -> bool:
        """Whether this group is timed in a replicate: the first, and then evenly spread."""
        return replicate * self.due % self.of < self.due


@dataclass(frozen=True)
class Plan:
    """What happens in a replicate: groups in the order of their turns, the lightest last."""

    arms: tuple[Arm, ...]
    groups: tuple[Group, ...]
    min_replicates: int


def make_plan(
    costs_ns: Mapping[int, int],
    copy_ns: int,
    baseline: int,
    budget_ns: int,
    repeatable: bool = True,
    prepare_ns: int = 0,
) -> Plan:
    """Share `budget_ns` out among cases of known cost per call, by their position.

    Every group has an A/A arm: another copy of the baseline, or, where that is in another group, of
    the group's lightest case. The copy arm rides with the lightest group. Samples hold one call
    where the works are not `repeatable`. Preparing a sample takes `prepare_ns`, untimed, out of the
    same budget: a cache flush may take longer than what is timed.
    """
    clusters = cost_groups(costs_ns)
    arms: list[Arm] = []
    members: list[tuple[int, ...]] = []
    costs: list[int] = []
    all_calls: list[int] = []
    for number, cluster in enumerate(clusters):
        twin = baseline if baseline in cluster else cluster[0]
        calls = math.ceil(MIN_SAMPLE_NS / max(costs_ns[cluster[0]], 1)) if repeatable else 1
        own = [Arm("case", case, number, calls) for case in cluster]
        own.append(Arm("aa", twin, number, calls))
        if number == 0:
            own.append(Arm("copy", None, number, calls))
        members.append(tuple(range(len(arms), len(arms) + len(own))))
        arms += own
        call_ns = sum(costs_ns[case] for case in cluster) + costs_ns[twin]
        call_ns += copy_ns if number == 0 else 0
        costs.append(calls * call_ns + len(own) * prepare_ns)
        all_calls.append(calls)
    groups = _share_out(members, all_calls, costs, budget_ns)
    least = max(MIN_REPLICATES, fewest_replicates(len(costs_ns) - 1))
    return Plan(tuple(arms), groups, least)


def cost_groups(costs_ns: Mapping[int, int]) -> list[list[int]]:
    """Put cases of like cost together: lightest group first, lightest case first in each.

    >>> cost_groups({0: 400, 1: 150_000, 2: 300, 3: 3_000})
    [[2, 0], [3], [1]]
    """
    groups: list[list[int]] = []
    for case in sorted(costs_ns, key=lambda case: costs_ns[case]):
        if groups and costs_ns[case] < GROUP_FACTOR * max(costs_ns[groups[-1][0]], 1):
            groups[-1].append(case)
        else:
            groups.append([case])
    return groups


def _share_out(
    members: list[tuple[int, ...]], calls: list[int], round_ns: list[int], budget_ns: int
) -> tuple[Group, ...]:
    heavy = range(len(members) - 1, 0, -1)
    share_ns = HEAVY_SHARE * budget_ns / max(len(heavy), 1)
    affordable = {number: max(1, int(share_ns / round_ns[number])) for number in heavy}
    scarcest = min(affordable.values(), default=TARGET_REPLICATES)
    replicates = min(TARGET_REPLICATES, max(MIN_REPLICATES, scarcest))
    groups = []
    spent_ns = 0.0
    for number in heavy:
        rounds = min(MAX_ROUNDS, max(1, affordable[number] // replicates - UNTIMED_CALLS))
        untimed = UNTIMED_CALLS if rounds > 1 else 0
        due = min(replicates, affordable[number])
        groups.append(
            Group(
                members[number], calls[number], rounds, due, replicates, untimed, round_ns[number]
            )
        )
        spent_ns += (rounds + untimed) * due * round_ns[number]
    left = int((budget_ns - spent_ns) / replicates / max(round_ns[0], 1)) - UNTIMED_CALLS
    rounds = min(MAX_ROUNDS, max(1, left))
    # what a heavy group evicted comes back in an untimed call, however few the rounds
    untimed = UNTIMED_CALLS if rounds > 1 else min(1, len(groups))
    groups.append(Group(members[0], calls[0], rounds, replicates, replicates, untimed, round_ns[0]))
    return tuple(groups)
