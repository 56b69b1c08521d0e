#!/usr/bin/env bash
# Runs every fuzz target for some seconds, from the seeds and from what earlier runs found: tests/fuzz/run.sh [SECONDS [TARGET...]]
# Gets cargo-fuzz where it is missing. What is found stays in target/fuzz; a failing input is named, and makes this fail.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-10}
shift || true
root=$PWD/target/fuzz
# libFuzzer's instrumentation asks for a compiler option that is not stable; no other compiler is needed for it.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$root/build

if ! cargo fuzz --version >/dev/null 2>&1; then
    CARGO_TARGET_DIR=$root/tools-build cargo install cargo-fuzz --version 0.13.2 --locked --root "$root/tools" --quiet
    export PATH=$root/tools/bin:$PATH
fi

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(basename -s .rs -a tests/fuzz/targets/*.rs)
fi
# The code has no `unsafe` for the address sanitizer to watch, and runs several times as fast without it.
cargo fuzz build --fuzz-dir tests/fuzz --sanitizer none
# Its output is printed whole, since as many targets as there are cores run at once.
fuzz() {
    local target=$1 corpus=$root/corpus/$1 ended=0 output
    mkdir -p "$corpus" "$root/found/$target"
    # What an earlier run found is tried again with the seeds: it fails for as long as it is not mended.
    output=$(cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none "$target" "$corpus" "tests/fuzz/seeds/$target" "$root/found/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -artifact_prefix="$root/found/$target/" -print_final_stats=1 2>&1) || ended=$?
    printf '\n== fuzz %s for %s s\n%s\n' "$target" "$seconds" "$(grep -E 'stat::|panicked|ERROR|error|SUMMARY|artifact' <<<"$output")"
    if [ "$ended" -ne 0 ]; then
        echo "$target failed; inputs that it failed on are in $root/found/$target"
        return 1
    fi
}
export root seconds
export -f fuzz
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I TARGET bash -c 'fuzz TARGET'
