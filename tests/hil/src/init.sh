#!/bin/busybox sh
# Process 1 of the VM. Mounts what a system has, loads the drivers under test, makes the simulated
# GPIO chip, and hands over to the agent. Says on the console what it does.
export PATH=/bin:/sbin:/usr/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /run /tmp /mnt
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp

# The agent's own bus first; if anything below fails, the host can still ask what.
while read -r module options; do
    insmod "/lib/modules/$(uname -r)/$module.ko" $options || echo "init: $module did not load"
done < /etc/modules.order

mount -t configfs configfs /sys/kernel/config 2>/dev/null
chip=/sys/kernel/config/gpio-sim/hil
if mkdir "$chip" 2>/dev/null; then
    mkdir "$chip/bank0"
    echo 32 > "$chip/bank0/num_lines"
    echo 1 > "$chip/live"
    echo "/sys/devices/platform/$(cat $chip/dev_name)/$(cat $chip/bank0/chip_name)" > /run/gpio-sim
    ln -s "/dev/$(cat $chip/bank0/chip_name)" /dev/gpiochip-sim
else
    echo "init: no gpio-sim"
fi

hil-names
case "$(uname -m)" in
    x86_64) ln -s /dev/ttyS1 /dev/ttyPLC; ln -s /dev/ttyS2 /dev/ttyModbus ;;
    *) ln -s /dev/ttyS0 /dev/ttyPLC; ln -s /dev/ttyS1 /dev/ttyModbus ;;
esac
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up 2>/dev/null

for port in /sys/class/virtio-ports/*; do
    if [ "$(cat "$port/name")" = hil ]; then
        echo "init: agent on /dev/$(basename "$port")"
        hil-guest "/dev/$(basename "$port")"
        echo "init: the agent ended with $?"
    fi
done
echo "init: nothing left to do"
poweroff -f
