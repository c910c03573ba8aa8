"""Readers and decoders on inputs that nobody wrote by hand: valid files of odd content, and damaged ones."""
