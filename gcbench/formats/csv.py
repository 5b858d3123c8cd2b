"""CSV: one row a case, every column, full digits, empty where not measured."""

import pandas as pd


def render(table: pd.DataFrame) -> str:
    """Write the table as comma-separated values with a header."""
    return table.to_csv(index=False, lineterminator="\n")
