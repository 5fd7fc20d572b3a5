#!/bin/busybox sh
# Names that the board file can rely on, whatever numbers the kernel gave: a camera that comes back
# while somebody still holds its old node gets a new number.
rm -f /dev/video-vivid
for name in /sys/class/video4linux/video*/name; do
    if grep -q 'vivid.*vid-cap' "$name" 2>/dev/null; then
        ln -s "/dev/$(basename "$(dirname "$name")")" /dev/video-vivid
    fi
done
