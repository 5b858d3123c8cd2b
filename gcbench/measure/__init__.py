"""What one measurement takes: the machine, a case made runnable, its counts, its time."""
