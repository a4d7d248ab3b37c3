"""What `bench` measures: ratios within one run, on this machine."""
