"""What Merilo costs and how fast it is, measured: ``python -m benchmarks [name …]``, or ``make bench``."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
"""Real servers and small devices are the ones that the tests use."""

if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))
