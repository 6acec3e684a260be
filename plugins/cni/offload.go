package cni

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"cni.tuplenet/attach"
)

// ComputeChecksums makes the kernel compute the checksums of what is sent
// through an interface, as `ethtool -K NAME tx off` does, in place of leaving
// that to a NIC which a userspace datapath does not have.
func (n *Netns) ComputeChecksums(name string) error {
	// struct ethtool_value and struct ifreq, see ethtool.h and netdevice(7).
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_STXCSUM, data: 0}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n.ioctls), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&value)
	if errno != 0 {
		return attach.Errorf(attach.CodeIO, "turn checksum offload of interface %s%s off: %s", name, n.where(), errno)
	}
	return nil
}
