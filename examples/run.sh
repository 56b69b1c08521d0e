#!/bin/sh
# Runs an example on files, from a checkout of Hotshoe:
#
#     sh examples/run.sh examples/privacy-camera/release.toml target/fixtures/pictures/astronaut.png
#
# It downloads and builds what the example needs, packs the release, signs it with a throw-away key, and passes its other arguments to `hotshoe exec`.
# Set HOTSHOE to the path of a built binary to use that one.
set -eu

if [ $# -lt 2 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
recipe=$1
shift

hotshoe() {
    if [ -n "${HOTSHOE:-}" ]; then "$HOTSHOE" "$@"; else cargo run --quiet --bin hotshoe -- "$@"; fi
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo run --quiet -p hotshoe-devkit --example set-up >"$folder/log"
if grep -q '^source = ' "$recipe"; then hotshoe build --yes "$recipe" >&2; fi
prepare() {
    hotshoe keygen --no-passphrase --out "$folder" --name run &&
        hotshoe trust --key "run=$folder/run.pub" --out "$folder/trust.toml" &&
        hotshoe pack "$recipe" --out "$folder/release" &&
        hotshoe sign "$folder/release" --key "$folder/run.key"
}
prepare >"$folder/log" 2>&1 || {
    cat "$folder/log" >&2
    exit 1
}
hotshoe exec "$folder/release" --trust "$folder/trust.toml" "$@"
