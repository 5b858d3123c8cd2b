#!/usr/bin/env bash
# Collect the wheels that benchmarks/gpu.py needs on a machine without a network, for Linux on x86-64.
#
#     benchmarks/gpu_wheels.sh FOLDER [PYTHON [VERSION]]
#
# PYTHON collects them, VERSION is that of the Python there.
# There: python3 -m pip install --no-index --no-deps --target SITE FOLDER/*.whl, then PYTHONPATH=SITE.
# That machine has torch, torchvision, numpy, pandas, rich, Pillow, PyYAML, tqdm, tabulate, portalocker,
# scipy and psutil, and what those need; everything else is named here.
set -euo pipefail
folder=${1:?a folder for the wheels must be named}
python=${2:-python3}
version=${3:-3.12}
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$folder"
rm -f "$folder"/*.whl

# typer needs pydantic, which is not pure Python, from 0.29 on
needed=(annotated-doc msgspec nvidia-ml-py platformdirs shellingham termcolor tomli-w 'typer>=0.26,<0.29' yacs)
for_tests=(iniconfig packaging pluggy pytest)
# pip takes a wheel of exactly these platforms, whatever it could run
platforms=({manylinux_2_28,manylinux_2_17,manylinux2014}_x86_64)
"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
  "${platforms[@]/#/--platform=}" --dest "$folder" "${needed[@]}" "${for_tests[@]}"

# of these there are only sources, all in Python; gcbench from a copy, where no earlier build is taken in
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$root"/{pyproject.toml,README.md,LICENSE,gcbench} "$copy"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$folder" fvcore iopath "$copy"

ls -l "$folder"
kib=$(du --summarize --block-size=1K "$folder" | cut -f1)
echo "$((kib / 1024)) MiB in $folder"
((kib < 40 * 1024)) || { echo "more than 40 MiB: too much to carry" >&2; exit 1; }
