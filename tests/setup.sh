#!/bin/sh
# Installs what is missing for `build`, `lint`, `kernel` or `test`. What is there is left alone, whoever
# installed it: the checks ask for programs and libraries, and only what they lack is a package.
set -eu

lack=

# need PACKAGE COMMAND...: the Debian package, and a command that succeeds where it is not needed.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || lack="$lack $package"
}

check_build() {
    if ! command -v cargo >/dev/null; then
        echo "Rust is missing: install it with rustup, then try again." >&2
        exit 1
    fi
    need build-essential cc --version
    need pkg-config pkg-config --version
    # CURVE is why it must be this libzmq and not the one that the zmq crate would compile.
    need libzmq3-dev pkg-config --exists libzmq
}

check_lint() {
    need python3 python3 --version
    if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
        return
    fi
    if command -v rustup >/dev/null; then
        rustup component add rustfmt clippy
    else
        echo "cargo fmt or cargo clippy is missing: install them the way Rust was installed," >&2
        echo "with rustup component add rustfmt clippy, or as packages rustfmt and rust-clippy." >&2
        exit 1
    fi
}

check_test() {
    check_build
    check_lint
    need python3-venv python3 -c 'import ensurepip, venv'
    need nodejs node --version
    need npm npm --version
    need chromium sh -c 'command -v chromium'
    need chromium-driver sh -c 'command -v chromedriver'
    # Proxies in front of the edge. Debian keeps them where only root looks.
    PATH=$PATH:/usr/sbin
    need nginx-light sh -c 'command -v nginx'
    need haproxy sh -c 'command -v haproxy'
    need caddy sh -c 'command -v caddy'
    need openssl sh -c 'command -v openssl'
    need default-jdk-headless sh -c 'command -v java && command -v javac'
    need maven sh -c 'command -v mvn'
    need php-cli php --version
    need curl curl --version
    need mono-mcs sh -c 'command -v mcs'
    need mono-runtime sh -c 'command -v mono'
    need libmono-system-net-http4.0-cil sh -c 'command -v mcs'
    # Go that is older than 1.21 does not fetch the newer one that the tests need: they say so then.
    if dpkg --compare-versions "$(candidate golang-go)" ge 2:1.21; then
        need golang-go go version
    fi
}

# The version of a package that there is to install, or nothing.
candidate() {
    apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p'
}

check_kernel() {
    need python3 python3 --version
    need qemu-system-x86 sh -c 'command -v qemu-system-x86_64'
    need cpio cpio --version
    need busybox-static sh -c 'command -v busybox'
}

install() {
    if ! command -v apt-get >/dev/null; then
        echo "Missing:$lack (as Debian names them). This is no Debian or Ubuntu, so please" >&2
        echo "install them with your package manager, then try again." >&2
        exit 1
    fi
    sudo=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Missing:$lack. As root, run: apt-get install$lack" >&2
            exit 1
        fi
        sudo=sudo
    fi
    echo "Installing:$lack"
    # Servers that come along are for the tests alone: none is started, now or at the next boot.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
        $sudo chmod +x "$policy"
        # shellcheck disable=SC2064 # the present values
        trap "$sudo rm -f $policy" EXIT
    fi
    $sudo apt-get update -q
    # shellcheck disable=SC2086 # one word for each package
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $lack
    for server in nginx haproxy caddy; do
        case "$lack" in
        *" $server"*) command -v systemctl >/dev/null && $sudo systemctl disable -q "$server" || true ;;
        esac
    done
}

for part in "$@"; do
    "check_$part"
done
[ -z "$lack" ] || install
