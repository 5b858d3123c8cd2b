"""Files, locks, streams and processes: what the system does for gcbench; nothing of blocks."""
