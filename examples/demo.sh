#!/bin/sh
# Three small networks on the embedded pictures of clothing, trained plainly, with noise and with
# AugMix: attacked, corrupted, compared, and a report of it all. `make demo` calls this with the path
# of the `workbench` script.
set -eu
workbench=${1:-workbench}
suite=$(dirname "$0")/demo.toml

number=1
while [ -e "runs/demo-$number" ]; do number=$((number + 1)); done
run=runs/demo-$number

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1 of 2: train three networks, then measure them on clean, attacked and corrupted images"
"$workbench" benchmark --suite "$suite" --output "$run"

say '2 of 2: a report'
"$workbench" report "$run" --output "$run/report.html"

say "Everything is in $run"
printf '%s\n' "  $run/report.html   to look at, or to mail" \
    "  $run/record.h5     every number, image by image, readable with xarray or h5py" \
    "  $run/images/       what the pictures look like before and after" \
    "  next: $workbench verify $run"
