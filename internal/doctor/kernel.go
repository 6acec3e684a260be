package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// genevePort is Geneve's UDP port (RFC 8926), in the hex of /proc/net/udp.
const genevePort = "17C1" // 6081

// checkKernel tells whether the kernel has what the datapath needs of it.
func checkKernel(ctx context.Context, env *Env) []Finding {
	h, err := env.examined(ctx)
	if err != nil || h.Bridge == "" {
		return nil
	}
	var findings []Finding
	switch h.Datapath {
	case "system":
		findings = checkModules()
	default:
		findings = []Finding{good("", "datapath %s needs nothing of it", h.Datapath)}
	}
	owner, err := geneveSocket("/proc")
	switch {
	case err != nil:
		findings = append(findings, note("", "who listens at UDP port 6081 cannot be told: "+err.Error(), "run it as root"))
	case owner != "" && h.Datapath == "system":
		findings = append(findings, bad("", "UDP port 6081, Geneve's, is in use by "+owner+", so that no tunnel receives", "stop that, or have it use another port"))
	case owner != "":
		findings = append(findings, note("", "UDP port 6081, Geneve's, is in use by "+owner, "stop that if it is no Open vSwitch"))
	}
	return findings
}

// checkModules looks for what the kernel's datapath is made of.
func checkModules() []Finding {
	// Whether built in or loaded, the module has a family of generic netlink.
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err != nil {
		return []Finding{bad("", fmt.Sprintf("has no module openvswitch, which datapath type system needs (%v)", err),
			"load it: modprobe openvswitch; where there is none, have the agent make br-int with datapath_type=netdev: "+
				"ovs-vsctl set Bridge br-int datapath_type=netdev")}
	}
	findings := []Finding{good("", "has the module openvswitch")}
	most, err := number("/proc/sys/net/netfilter/nf_conntrack_max")
	if errors.Is(err, unix.ENOENT) {
		return append(findings, note("", "connection tracking (nf_conntrack) is not loaded, which NAT needs", "load it: modprobe nf_conntrack"))
	}
	used, errUsed := number("/proc/sys/net/netfilter/nf_conntrack_count")
	if err == nil && errUsed == nil && used > most/10*9 {
		findings = append(findings, bad("", fmt.Sprintf("connection tracking is full: %d of %d connections", used, most),
			fmt.Sprintf("give it room: sysctl -w net.netfilter.nf_conntrack_max=%d", 4*most)))
	}
	return findings
}

func number(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// geneveSocket returns which process has a socket at Geneve's port, if one has;
// the kernel's own tunnels have none that belongs to a process.
func geneveSocket(proc string) (owner string, err error) {
	for _, table := range []string{"net/udp", "net/udp6"} {
		text, err := os.ReadFile(filepath.Join(proc, table))
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(string(text)) {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode, see proc(5)
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], ":"+genevePort) && f[9] != "0" {
				return processWith(proc, f[9]), nil
			}
		}
	}
	return "", nil
}

// processWith names the process that has a socket, by its inode.
func processWith(proc, inode string) string {
	links, _ := filepath.Glob(filepath.Join(proc, "[0-9]*/fd/*"))
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == "socket:["+inode+"]" {
			pid := strings.Split(strings.TrimPrefix(link, proc+"/"), "/")[0]
			name, _ := os.ReadFile(filepath.Join(proc, pid, "comm"))
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return "a process of another user or container"
}
