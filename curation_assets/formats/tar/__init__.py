"""Tars: their members, the samples these form, and what img2dataset writes beside them."""
