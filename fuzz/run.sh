#!/bin/sh
# Fuzzes every target (or those named) for some seconds each, from its seeds.
#
#   fuzz/run.sh [seconds per target, default 10] [target...]
#
# Needs no cargo-fuzz: the flags below are the ones it would set. Coverage instrumentation is a
# nightly feature; where there is no nightly toolchain, or STABLE=1 is set, RUSTC_BOOTSTRAP=1
# unlocks it in stable. SANITIZER=address adds AddressSanitizer (nightly only). Findings land in
# fuzz/artifacts, new inputs in fuzz/corpus; neither is committed.
set -eu

cd "$(dirname "$0")"
seconds=${1:-10}
[ $# -gt 0 ] && shift
targets=${*:-$(ls fuzz_targets | sed 's/\.rs$//')}
triple=$(rustc -vV | sed -n 's/^host: //p')

toolchain=
if [ -z "${STABLE:-}" ] && rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    toolchain=+nightly
else
    export RUSTC_BOOTSTRAP=1
fi

export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares${SANITIZER:+ -Zsanitizer=$SANITIZER}"

# An explicit target keeps the instrumentation out of build scripts and procedural macros.
echo "== building the targets"
cargo $toolchain build --locked --release --target "$triple" --bins

passed=0
failed=0
for target in $targets; do
    mkdir -p "corpus/$target" "artifacts/$target"
    echo "== $target: $seconds s"
    "${CARGO_TARGET_DIR:-target}/$triple/release/$target" \
        "corpus/$target" "seeds/$target" -artifact_prefix="artifacts/$target/" \
        -max_total_time="$seconds" -max_len=16384 -timeout=5 -rss_limit_mb=1024 \
        2>"artifacts/$target/log" && status=0 || status=$?
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        tail -n 1 "artifacts/$target/log"
    else
        failed=$((failed + 1))
        tail -n 40 "artifacts/$target/log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
