package lab

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestPrerequisites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		euid     int
		missing  string
		datapath Datapath
		want     string
	}{
		{0, "", Userspace, ""},
		{1000, "", Userspace, "lab needs root: run it with sudo"},
		{0, "ip", Userspace, "lab needs ip: install the package iproute2"},
		{0, "ethtool", Kernel, "lab needs ethtool: install the package ethtool"},
		{0, "ping", Userspace, "lab needs ping: install the package iputils-ping"},
		{0, "ovsdb-tool", Userspace, "lab needs ovsdb-tool: install the package openvswitch-common"},
		{0, "ovs-vswitchd", Userspace, "lab needs ovs-vswitchd: install the package openvswitch-switch"},
		{0, "/dev/net/tun", Userspace, "lab needs /dev/net/tun: run `modprobe tun`, or give the container that device"},
		{0, "/dev/net/tun", Kernel, ""},
	} {
		m := machine{c.euid,
			func(name string) (string, error) {
				if name == c.missing {
					return "", errors.New("not in PATH")
				}
				return "/bin/" + name, nil
			},
			func(path string) (os.FileInfo, error) {
				if path == c.missing {
					return nil, fs.ErrNotExist
				}
				return nil, nil
			}}
		got := ""
		if err := m.check(c.datapath); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("without %q, as user %d, datapath %s: %q, want %q", c.missing, c.euid, c.datapath, got, c.want)
		}
	}
}
