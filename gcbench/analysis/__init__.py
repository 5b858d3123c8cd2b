"""What rows show together, of one run or of two."""
