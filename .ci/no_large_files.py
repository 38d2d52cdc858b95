"""Refuse files over 5 MB: weights, pictures and data sets belong in a Hub repo, not in git."""

import os
import sys


LIMIT = 5 * 1024 * 1024

too_large = [path for path in sys.argv[1:] if os.path.isfile(path) and os.path.getsize(path) > LIMIT]
for path in too_large:
    print(f"{path}: {os.path.getsize(path) / 2**20:.1f} MB is over the limit of {LIMIT // 2**20} MB")
sys.exit(bool(too_large))
