"""Which arms share rounds, how many calls a sample holds, and how the time is shared out.

A heavy arm between two light ones evicts their caches and pulls their samples apart, so arms of
like cost form a group with rounds of its own; a heavy group gets few rounds, apart, before the
light ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from gcbench.records import Arm
from gcbench.stats.intervals import fewest_replicates

MIN_REPLICATES = 12

# an arm up to this many times as slow as the lightest of its group shares its rounds
GROUP_FACTOR = 8
# a sample covers at least this long, so that reading the clock costs nothing beside it
MIN_SAMPLE_NS = 100_000
# a call up to this long is called once, untimed, before each sample, so that it finds its own data
# in the caches; a longer one fills them itself
REFILL_NS = 5_000_000
# the share of the time that all heavy groups together may take
HEAVY_SHARE = 0.6
# the first calls at a new place pay for page faults
FIRST_CALLS = 2
# each replicate begins at a random phase of what the machine does periodically, such as quota
# periods
PHASE_S = 0.005
# rounds of this length scatter as much as replicates do among themselves
ALIKE_NS = 200_000_000
# more rounds inside one replicate narrow little: what differs between replicates stays
MAX_ROUNDS = 60


class Cost(NamedTuple):
    """What a work takes: a call, preparing a sample, making the work anew, settling it.

    `repeatable` and `cold` are those of the work.
    """

    call_ns: int
    prepare_ns: int = 0
    make_ns: int = 0
    settle_ns: int = 0
    repeatable: bool = True
    cold: bool = False


@dataclass(frozen=True)
class Group:
    """Arms that share rounds, by their positions. It is timed in `due` of `of` replicates.

    A sample holds `calls` calls after as many untimed ones as `before` has for its arm; each arm is
    settled `settle` times before the rounds; a round is expected to take `round_ns`.
    """

    arms: tuple[int, ...]
    calls: int
    before: tuple[int, ...]
    rounds: int
    due: int
    of: int
    settle: int
    round_ns: int

    def takes_part(self, replicate: int) -> bool:
        """Whether this group is timed in a replicate: the first, and then evenly spread."""
        return replicate * self.due % self.of < self.due


@dataclass(frozen=True)
class Plan:
    """What happens in a replicate: groups in the order of their turns, the lightest last.

    Precision is not asked of fewer than `min_replicates`; with fewer than `fewest` there is no
    interval.
    """

    arms: tuple[Arm, ...]
    groups: tuple[Group, ...]
    min_replicates: int
    fewest: int

    def suffices(self, replicates: int) -> bool:
        """Whether so many replicates hold enough of every group for the intervals it asks for."""
        return all(
            sum(map(group.takes_part, range(replicates))) >= self.fewest for group in self.groups
        )


class GroupCost(NamedTuple):
    """The arms of a group and what they take: a round of them, making and settling all of them."""

    arms: tuple[int, ...]
    calls: int
    before: tuple[int, ...]
    round_ns: int
    make_ns: int
    settle_ns: int


def make_plan(
    costs: Mapping[int, Cost],
    copies: Mapping[int, Cost],
    baselines: Sequence[int],
    budget_ns: int,
    controls: Sequence[int] = (),
) -> Plan:
    """Share `budget_ns` out among cases of known cost, by their position.

    Every group has A/A arms: another copy of each of the `baselines` and `controls` in it, or,
    where none is, of its lightest case. The arms that clone the input of a case, `copies`, ride
    with the lightest group. Samples hold one call where one of the works is not `repeatable`, and
    nothing comes before that of a `cold` one. What is not timed is paid out of the same budget:
    preparing a sample may take longer than the sample.
    """
    # what one arm of a comparison cannot do is not done with the others either
    repeatable = all(cost.repeatable for cost in (*costs.values(), *copies.values()))
    copied = dict.fromkeys((*baselines, *controls))
    arms: list[Arm] = []
    groups: list[GroupCost] = []
    for number, cluster in enumerate(cost_groups({c: cost.call_ns for c, cost in costs.items()})):
        twins = [case for case in copied if case in cluster] or [cluster[0]]
        lightest_ns = max(costs[cluster[0]].call_ns, 1)
        calls = math.ceil(MIN_SAMPLE_NS / lightest_ns) if repeatable else 1
        own = [(Arm("case", case, number, calls), costs[case]) for case in cluster]
        own += [(Arm("aa", case, number, calls), costs[case]) for case in twins]
        if number == 0:
            own += [(Arm("copy", case, number, calls), cost) for case, cost in copies.items()]
        before = tuple(int(lightest_ns <= REFILL_NS and not cost.cold) for _, cost in own)
        groups.append(
            GroupCost(
                tuple(range(len(arms), len(arms) + len(own))),
                calls,
                before,
                max(1, sum(_sample_ns(o[1], calls, b) for o, b in zip(own, before, strict=True))),
                sum(cost.make_ns for _, cost in own),
                sum(cost.settle_ns for _, cost in own),
            )
        )
        arms += [arm for arm, _ in own]
    relatives = sum(1 for case in costs if baselines[case] != case)
    fewest = fewest_replicates(relatives)
    least = max(MIN_REPLICATES, fewest)
    return Plan(tuple(arms), _share_out(groups, budget_ns, least, fewest), least, fewest)


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


def _sample_ns(cost: Cost, calls: int, before: int) -> int:
    return (before + calls) * cost.call_ns + (before + 1) * cost.prepare_ns


def _share_out(
    groups: list[GroupCost], budget_ns: int, least: int, fewest: int
) -> tuple[Group, ...]:
    """Give the heavy groups their share, then fill the time with replicates of the lightest.

    A heavy group takes part at least so often that there is an interval, however long that is.
    """
    light = groups[0]._replace(make_ns=groups[0].make_ns + round(PHASE_S / 2 * 1e9))
    heavy = groups[:0:-1]
    share_ns = HEAVY_SHARE * budget_ns / max(len(heavy), 1)
    rest_ns = budget_ns * (1 - HEAVY_SHARE if heavy else 1)
    replicates = max(least, int(rest_ns / _replicate_ns(light, _best_rounds(light))))
    planned = []
    spent_ns = 0.0
    for group in heavy:
        due = min(replicates, max(fewest, int(share_ns / _replicate_ns(group, 1))))
        planned.append(_group(group, _rounds_in(group, share_ns / due), due, replicates))
        spent_ns += due * _replicate_ns(group, planned[-1].rounds)
    # a heavy group need not use up its share
    rounds = _rounds_in(light, (budget_ns - spent_ns) / replicates)
    lightest = _group(light, rounds, replicates, replicates)
    if heavy:
        # what a heavy group evicted comes back before the first sample
        lightest = replace(lightest, settle=max(1, lightest.settle))
    return (*planned, lightest)


def _best_rounds(group: GroupCost) -> int:
    """Rounds in a replicate that narrow an interval most in a given time.

    Their time is the geometric mean of what a replicate takes beside them and of the time after
    which rounds scatter like replicates: after Kalibera and Jones, ISMM 2013.
    """
    best_ns = math.sqrt(ALIKE_NS * (group.make_ns + group.settle_ns))
    return max(1, min(MAX_ROUNDS, round(best_ns / group.round_ns)))


def _rounds_in(group: GroupCost, time_ns: float) -> int:
    """Rounds in a replicate of at most so much time: the best number, or fewer, at least one."""
    rounds = _best_rounds(group)
    while rounds > 1 and _replicate_ns(group, rounds) > time_ns:
        rounds -= 1
    return rounds


def _replicate_ns(group: GroupCost, rounds: int) -> float:
    settled_ns = _settle_times(group, rounds) * group.settle_ns
    return group.make_ns + settled_ns + rounds * group.round_ns


def _settle_times(group: GroupCost, rounds: int) -> int:
    """How often each arm is settled: enough for its first calls, in half the rounds' time."""
    affordable = rounds * group.round_ns // max(2 * group.settle_ns, 1)
    return min(FIRST_CALLS - min(group.before), affordable)


def _group(group: GroupCost, rounds: int, due: int, of: int) -> Group:
    settle = _settle_times(group, rounds)
    return Group(group.arms, group.calls, group.before, rounds, due, of, settle, group.round_ns)
