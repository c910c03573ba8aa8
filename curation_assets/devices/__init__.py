"""What this machine computes on: whether its NVIDIA cards can be used, and if not, why."""
