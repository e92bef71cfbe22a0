"""Run every benchmark; each prints both sides. Options go to those that train models."""

import subprocess
import sys
from pathlib import Path

TRAINING = (
    "pgd",
    "sign_ascent",
    "overhead",
    "runner",
    "augmix",
    "hard_negatives",
    "training",
    "attention",
)
CORRUPTING = (("corruptions",), ("corruptions", "--size", "224"), ("memory",))
OTHERS = (("cka",), ("report",))

for script, *settings in [*((name, *sys.argv[1:]) for name in TRAINING), *CORRUPTING, *OTHERS]:
    print(f"\n== {script}", flush=True)
    path = Path(__file__).with_name(f"{script}.py")
    subprocess.run([sys.executable, str(path), *settings], check=True)
