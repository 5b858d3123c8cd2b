"""Tables: every entry loads, names are unique, typing errors are met with the nearest name."""

import pytest

from gcbench.blocks import BLOCKS
from gcbench.errors import UsageError
from gcbench.metrics import METRICS
from gcbench.networks import NETWORKS
from gcbench.registry import Entry, Registry
from gcbench.report import FORMATS, PIVOTS

TABLES = [BLOCKS, FORMATS, PIVOTS, METRICS, NETWORKS]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_every_entry_loads_and_says_what_it_is(table):
    for entry in table:
        assert callable(entry.load())
        assert entry.summary


def test_two_entries_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two entries of the block table are named 'gc'"):
        Registry("block", [Entry("gc", "a:b", ""), Entry("gc", "a:c", "")])


def test_an_unknown_name_is_met_with_the_nearest_and_all():
    with pytest.raises(UsageError, match="unknown format 'cvs': did you mean 'csv'"):
        FORMATS["cvs"]
