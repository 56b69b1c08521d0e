#!/usr/bin/env bash
# Builds the program for a device for AArch64 with Debian's cross compiler, reads a page with it under qemu, compares the result with that of
# this machine by the self-tests' agreement, and runs the tests of the pure crates and of the engine there.
#
#   packaging/arm64.sh               all
#   packaging/arm64.sh --no-tests    only the program
#
# Needs Debian's packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static, and `rustup target add
# aarch64-unknown-linux-gnu`.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
tests=yes
[ "${1:-}" != --no-tests ] || tests=''

compiler=aarch64-linux-gnu-gcc
sysroot=/usr/aarch64-linux-gnu
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || echo qemu-aarch64-static)
for needed in "$compiler" "$qemu"; do
    command -v "$needed" >/dev/null || { echo "no $needed; see the first lines of this script" >&2; exit 1; }
done
[ -d "$(rustc --print target-libdir --target $target)" ] ||
    { echo "rustc has no $target: rustup target add $target" >&2; exit 1; }

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$compiler
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$qemu -L $sysroot"
export CC_aarch64_unknown_linux_gnu=$compiler
export AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar

packaging/device.sh --target $target

# The release of the demo with one more self-test: what this machine's program reads in text.png. The other one runs it when it installs
# the release, and refuses it if the two do not agree.
here=target/debug/hotshoe
[ -x "$here" ] || cargo build --bin hotshoe
key=target/demo/keys/demo.key trust=target/demo/trust.toml page=$PWD/target/fixtures/pictures/text.png
[ -f "$key" ] || { echo "no $key: \`cargo demo\` makes it" >&2; exit 1; }
folder=$PWD/target/arm64
rm -rf "$folder"
mkdir -p "$folder"
"$here" exec target/demo/release "$page" --trust "$trust" --backend tract --record "$folder/text.json" >/dev/null
sed "s#\"../../target/#\"$PWD/target/#; s#\"\(rules.json\|expected/\)#\"$PWD/examples/label-reader/\1#" \
    examples/label-reader/release.toml >"$folder/release.toml"
cat >>"$folder/release.toml" <<END

[[tests]]
name = "text"
sample = "$page"
content-type = "image/png"
expected = "$folder/text.json"
min-agreement = 0.99
END
"$here" pack "$folder/release.toml" --out "$folder/release"
"$here" sign "$folder/release" --key "$key"
there=("$qemu" -L "$sysroot" "target/$target/dist/hotshoe")
"${there[@]}" install "$folder/release" --data "$folder/data" --trust "$trust"
"${there[@]}" exec "$folder/release" "$page" --trust "$trust" --backend tract

[ -n "$tests" ] || exit 0
# A test under qemu takes many times as long; those that measure memory or start another program of this machine are left out.
for package in hotshoe-trust hotshoe-shared-data hotshoe-vision hotshoe-protocol hotshoe-egress hotshoe-engine; do
    cargo test --target $target --package $package --lib --quiet
done
