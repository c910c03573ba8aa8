"""What the values of an image's pixels mean: how many bits are in use, which are no data, what is transparent."""
