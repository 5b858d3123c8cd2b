"""The GCNet paper's tables: what is printed, what is derived now, and that they agree."""

import csv
import io

import pandas as pd
import pytest
from written import paper_markdown as markdown
from written import paper_table as render

from gcbench import paper
from gcbench.errors import UsageError
from gcbench.paper import deriving
from gcbench.paper.printed import TABLES, PrintedRow

NAMES = [table.name for table in TABLES]
# three large networks, nine times
SLOW = [pytest.param(n, marks=pytest.mark.slow) if n == "backbones" else n for n in NAMES]


def added_by_gc(widths, ratio):
    """Parameters of GC blocks of these widths: W_k, two convolutions with biases, and a norm."""
    return sum(C + 1 + 2 * C * (C // ratio) + C // ratio + C + 2 * (C // ratio) for C in widths)


@pytest.fixture(scope="module")
def derived():
    """The frame of each table, counted once."""
    frames = {}

    def of(name):
        if name not in frames:
            frames[name] = paper.frame([paper.table_of("--table", name)])
        return frames[name].set_index("row")

    return of


# parameters and MACs as they were derived by hand from the blocks' closed forms
IMAGENET = {
    "baseline": (25_557_032, "3.858"),
    "+1 NL": (27_656_744, "4.125"),
    "+1 NL, not pooled": (27_656_744, "4.308"),
    "+1 SNL": (26_607_657, "3.859"),
    "+1 SNL, W_v before pooling": (26_607_657, "4.064"),
    "+1 GC r16": (25_690_345, "3.859"),
    "+all GC r16": (28_078_773, "3.867"),
}
DETECTION = {
    ("design", "baseline"): (44_400_693, "0.000"),
    ("design", "+1 NL"): (46_500_405, "9.339"),
    ("design", "+1 SNL"): (45_451_318, "0.009"),
    ("design", "+1 GC r16"): (44_534_006, "0.008"),
    ("design", "+all GC r16"): (46_922_434, "0.129"),
    ("stages", "c3"): (44_536_249, "0.066"),
    ("stages", "c4"): (45_200_571, "0.050"),
    ("stages", "c5"): (45_987_000, "0.014"),
    ("bottleneck", "C x C, no ratio"): (64_352_322, "0.147"),
}


@pytest.mark.parametrize("row", IMAGENET)
def test_the_imagenet_table_is_derived_to_the_digit(row, derived):
    params, macs = IMAGENET[row]
    found = derived("imagenet").loc[row]
    assert found["params"] == params
    assert f"{found['macs'] / 1e9:.3f}" == macs


@pytest.mark.parametrize(("table", "row"), DETECTION)
def test_the_detection_tables_are_derived_to_the_digit(table, row, derived):
    params, added = DETECTION[table, row]
    found = derived(table).loc[row]
    assert found["params"] == params
    assert f"{found['macs_added'] / 1e9:.3f}" == added


def test_all_blocks_of_ratio_16_add_exactly_129466368_macs(derived):
    assert derived("design").loc["+all GC r16", "macs_added"] == 129_466_368


def test_a_ratio_adds_what_its_closed_form_says(derived):
    for ratio in (4, 8, 16, 32):
        found = derived("ratio").loc[f"+all GC r{ratio}"]
        widths = [512] * 4 + [1024] * 6 + [2048] * 3
        assert found["params"] == 44_400_693 + added_by_gc(widths, ratio)
        assert found["inserted"] == 13


@pytest.mark.parametrize("name", SLOW)
def test_every_printed_cell_is_met_or_explained(name, derived):
    frame = derived(name).reset_index()
    for kind in ("params", "macs"):
        apart = frame[[agrees is False for agrees in frame[f"{kind}_agree"]]]
        assert apart["why"].notna().all()
    said = " ".join(frame["why"].dropna())
    assert "unexplained" not in said
    assert "nothing explains" not in said


def test_the_only_cells_apart_are_the_two_that_are_cut_and_the_counting_of_products():
    frame = paper.frame([table for table in TABLES if table.name != "backbones"])
    apart = {
        (row["table"], row["row"], kind)
        for _, row in frame.iterrows()
        for kind in ("params", "macs")
        if row[f"{kind}_agree"] is False
    }
    assert apart == {
        ("design", "+1 SNL", "params"),
        ("stages", "c5", "params"),
        ("imagenet", "+1 NL", "macs"),
    }


def test_a_cell_that_nothing_explains_is_told_as_such(monkeypatch):
    wrong = PrintedRow("wrong", "resnet18", None, params="12.7", macs="9.99")
    table = paper.PaperTable("made-up", "", (64, 64), (wrong,), whole=False, remark="")
    [row] = paper.frame([table]).to_dict("records")
    assert row["params_agree"] is False
    assert row["macs_agree"] is False
    assert "nothing explains 12.7M" in row["why"]


def test_without_the_attention_products_the_nonlocal_row_is_the_printed_one(derived):
    why = derived("imagenet").loc["+1 NL", "why"]
    assert "4.125G" in why
    assert "4.115G" in why


@pytest.mark.slow
def test_the_larger_backbones_stand_beside_the_published_latencies(derived):
    frame = derived("backbones")
    for name in ("R101", "X101-32x4d"):
        for ratio in (16, 4):
            added = frame.loc[f"{name} GC r{ratio}", "params"] - frame.loc[name, "params"]
            assert added == added_by_gc([512] * 4 + [1024] * 23 + [2048] * 3, ratio)
    assert list(frame["inserted"]) == [0, 13, 13, 0, 30, 30, 0, 30, 30]
    assert frame.loc["X101-32x4d GC r16", "macs_added"] == frame.loc["R101 GC r16", "macs_added"]
    assert round(frame.loc["R50 GC r16", "relative_printed"], 3) == 1.071
    assert round(frame.loc["X101-32x4d GC r4", "relative_printed"], 3) == 1.165


def test_nothing_derived_is_written_down():
    import inspect

    from gcbench.paper import printed

    source = "".join(map(inspect.getsource, (paper, printed, deriving)))
    for params, _ in (*IMAGENET.values(), *DETECTION.values()):
        assert str(params) not in source.replace("_", "").replace(",", "")


def test_the_note_on_the_transcription_stays_with_the_data(derived):
    frame = paper.frame([paper.table_of("--table", "imagenet")])
    assert frame["note"].str.contains("transcription of the paper's tables").all()
    for text in (render(frame), markdown(frame)):
        assert text.count("transcription of the paper's tables") == 1


def test_markdown_has_a_cell_for_every_heading(derived):
    frame = paper.frame([paper.table_of("--table", "stages")])
    lines = [line for line in markdown(frame).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(frame)
    assert len({line.count("|") for line in lines}) == 1
    assert "46,922,434" in lines[-1]


def test_the_csv_has_the_columns_that_are_promised():
    from written import paper_csv as render_csv

    frame = paper.frame([paper.table_of("--table", "imagenet")])
    rows = list(csv.DictReader(io.StringIO(render_csv(frame))))
    assert tuple(rows[0]) == paper.COLUMNS
    assert rows[0]["params"] == "25557032"
    assert rows[2]["params_printed_m"] == ""


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(UsageError, match="--table 'stage' is unknown: did you mean 'stages'"):
        paper.table_of("--table", "stage")


def test_names_of_tables_and_of_their_rows_are_unique():
    assert len(set(NAMES)) == len(NAMES)
    for table in TABLES:
        assert len({row.label for row in table.rows}) == len(table.rows)


def test_timed_rows_find_their_places():
    table = paper.table_of("--table", "imagenet")
    timed = [
        dict.fromkeys(paper.TIMED, None) | {"latency_us": float(i), "status": "ok"}
        for i in range(len(table.rows))
    ]
    frame = paper.frame([table], timed)
    assert list(frame["latency_us"]) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert "5.0 µs" in render(frame)
    assert pd.isna(frame.loc[0, "relative"])
