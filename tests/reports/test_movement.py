"""What moved beside a block between two runs, against textbook formulas."""

import math
import statistics

import pytest

from gcbench.analysis.random_effects import Arm, BlockScatter, ControlGroup, by_block, together
from gcbench.stats.textbook import student_t

EXACT = 1e-12


def around(moved, group=0, block="se", variance=EXACT):
    return [Arm(group, f"{block}{i}", each, variance) for i, each in enumerate(moved)]


@pytest.mark.parametrize("moved", [(0.1, 0.2), (0.0, 0.01, -0.02, 0.03)])
def test_exact_movements_give_the_prediction_interval_of_the_textbook(moved):
    expected = ControlGroup([*around(moved), Arm(0, "gc", 9.0, EXACT)]).expected(0, "gc", 0.05)
    n = len(moved)
    reach = student_t(n - 1, 0.05) * statistics.stdev(moved) * math.sqrt(1 + 1 / n)
    assert expected.mid == pytest.approx(statistics.fmean(moved))
    assert expected.half_width == pytest.approx(reach, rel=1e-3)


def test_each_group_has_a_middle_of_its_own_and_all_share_the_scatter():
    groups = [(0.00, 0.02), (1.00, 1.02), (-3.01, -2.99)]
    arms = [arm for number, moved in enumerate(groups) for arm in around(moved, number)]
    beside = ControlGroup(arms)
    for number, moved in enumerate(groups):
        found = beside.expected(number, "gc", 0.05)
        assert found.mid == pytest.approx(statistics.fmean(moved))
        # three groups of two leave three degrees of freedom; every deviation is 0.01
        reach = student_t(3, 0.05) * math.sqrt(6 * 0.01**2 / 3 * 1.5)
        assert found.half_width == pytest.approx(reach, rel=1e-3)


def test_a_block_is_never_held_against_its_own_arms():
    others = [*around((0.0, 0.01, 0.02)), *around((0.1, 0.12), 1)]
    own = [Arm(0, "gc", 5.0, EXACT), Arm(0, "gc", 6.0, EXACT), Arm(1, "gc", -7.0, EXACT)]
    alone, beside = (ControlGroup(arms).expected(0, "gc", 0.05) for arms in (others, others + own))
    assert alone == beside
    assert ControlGroup(others + own).expected(0, "se0", 0.05) != alone


def test_what_replicates_explain_is_no_scatter():
    moved = (0.0, 0.01, -0.01, 0.005)
    sure, unsure = (
        ControlGroup(around(moved, variance=v)).expected(0, "gc", 0.05) for v in (EXACT, 0.01**2)
    )
    # all that is left is how well the middle is known
    assert unsure.half_width == pytest.approx(student_t(3, 0.05) * 0.005, rel=1e-6)
    assert unsure.half_width < sure.half_width


def test_what_is_measured_badly_counts_little():
    arms = [*around((0.0, 0.001, -0.001)), Arm(0, "nl", 0.3, 0.3**2)]
    found = ControlGroup(arms).expected(0, "gc", 0.05)
    assert abs(found.mid) < 0.001
    assert found.half_width < 0.02


def test_where_nothing_stands_side_by_side_groups_are_taken_for_one():
    clones = [Arm(number, None, moved, EXACT) for number, moved in enumerate((0.0, 0.02, 0.04))]
    found = ControlGroup(clones).expected(1, "gc", 0.05)
    assert found.mid == pytest.approx(0.02)
    reach = student_t(2, 0.05) * 0.02 * math.sqrt(4 / 3)
    assert found.half_width == pytest.approx(reach, rel=1e-3)


def test_a_restless_block_is_given_more_room_and_fewer_degrees_of_freedom():
    arms = [arm for number in range(9) for arm in around((0.0, 0.01, -0.01), number)]
    beside = ControlGroup(arms)
    calm, restless = (BlockScatter(0.0, sd**2, 5) for sd in (0.005, 0.04))
    alone = beside.expected(0, "gc", 0.05)
    assert beside.expected(0, "gc", 0.05, calm) == alone
    found = beside.expected(0, "gc", 0.05, restless)
    assert found.mid == alone.mid
    assert found.half_width == pytest.approx(student_t(4, 0.05) * 0.04, rel=0.02)


def test_how_calm_a_block_is_knows_neither_a_change_of_all_its_arms_nor_an_outlier():
    moved = (0.0, 0.01, -0.01, 0.02, -0.02)
    machine = (0.0, 0.5, -0.3, 0.2, 0.1)

    def arms(change, outlier=0.0):
        for number, (own, shift) in enumerate(zip(moved, machine, strict=True)):
            yield from around((0.0, 0.0, 0.0), number)
            yield Arm(number, "gc", own + change + outlier * (number == 1), EXACT)
            yield from around((shift,), number, "drift")

    still, changed, disturbed = (
        by_block(list(arms(*case)))["gc"] for case in ((0.0,), (0.3,), (0.3, 5.0))
    )
    assert still.middle == 0.0
    assert (still.number, math.sqrt(still.variance)) == (
        5,
        pytest.approx(1.4826 * 5 / 4.2 * 0.01),
    )
    assert changed.middle == pytest.approx(0.3)
    assert changed.variance == pytest.approx(still.variance)
    # as far off as any other would be
    assert disturbed.middle == pytest.approx(0.3)
    assert math.sqrt(disturbed.variance) == pytest.approx(1.4826 * 5 / 4.2 * 0.02)


@pytest.mark.parametrize("arms", [[], around((0.1,)), [Arm(0, "gc", 0.1, 1.0)]])
def test_too_little_beside_it_says_nothing(arms):
    assert not ControlGroup(arms).expected(0, "gc", 0.05).known


def test_what_moved_together_is_a_mean_over_groups():
    moved = [("a", 0.0), ("a", 0.2), ("b", 0.3), ("b", 0.1), ("c", 0.3), ("c", 0.3)]
    found = together(moved)
    means = [0.1, 0.2, 0.3]
    reach = student_t(2, 0.05) * statistics.stdev(means) / math.sqrt(3)
    assert found.mid == pytest.approx(0.2)
    assert (found.lo, found.hi) == pytest.approx((0.2 - reach, 0.2 + reach))


def test_of_one_group_its_members_count_and_one_member_has_no_interval():
    members = [0.0, 0.1, 0.2]
    reach = student_t(2, 0.05) * statistics.stdev(members) / math.sqrt(3)
    assert together([(0, each) for each in members]).half_width == pytest.approx(reach)
    assert not together([(0, 0.1)]).known
