"""What a fit costs: distance computations, memory and time."""
