"""Measurements: CPU seconds for a unit of work, as ratios within one run."""
