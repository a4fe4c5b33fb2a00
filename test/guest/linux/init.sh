#!/bin/busybox sh
# The whole userland of the Linux guest. Two processes: one checks and rewrites memory, one counts on the console.
# Each line of the counter is a heartbeat: counter=<n> checksum=<of all memory checked> checks=<n> errors=<n> ok|CORRUPT
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /memory
for module in /modules/*; do insmod "$module" 2>/dev/null; done
exec </dev/ttyS0 >/dev/ttyS0 2>&1

# 2 MiB: each round compares its checksum, then rewrites a sixteenth of it. (/dev/urandom would wait for entropy.)
check_memory() {
  checks=0 errors=0 verdict=ok
  cat /bin/busybox /bin/busybox | head -c 2097152 >/memory/data
  while :; do
    expected=$(md5sum </memory/data)
    report "checksum=${expected%% *} checks=$checks errors=$errors $verdict"
    sleep 1
    [ "$(md5sum </memory/data)" = "$expected" ] || errors=$((errors + 1)) verdict=CORRUPT
    checks=$((checks + 1))
    yes "$checks $expected" | dd of=/memory/data bs=131072 seek=$((checks % 16)) count=1 iflag=fullblock conv=notrunc 2>/dev/null
  done
}

# A rename, so that the counter never reads half a line.
report() {
  echo "$1" >/memory/report.new
  mv /memory/report.new /memory/report
}

# ACPI power-down: the first event of the power button ends the machine.
obey_power_button() {
  for name in /sys/class/input/event*/device/name; do
    if grep -q 'Power Button' "$name" 2>/dev/null; then
      event=${name#/sys/class/input/}
      (head -c 1 "/dev/input/${event%%/*}" >/dev/null && echo 'powering off' && poweroff -f) &
    fi
  done
}

echo "Linux $(uname -r) is up"
obey_power_button
check_memory &
# read's timeout is a sleep without a new process
mkfifo /memory/never
exec 3<>/memory/never
until [ -e /memory/report ]; do read -r -t 0.05 _ <&3; done
counter=0
while :; do
  counter=$((counter + 1))
  read -r report </memory/report
  echo "counter=$counter $report"
  read -r -t 0.05 _ <&3
done
