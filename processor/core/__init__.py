"""What is decided: pure functions over frozen values, with time as an argument."""
