"""Many small k-means fits that advance together on a CUDA device."""
