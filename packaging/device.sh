#!/usr/bin/env bash
# Builds the programs for a device, `hotshoe` and `hotshoe-supervisor`, and says how large they are, how fast the daemon starts, and what it
# holds in memory.
#
#   packaging/device.sh                                         for this machine
#   packaging/device.sh --target aarch64-unknown-linux-gnu      for another, with Debian's cross compiler (see arm64.sh)
#   packaging/device.sh --deb                                   and the Debian package (`cargo install cargo-deb --locked`)
#
# With `cargo auditable` (`cargo install cargo-auditable --locked`) the program carries the list of its crates, which `hotshoe sbom` shows.
set -euo pipefail
cd "$(dirname "$0")/.."

most_bytes=$((40 * 1000 * 1000))
target='' deb=''
while [ $# -gt 0 ]; do
    case $1 in
        --target) target=$2; shift 2 ;;
        --deb) deb=yes; shift ;;
        *) echo "usage: packaging/device.sh [--target TRIPLE] [--deb]" >&2; exit 2 ;;
    esac
done

build=(build)
if cargo auditable --version >/dev/null 2>&1; then
    build=(auditable build)
else
    echo "no cargo-auditable: the program will not know its crates" >&2
fi
# 7 MB of relocations become some kB on x86-64; the linker for AArch64 ignores it. The program then needs glibc 2.36 (Debian 12).
export RUSTFLAGS="${RUSTFLAGS-} -C link-arg=-Wl,-z,pack-relative-relocs"
arguments=(--profile dist --package hotshoe --bin hotshoe --no-default-features --locked)
[ -z "$target" ] || arguments+=(--target "$target")
cargo "${build[@]}" "${arguments[@]}"
cargo "${build[@]}" --profile dist --package hotshoe-supervisor --locked ${target:+--target "$target"}

program=target/${target:+$target/}dist/hotshoe
bytes=$(stat -c %s "$program")
printf '%s  %s bytes, %s compressed\n' "$program" "$bytes" "$(xz -T0 -c "$program" | wc -c)"
printf '%s-supervisor  %s bytes\n' "$program" "$(stat -c %s "$program-supervisor")"
if command -v size >/dev/null; then
    size -A -d "$program" | awk '$2 ~ /^[0-9]+$/ && $2 > 100000 { printf "  %-20s %10d\n", $1, $2 }' | sort -k2 -n -r
fi

# The parts of other programs, by words of their own.
absent=(docker-credential- 'pip download' componentize sqlite_master apt-get)
for word in "${absent[@]}"; do
    if grep -qa -- "$word" "$program"; then
        echo "fault: $program has \`$word\`, which only authors and sites need" >&2
        exit 1
    fi
done
if [ "$bytes" -gt "$most_bytes" ]; then
    echo "fault: it is larger than $most_bytes bytes" >&2
    exit 1
fi

if [ -n "$target" ] && [ "${target%%-*}" != "$(uname -m)" ]; then
    qemu=$(command -v "qemu-${target%%-*}-static" || command -v "qemu-${target%%-*}" || true)
    [ -n "$qemu" ] || { echo "no qemu for ${target%%-*}: not started" >&2; exit 0; }
    run=("$qemu" -L "/usr/${target%%-*}-linux-gnu")
else
    run=()
fi
"${run[@]}" "$program" --version
"${run[@]}" "$program-supervisor" --version
completions=target/dist/completions
mkdir -p "$completions"
"${run[@]}" "$program" completions bash >"$completions/hotshoe.bash"
"${run[@]}" "$program" completions zsh >"$completions/_hotshoe"
"${run[@]}" "$program" completions fish >"$completions/hotshoe.fish"
for name in hotshoe hotshoe-supervisor; do
    packaging/manual.py --runner "${run[*]-}" "${program%/*}/$name" "target/dist/man/$name.1"
done

# From the start of the process to the first answer, and the memory of an empty daemon at rest.
if [ ${#run[@]} -eq 0 ]; then
    python3 packaging/rest.py "$program"
fi

if [ -n "$deb" ]; then
    cargo deb --package hotshoe --profile dist --no-build --no-strip ${target:+--target "$target"}
fi
