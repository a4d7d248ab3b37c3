"""Plain networks as arrays and kernels: faster for small batches than any runtime. Knows nothing of trees."""
