#!/usr/bin/env bash
# Boots the board of boards/qemu-virt in QEMU against the real server, through the live proxy, breaks everything that can be broken, and
# checks that nothing is lost, repeated or out of order beyond what a lost memory costs: on the network with its session in memory, the
# same in flash, and behind a relay at the other end of a bad serial wire. All three at once, as they wait more than they work.
#
#     fw-esp/test-qemu.sh            every fault once, a few minutes
#     ROUNDS=5 fw-esp/test-qemu.sh   five times
#     HOLDLINE_SEED=7 fw-esp/test-qemu.sh   other faults in another order, where they are drawn
#
# It needs QEMU and a compiler for riscv32imac. On Debian as root it installs both; elsewhere: qemu-system-riscv32 from your
# packages, and `rustup target add riscv32imac-unknown-none-elf`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=riscv32imac-unknown-none-elf
built=${CARGO_TARGET_DIR:-$PWD/target}
board=$built/qemu-virt

main() {
    command -v qemu-system-riscv32 >/dev/null || install_qemu
    find_cargo || {
        .ci/install-embedded "$target"
        find_cargo
    }
    # One board connects as any network stack lets it, the other as embassy-net does best.
    build durable holdline-qemu-virt --features durable,nal
    build volatile holdline-qemu-virt
    build host host
    # One set of packages and features, so that nothing is built twice.
    local what=(--locked -p holdline-server -p holdline-sim -p holdline-esp --features holdline-esp/relay)
    cargo build "${what[@]}" --bins --example relay
    HOLDLINE_BOARD=$board/volatile HOLDLINE_DURABLE_BOARD=$board/durable HOLDLINE_HOST_BOARD=$board/host \
        HOLDLINE_RELAY=$built/debug/examples/relay \
        HOLDLINE_SERVER=$built/debug/holdline-server HOLDLINE_SIM=$built/debug/holdline-sim \
        cargo test "${what[@]}" --test qemu -- --ignored --nocapture --test-threads 3
}

# Builds, under this name, a program of the board.
build() {
    local name=$1 program=$2
    shift 2
    (cd fw-esp/boards/qemu-virt && $bare build --locked --release --target "$target" --target-dir "$board" --bin "$program" "$@")
    cp "$board/$target/release/$program" "$board/$name"
}

# Sets `bare`: the cargo that builds for the board.
find_cargo() {
    local sysroot
    for bare in "cargo" "cargo +deb"; do
        sysroot=$(${bare/cargo/rustc} --print sysroot 2>/dev/null) || continue
        compgen -G "$sysroot/lib/rustlib/$target/lib/libcore-*.rlib" >/dev/null && return
    done
    return 1
}

install_qemu() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || {
        echo "qemu-system-riscv32 is not here; on Debian it is in the package qemu-system-misc" >&2
        return 1
    }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-system-misc >/dev/null
}

main
