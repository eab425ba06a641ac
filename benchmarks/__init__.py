"""What Merilo costs and how fast it is, measured: ``python -m benchmarks [name …]``, or ``make bench``."""
