#!/bin/sh
# Steers the interrupts of a network card onto some cores, round robin, or away from them. Prints
# what it would do; --apply does it. Nothing survives a restart of the host.
#
#   tuning/irq.sh eth0                    spread over all cores, for a card with a queue for each
#   tuning/irq.sh --onto 0-3 eth0         onto these cores
#   tuning/irq.sh --away 2-15 eth0        off the cores of the shards, onto all others
#   tuning/irq.sh --apply --away 2-15 eth0
#
# Onto the shards' cores is right where each core has a queue: what arrives is handled where it is
# read. Away is right where there are few queues: their cores would fall behind as shards. Give the
# shards the rest (AllowedCPUs= in the unit). irqbalance undoes this: stop it.
# Undo: restart the host, or start irqbalance.
set -eu

ROOT=${ROOT:-} # another root than / for tests
apply=no
onto=
away=
interface=

usage() {
    echo "usage: irq.sh [--apply] [--onto CORES | --away CORES] INTERFACE" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
        --apply) apply=yes ;;
        --onto) [ $# -gt 1 ] || usage; shift; onto=$1 ;;
        --away) [ $# -gt 1 ] || usage; shift; away=$1 ;;
        -*) usage ;;
        *) interface=$1 ;;
    esac
    shift
done
class=$ROOT/sys/class/net/$interface
if [ -z "$interface" ] || [ ! -d "$class" ] || { [ -n "$onto" ] && [ -n "$away" ]; }; then
    usage
fi

# The numbers in a list such as 0-3,8.
expand() {
    echo "$1" | tr ',' '\n' | while IFS=- read -r first last; do
        seq "$first" "${last:-$first}"
    done
}

cores=$(expand "${onto:-$(cat "$ROOT/sys/devices/system/cpu/online")}")
if [ -n "$away" ]; then
    kept=
    for core in $cores; do
        expand "$away" | grep -qx "$core" || kept="$kept $core"
    done
    cores=$kept
fi
# shellcheck disable=SC2086 # the cores are words
set -- $cores
if [ $# -eq 0 ]; then
    echo "irq.sh: no core is left for the interrupts" >&2
    exit 2
fi

# A card's interrupts are listed at its device, those of a virtio card at the device's parent.
irqs=
for folder in "$class/device/msi_irqs" "$class/device/../msi_irqs"; do
    if [ -z "$irqs" ] && [ -d "$folder" ]; then
        irqs=$(find "$folder" -mindepth 1 -maxdepth 1 | sed 's|.*/||' | sort -n)
    fi
done
if [ -z "$irqs" ]; then
    irqs=$(awk -F: -v name="$interface" '$0 ~ "[ \t]" name "([ -].*)?$" { print $1 + 0 }' \
        "$ROOT/proc/interrupts")
fi
if [ -z "$irqs" ]; then
    echo "# $interface has no interrupts of its own here; see /proc/interrupts"
    exit 0
fi

for irq in $irqs; do
    file=$ROOT/proc/irq/$irq/smp_affinity_list
    [ -e "$file" ] || continue
    echo "echo $1 > $file  # now $(cat "$file")"
    if [ "$apply" = yes ]; then
        echo "$1" > "$file" || echo "  refused: the kernel manages this one itself" >&2
    fi
    # The first core goes to the end of the line.
    core=$1
    shift
    set -- "$@" "$core"
done

[ "$apply" = yes ] || echo "# nothing was changed: repeat with --apply"
