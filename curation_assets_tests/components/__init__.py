"""Tests of the components for `dg`."""
