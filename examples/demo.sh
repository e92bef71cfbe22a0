#!/bin/sh
# Train two small networks on the embedded pictures of clothing and see how far each picture must
# move before they are wrong. `make demo` calls this with the path of the `workbench` script.
set -eu
workbench=${1:-workbench}
data=fashion-mnist-mini

number=1
while [ -e "runs/demo-$number" ]; do number=$((number + 1)); done
run=runs/demo-$number
mkdir -p "$run"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say '1 of 3: a feed-forward network with one hidden layer of 50 units'
"$workbench" train mlp --data "$data" --epochs 10 --output "$run/mlp"

say '2 of 3: a residual network of 20 layers, half as wide as usual'
"$workbench" train 'resnet20(width=8)' --data "$data" --epochs 4 --output "$run/resnet20"

say '3 of 3: sign ascent until the network is 90 % sure of a wrong class, and one FGSM step'
"$workbench" attack "$run/mlp/model.safetensors" "$run/resnet20/model.safetensors" \
    --data "$data" --limit 500 \
    --attack sign-ascent --attack 'fgsm(eps=8/255)' \
    --save-images 8 --keep-images --output "$run/attack"

say "Everything is in $run"
printf '%s\n' "  $run/attack/record.h5   every number, readable with xarray or h5py" \
    "  $run/attack/images/     what the pictures look like before and after" \
    "  next: $workbench verify $run/attack/record.h5"
