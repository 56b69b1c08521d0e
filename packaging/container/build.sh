#!/usr/bin/env bash
# Builds the image from what `packaging/device.sh` built, for each architecture that there is.
#
#   packaging/container/build.sh NAME:TAG
set -euo pipefail
cd "$(dirname "$0")/../.."
name=${1:?usage: packaging/container/build.sh NAME:TAG}

context=target/image
rm -rf "$context"
mkdir -p "$context/data"
cp LICENSE "$context/"
platforms=()
add() { # ARCHITECTURE PROGRAM
    [ -f "$2" ] || return 0
    mkdir -p "$context/$1"
    cp "$2" "$2-supervisor" "$context/$1/"
    platforms+=("linux/$1")
}
case $(uname -m) in
    x86_64) add amd64 target/dist/hotshoe ;;
    aarch64) add arm64 target/dist/hotshoe ;;
esac
add amd64 target/x86_64-unknown-linux-gnu/dist/hotshoe
add arm64 target/aarch64-unknown-linux-gnu/dist/hotshoe
[ ${#platforms[@]} -gt 0 ] || { echo "no program: packaging/device.sh builds it" >&2; exit 1; }

if [ ${#platforms[@]} -eq 1 ]; then
    docker build --platform "${platforms[0]}" --tag "$name" --file packaging/container/Dockerfile "$context"
    bytes=$(docker image inspect --format '{{.Size}}' "$name")
    echo "$name  $bytes bytes"
    [ "$bytes" -lt 100000000 ] || { echo "fault: the image is not below 100 MB" >&2; exit 1; }
else
    # An image of several architectures needs a builder of its own, and goes into a file.
    list=$(IFS=,; echo "${platforms[*]}")
    docker buildx build --platform "$list" --tag "$name" --output type=oci,dest=target/image.tar \
        --file packaging/container/Dockerfile "$context"
    echo "$name  in target/image.tar, for $list"
fi
