# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
#
# What tests of VMMs, and of other clients, share; sourced in the virtual machine.

# shellcheck disable=SC2034 # for who sources this
tracing=/sys/kernel/tracing
NVME=0000:00:18.0 # the disk
points=0 failed=0
log_start=$(dmesg | wc -l)

point() { # STATUS NAME
	points=$((points + 1))
	if [ "$1" = 0 ]; then
		echo "ok $points $2"
	else
		echo "not ok $points $2"
		failed=1
	fi
}

give_to() { # DRIVER DEVICE
	local device=/sys/bus/pci/devices/$2
	[ ! -e "$device/driver" ] || echo "$2" >"$device/driver/unbind"
	echo "$1" >"$device/driver_override"
	echo "$2" >/sys/bus/pci/drivers_probe
	[ "$(basename "$(readlink "$device/driver")")" = "$1" ]
}

# How many hold kvm_iommu.ko.
module_users() {
	awk '$1 == "kvm_iommu" { print $3 }' /proc/modules
}

# Runs a VMM with the guest of guest_init. The guest's console goes to the file console;
# what QEMU says, to qemu.out.
boot_guest() { # QEMU... -- WORDS...
	local status command=''
	while [ "$1" != -- ]; do
		command="$command $1"
		shift
	done
	shift
	rm -f console
	# shellcheck disable=SC2086 # words without blanks
	timeout -s KILL 400 $command -nodefaults -no-user-config -display none -no-reboot \
		-monitor none -accel kvm -cpu host -m 256 \
		-chardev file,id=console,path=console -serial chardev:console \
		-kernel /guest/vmlinuz -initrd /guest/initrd \
		-append "console=ttyS0 quiet no_timer_check panic=-1 $*" >qemu.out 2>&1
	status=$?
	sed 's/^/# qemu: /' qemu.out
	[ ! -e console ] || tr -d '\r' <console | grep -v '^\[' | sed 's/^/# /'
	return $status
}

says() { # LINE
	tr -d '\r' <console | grep -qx "guest: $1"
}

# Whether the guest has read what it wrote, and said nothing of faults.
guest_worked() { # TIMES DOMAIN
	local turn=0
	while [ $turn -lt "$1" ]; do
		turn=$((turn + 1))
		says "read what was written, $turn" || return 1
	done
	says "domain $2" && says down || return 1
	! tr -d '\r' <console | grep -E 'DMAR: .*(fault|error)|nvme.*(timeout|error)'
}

# DMA that was blocked is in the log of the machine.
nothing_blocked() {
	dmesg -r | tail -n +$((log_start + 1)) | grep '^<[0-4]>' |
		grep -E 'DMAR|AMD-Vi|iommu|vfio' >log
	sed 's/^/# /' log
	[ ! -s log ]
}
