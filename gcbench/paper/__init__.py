"""The GCNet paper's tables as data, beside what gcbench derives of them now."""
