package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// programs are what the lab runs, each with the package that has it on Debian
// and Ubuntu.
var programs = []struct{ name, pkg string }{
	{"ip", "iproute2"},
	{"ethtool", "ethtool"},
	{"ping", "iputils-ping"},
	{"sysctl", "procps"},
	{"ovsdb-tool", "openvswitch-common"},
	{"ovs-vsctl", "openvswitch-switch"},
	{"ovs-ofctl", "openvswitch-common"},
	{"ovs-appctl", "openvswitch-common"},
	{"ovsdb-server", "openvswitch-switch"},
	{"ovs-vswitchd", "openvswitch-switch"},
}

// machine is what the prerequisites are looked for in.
type machine struct {
	euid     int
	lookPath func(name string) (string, error)
	stat     func(path string) (os.FileInfo, error)
}

func thisMachine() machine { return machine{os.Geteuid(), exec.LookPath, os.Stat} }

// checkRoot says that the lab's work is root's.
func (m machine) checkRoot() error {
	if m.euid != 0 {
		return errors.New("lab needs root: run it with sudo")
	}
	return nil
}

// check says what is missing for a lab, in one sentence with its remedy.
func (m machine) check(d Datapath) error {
	if err := m.checkRoot(); err != nil {
		return err
	}
	for _, p := range programs {
		if _, err := m.lookPath(p.name); err != nil {
			return fmt.Errorf("lab needs %s: install the package %s", p.name, p.pkg)
		}
	}
	if _, err := m.stat("/sys/module/openvswitch"); d == Kernel && err != nil {
		return errors.New("lab needs the kernel's module openvswitch for the datapath system: run `modprobe openvswitch`, or take --datapath netdev")
	}
	if d == Userspace {
		if _, err := m.stat("/dev/net/tun"); err != nil {
			return errors.New("lab needs /dev/net/tun: run `modprobe tun`, or give the container that device")
		}
	}
	return nil
}
