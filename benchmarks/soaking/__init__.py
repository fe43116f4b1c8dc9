"""The parts of the soak (``benchmarks.soak``), each for itself."""
