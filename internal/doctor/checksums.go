package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// checkChecksums tells which devices leave the checksums of TCP and UDP to one
// that never computes them. A sender's kernel leaves them to its device; where
// that is virtual they are left to whoever takes the packet, and Open vSwitch's
// userspace datapath sends it into a tunnel as it is. Pings get through then, and
// nothing else. The kernel's datapath computes them.
func checkChecksums(ctx context.Context, env *Env) []Finding {
	h, err := env.examined(ctx)
	if err != nil || h.Datapath != "netdev" || h.TSO {
		return nil
	}
	var findings []Finding
	right := 0
	spaces := &namespaces{}
	for _, d := range h.Devices {
		link, err := netlink.LinkByName(d.Name)
		if err != nil {
			continue // which devices are missing is another check's
		}
		s := sender{name: d.Name}
		var left bool
		switch {
		case d.Internal && hasAddress(link): // else nobody sends by it
			left, err = leavesChecksums(d.Name)
		case link.Type() == "veth":
			s, left, err = spaces.peer(link)
		default:
			continue // a NIC computes them, or is told to
		}
		switch {
		case err != nil:
			findings = append(findings, note(d.Name, "whether checksums are computed by who sends to it cannot be told: "+err.Error(),
				"see to it at the other end: "+s.remedy()))
		case left:
			findings = append(findings, bad(d.Name, s.String()+" leaves checksums to its device, which the userspace datapath does not compute: TCP and UDP get lost, pings do not",
				"have its kernel compute them: "+s.remedy()))
		default:
			right++
		}
	}
	if len(findings) == 0 && right > 0 {
		findings = append(findings, good("", "all %d that send into the userspace datapath compute them", right))
	}
	return findings
}

// sender is a device whose packets come into Open vSwitch.
type sender struct {
	name string
	path string           // of the network namespace that it is in; empty if that is this one
	mac  net.HardwareAddr // nil if it is a bridge's
}

func (s sender) String() string {
	if s.path == "" {
		return s.name
	}
	return s.name + " in " + s.path
}

// remedy is the command that makes the sender's kernel compute checksums.
func (s sender) remedy() string {
	command := "ethtool -K " + s.name + " tx off"
	if s.path == "" {
		return command
	}
	return "nsenter --net=" + s.path + " " + command
}

func hasAddress(link netlink.Link) bool {
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	return err == nil && len(addrs) > 0
}

// leavesChecksums reports whether a device of the current network namespace
// takes packets without their checksums (ethtool -k: tx-checksumming).
func leavesChecksums(device string) (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	// struct ifreq of netdevice(7), with a pointer to a struct ethtool_value.
	const ethtoolGetTxChecksum = 0x16 // ETHTOOL_GTXCSUM
	value := struct{ cmd, data uint32 }{cmd: ethtoolGetTxChecksum}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], device)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return false, fmt.Errorf("ethtool %s: %w", device, errno)
	}
	return value.data != 0, nil
}

// namespaces finds the network namespaces of this host by the numbers that this
// one has for them.
type namespaces struct{ paths map[int]string }

var errElsewhere = errors.New("its other end is in a network namespace that no process is in")

// peer looks at the other end of a veth, and whether it leaves checksums to this
// end.
func (n *namespaces) peer(link netlink.Link) (s sender, left bool, err error) {
	look := func() error {
		other, err := netlink.LinkByIndex(link.Attrs().ParentIndex)
		if err != nil {
			return fmt.Errorf("the other end of %s: %w", link.Attrs().Name, err)
		}
		s.name = other.Attrs().Name
		if other.Attrs().MasterIndex == 0 { // else it is a bridge's, which sends nothing itself
			s.mac = other.Attrs().HardwareAddr
			left, err = leavesChecksums(s.name)
		}
		return err
	}
	id := link.Attrs().NetNsID
	if id < 0 {
		err = look()
		return s, left, err
	}
	if s.path, err = n.path(id); err == nil {
		err = inNamespace(s.path, look)
	}
	if s.name == "" {
		s.name = "DEVICE"
	}
	return s, left, err
}

// inNamespace does something in the network namespace at path.
func inNamespace(path string, do func() error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	done := make(chan error)
	go func() {
		// A namespace is its thread's. It is never unlocked, so that the thread
		// ends with the goroutine and nobody else finds himself in there.
		runtime.LockOSThread()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter %s: %w", path, err)
			return
		}
		done <- do()
	}()
	return <-done
}

// path returns a path by which a network namespace can be entered.
func (n *namespaces) path(id int) (string, error) {
	if n.paths == nil {
		n.paths = map[int]string{}
		named, _ := filepath.Glob("/run/netns/*")
		ofProcesses, _ := filepath.Glob("/proc/[0-9]*/ns/net")
		seen := map[string]bool{} // namespaces of processes
		for _, path := range append(named, ofProcesses...) {
			if to, err := os.Readlink(path); err == nil { // net:[4026531840]
				if seen[to] {
					continue
				}
				seen[to] = true
			}
			if id, err := idOf(path); err == nil && n.paths[id] == "" {
				n.paths[id] = path
			}
		}
	}
	if path := n.paths[id]; path != "" {
		return path, nil
	}
	return "", errElsewhere
}

// idOf returns the number that this network namespace has for the one at path.
func idOf(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	id, err := netlink.GetNetNsIdByFd(int(f.Fd()))
	if err == nil && id < 0 {
		err = errElsewhere
	}
	return id, err
}
