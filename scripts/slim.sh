#!/bin/sh
# Takes out of an image's environment what only serves to build and to test. Run in the build stage.
#
#   slim.sh /opt/venv
set -eu
packages=$(echo "$1"/lib/python3.*/site-packages)

# An image is replaced, never added to.
"$1/bin/python" -m pip uninstall --quiet --yes pip
# Headers, static libraries and a compiler of protocol buffers, for building against torch and others.
rm -rf "$packages"/torch/include "$packages"/torch/bin/protoc* "$packages"/torch/share "$packages"/torch/test \
    "$packages"/pyarrow/include "$packages"/pyarrow/src "$packages"/openvino/include
find "$packages" -name '*.a' -delete
# A builder that nncf asks for, for layers of torch's that it compiles: what is used here needs none.
rm -f "$1"/bin/ninja
# Tests of these are never imported by them; of others (numpy.testing, torch.testing) some are.
for one in matplotlib networkx numpy pandas pyarrow scipy sklearn sympy; do
    [ ! -d "$packages/$one" ] || find "$packages/$one" -type d -name tests -prune -exec rm -rf {} +
done
# Activation scripts name shells that the image has no use for.
rm -f "$1"/bin/activate* "$1"/bin/Activate.ps1
