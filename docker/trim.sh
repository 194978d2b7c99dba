#!/bin/sh
# Takes out of an environment what only those need who develop or link against its packages.
#   sh docker/trim.sh /opt/medssl
set -eu
packages=$(echo "$1"/lib/python3*/site-packages)
find "$packages" -type d \( -name tests -o -name test \) -prune -exec rm -r {} +
find "$packages" -type d -name include -prune -path '*/nvidia/*' -exec rm -r {} +
find "$packages" -name '*.a' -delete
rm -rf "$packages"/torch/include "$packages"/pyarrow/include
if [ -d "$packages/torch/bin" ]; then  # torch starts one of these programs
    find "$packages/torch/bin" -type f ! -name torch_shm_manager -delete
fi
