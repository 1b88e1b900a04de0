#!/bin/sh
# Spreads a network card's work over all cores: queues (RSS), ring sizes, interrupt coalescing, and
# where there are fewer queues than cores, steering by the kernel (RPS) and the choice of send
# queues (XPS). Prints what it would do; --apply does it. Nothing survives a restart of the host:
# run it from a unit or from the network configuration.
#
#   tuning/nic.sh eth0            what it would do
#   tuning/nic.sh --apply eth0    do it, as root
#
# Undo: restart the host, or `ethtool -L`, `-G`, `-C` with the values that the first lines show.
set -eu

ROOT=${ROOT:-} # a made-up root instead of /, for tests; ethtool would ask the real card
apply=no
interface=

for argument; do
    case $argument in
        --apply) apply=yes ;;
        -*) echo "usage: nic.sh [--apply] INTERFACE" >&2; exit 2 ;;
        *) interface=$argument ;;
    esac
done
class=$ROOT/sys/class/net/$interface
if [ -z "$interface" ] || [ ! -d "$class/queues" ]; then
    echo "usage: nic.sh [--apply] INTERFACE, one of: $(ls "$ROOT/sys/class/net")" >&2
    exit 2
fi

# The numbers in a list such as 0-3,8.
expand() {
    echo "$1" | tr ',' '\n' | while IFS=- read -r first last; do
        seq "$first" "${last:-$first}"
    done
}

# The bit mask of cores in the form that the kernel reads: groups of 32 bits, highest first.
mask() {
    highest=0
    for core; do
        [ "$core" -gt "$highest" ] && highest=$core
    done
    group=$((highest / 32))
    text=
    while [ "$group" -ge 0 ]; do
        bits=0
        for core; do
            [ $((core / 32)) -eq "$group" ] && bits=$((bits | 1 << (core % 32)))
        done
        text=$text${text:+,}$(printf '%08x' "$bits")
        group=$((group - 1))
    done
    echo "$text"
}

run() {
    echo "$*"
    if [ "$apply" = yes ]; then
        "$@" || echo "  refused: the card or its driver cannot" >&2
    fi
}

put() {
    echo "echo $1 > $2"
    if [ "$apply" = yes ]; then
        echo "$1" > "$2" || echo "  refused: the card or its driver cannot" >&2
    fi
}

# A number of `ethtool -l` or `-g`: section ("Pre-set" or "Current"), then the name before the colon.
number() {
    ethtool "$1" "$interface" 2>/dev/null | awk -F: -v section="$2" -v name="$3" '
        /^Pre-set|^Current/ { inside = index($0, section) == 1 }
        inside && $1 == name { gsub(/[ \t]/, "", $2); print $2; exit }'
}

count() {
    find "$class/queues" -maxdepth 1 -name "$1-*" | wc -l
}

cores=$(expand "$(cat "$ROOT/sys/devices/system/cpu/online")")
core_count=$(echo "$cores" | wc -l)
receive_count=$(count rx)
echo "# $interface: $((receive_count)) receive queues, $(($(count tx))) send queues, $core_count cores"

if [ -z "$ROOT" ] && command -v ethtool > /dev/null; then
    most=$(number -l Pre-set Combined)
    now=$(number -l Current Combined)
    case $most in
        '' | *[!0-9]*) ;;
        *)
            wanted=$((most < core_count ? most : core_count))
            echo "# combined queues: $now now, $most at most"
            [ "$wanted" = "$now" ] || run ethtool -L "$interface" combined "$wanted"
            [ "$wanted" -gt "$receive_count" ] && receive_count=$wanted
            ;;
    esac
    for ring in RX TX; do
        most=$(number -g Pre-set $ring)
        now=$(number -g Current $ring)
        case $most in
            '' | *[!0-9]*) ;;
            *)
                # Longer rings than this cost cache misses instead of drops.
                wanted=$((most < 4096 ? most : 4096))
                echo "# $ring ring: $now now, $most at most"
                option=$(echo $ring | tr '[:upper:]' '[:lower:]')
                [ "$now" -ge "$wanted" ] || run ethtool -G "$interface" "$option" "$wanted"
                ;;
        esac
    done
    run ethtool -C "$interface" adaptive-rx on adaptive-tx on
else
    echo "# no ethtool here: queues, rings and coalescing stay as they are"
fi

# With a queue for each core the card has done the spreading; another hop would only cost.
# shellcheck disable=SC2086 # the cores are words
if [ "$receive_count" -lt "$core_count" ]; then
    steer=$(mask $cores)
else
    steer=$(mask)
fi
for queue in "$class"/queues/rx-*; do
    [ -e "$queue/rps_cpus" ] && put "$steer" "$queue/rps_cpus"
done

# Each core sends on a queue of its own, or shares one with as few others as possible.
sender_count=$(count tx)
index=0
for queue in "$class"/queues/tx-*; do
    [ -e "$queue/xps_cpus" ] || continue
    users=
    place=0
    for core in $cores; do
        [ $((place % sender_count)) -eq "$index" ] && users="$users $core"
        place=$((place + 1))
    done
    # shellcheck disable=SC2086 # the cores are words
    [ -z "$users" ] || put "$(mask $users)" "$queue/xps_cpus"
    index=$((index + 1))
done

[ "$apply" = yes ] || echo "# nothing was changed: repeat with --apply"
