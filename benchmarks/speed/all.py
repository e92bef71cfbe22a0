"""Run every benchmark; each prints both sides of its ratio."""

import subprocess
import sys
from pathlib import Path

for script in ("pgd", "sign_ascent", "overhead"):
    print(f"\n== {script}", flush=True)
    path = Path(__file__).with_name(f"{script}.py")
    subprocess.run([sys.executable, str(path), *sys.argv[1:]], check=True)
