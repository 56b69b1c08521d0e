#!/usr/bin/env bash
# Makes the Debian package `hotshoe-onnxruntime`: the library of ONNX Runtime that `hotshoe` on a device loads by default, by its pinned digest.
#
#   packaging/onnxruntime.sh x86_64|aarch64 [PROGRAM]
#
# PROGRAM is a complete `hotshoe` for this machine, by default target/debug/hotshoe; it fetches the library. Writes target/debian/*.deb.
set -euo pipefail
cd "$(dirname "$0")/.."
usage='usage: packaging/onnxruntime.sh x86_64|aarch64 [PROGRAM]'
processor=${1:?$usage}
program=${2:-target/debug/hotshoe}
case $processor in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64 ;;
    *) echo "$usage" >&2; exit 2 ;;
esac

tree=target/onnxruntime-$architecture
rm -rf "$tree"
"$program" runtime fetch --processor "$processor" --out "$tree/usr/lib/hotshoe" --json >"target/onnxruntime-$architecture.json"
version=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["version"])' <"target/onnxruntime-$architecture.json")

library=$tree/usr/lib/hotshoe/onnxruntime
about=$tree/usr/share/doc/hotshoe-onnxruntime
mkdir -p "$about" "$tree/DEBIAN" target/debian
mv "$library/LICENSE" "$about/copyright"
gzip -9n <"$library/ThirdPartyNotices.txt" >"$about/ThirdPartyNotices.txt.gz"
rm "$library/ThirdPartyNotices.txt"
chmod -R u=rwX,go=rX "$tree"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: hotshoe-onnxruntime
Version: $version
Architecture: $architecture
Maintainer: The Hotshoe developers <hotshoe@localhost>
Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6
Section: libs
Priority: optional
Installed-Size: $(du -ks "$tree/usr" | cut -f1)
Description: ONNX Runtime for hotshoe
 The library of ONNX Runtime that hotshoe loads by default. It is
 checked against a digest that hotshoe knows, at each load.
CONTROL
dpkg-deb --root-owner-group --build "$tree" "target/debian/hotshoe-onnxruntime_${version}_$architecture.deb"
