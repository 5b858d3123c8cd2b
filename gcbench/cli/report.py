"""`gcbench report`: a stored run, read again."""

from pathlib import Path

from gcbench.cli import faults, options


def report(
    run: options.Run = None,
    format: options.Format = "table",
    rows: options.Rows = None,
    columns: options.Columns = None,
    value: options.Value = None,
    csv: options.Csv = None,
    output: options.Report = None,
    traceback: faults.Traceback = False,
) -> None:
    """Show a stored run: every case, or one value of each in rows and columns."""
    from gcbench import store, tables
    from gcbench.cli.output import require_apart, require_writable, show, write_whole
    from gcbench.formats import FORMATS, PIVOTS
    from gcbench.formats.pivot import parse_name, pivot

    pivoted = bool(rows or columns or value)
    shown = (PIVOTS if pivoted else FORMATS)[format]
    down = [parse_name("--rows", name.strip()) for name in rows.split(",")] if rows else []
    across = parse_name("--columns", columns or "block")
    told = None if value is None else parse_name("--value", value)
    if run is None:
        run = store.newest(Path("results"))
        faults.say(f"the newest run: {run}")
    require_apart({"the run": run, "--csv": csv, "--output": output})
    require_writable("--csv", csv)
    require_writable("--output", output)
    stored = store.open_run(run, lambda damage: faults.say(f"left out: {damage}"))
    if not stored.outlines:
        faults.say(f"{run} was begun at {stored.manifest.started} and holds no comparison")
    if csv:
        write_whole(csv, FORMATS["csv"].load()(tables.rows(stored), stored.manifest))
        faults.say(f"wrote {csv}")
        if not (pivoted or output or format != "table"):
            # who asked for a file of a large run has no use for its tables
            return
    made = tables.rows(stored)
    what = pivot(made, down, across, told) if pivoted else made
    if output:
        write_whole(output, shown.load()(what, stored.manifest))
    else:
        show(what, stored.manifest, shown)
