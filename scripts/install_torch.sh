#!/bin/sh
# Install torch into the virtual environment given as $1: a CPU build where one can be had.
#
# A plain `pip install torch` on Linux brings several gigabytes of CUDA libraries that a machine
# without a GPU never uses. So, in this order: the CPU build that pip's own configuration offers;
# PyTorch's CPU builds, which uv knows how to find; and only then the index's build, which is said.
set -eu
bin="$1/bin"
version=2.13.0

if "$bin/python" -c 'import torch' 2>/dev/null; then
    exit 0
fi
case "$(uname -s)-$(uname -m)" in
Linux-x86_64 | Linux-aarch64) ;;
*) exec "$bin/pip" install --quiet "torch==$version" ;;  # the index's builds are CPU builds here
esac
if "$bin/pip" install --quiet "torch==$version+cpu" 2>/dev/null; then
    exit 0
fi
echo "No CPU build of torch in pip's configuration; asking PyTorch's own index through uv."
if "$bin/pip" install --quiet uv 2>/dev/null &&
    VIRTUAL_ENV="$1" "$bin/uv" pip install --quiet --torch-backend=cpu "torch==$version" 2>/dev/null; then
    exit 0
fi
echo "PyTorch's CPU builds cannot be reached from here. The package index offers the CUDA build of"
echo "torch $version: about 3 GB to download and 7 GB on disk, most of it unused without a GPU."
if [ -t 0 ]; then
    printf 'Go on? [Y/n] '
    read -r answer
    case "$answer" in [nN]*) exit 1 ;; esac
fi
exec "$bin/pip" install --quiet "torch==$version"
