"""What is asked: axes, cases and their keys, grids of them, conditions and names."""
