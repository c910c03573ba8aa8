"""Claims: who may write the outputs of a pool now."""
