"""The checks are scripts beside each other; their tests import them as such."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
