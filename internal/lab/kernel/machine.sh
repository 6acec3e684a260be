# What the virtual machines of run and of vm-test have in common, which source it:
# Debian's kernel, its modules, and how qemu is started.

top=$(cd ../../.. && pwd)
kernel=$top/bin/kernel # where packaging/deps.sh unpacks it

# What Open vSwitch's datapath and its tunnels need of the kernel's modules.
modules="kernel/net kernel/lib kernel/drivers/net/veth.ko kernel/drivers/net/geneve.ko"

fail() {
	echo "${0##*/}: $1" >&2
	exit 1
}

for p in qemu-system-x86_64 busybox depmod; do
	command -v "$p" >/dev/null || fail "$p is missing: run packaging/deps.sh kernel"
done
vmlinuz=$(ls "$kernel"/boot/vmlinuz-* 2>/dev/null) || fail "there is no kernel in $kernel: run packaging/deps.sh kernel"
version=${vmlinuz##*/vmlinuz-}

# copy_modules ROOT MODULES...: files and directories, and what modprobe goes by.
copy_modules() {
	to=$1/lib/modules/$version
	mkdir -p "$to"
	(root=$1 && shift && cd "$kernel/lib/modules/$version" &&
		cp -r --parents "$@" modules.builtin modules.builtin.modinfo modules.order "$to/" && depmod -b "$root" "$version")
}

# pack ROOT: prints it as an initramfs.
pack() {
	(cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null)
}

# qemu SECONDS ARGUMENTS OPTIONS...: boots the kernel, with further arguments, on a
# machine with further options. Its console is on standard output. A halt or a reboot
# ends it, and so does a panic.
qemu() {
	seconds=$1 arguments=$2
	shift 2
	timeout "$seconds" qemu-system-x86_64 $accelerator -machine q35 -nodefaults -no-reboot -display none -serial stdio \
		-kernel "$vmlinuz" -append "console=ttyS0 quiet panic=-1 mitigations=off $arguments" "$@" </dev/null
}

# Where /dev/kvm is, virtual machines need not run, as this machine may be one itself.
# It has to boot a kernel, which gives up for want of a file system.
accelerator="-accel kvm -cpu host"
if ! [ -w /dev/kvm ] || ! (ulimit -c 0 && qemu 5 "" -m 256) >/dev/null 2>&1; then
	accelerator="-accel tcg,thread=multi -cpu qemu64"
fi
