"""Starters of the real servers that tests and benchmarks run against."""
