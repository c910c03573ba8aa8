"""Rows of the table in `test_bad_inputs.py`, one module per area."""
