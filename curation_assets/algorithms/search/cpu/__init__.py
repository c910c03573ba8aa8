"""The nearest centroid on CPUs: sketches, compiled loops and the exact decision."""
