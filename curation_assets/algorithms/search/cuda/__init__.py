"""The exact search, and sums of rows, on CUDA devices by Triton kernels."""
