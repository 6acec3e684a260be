package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/internal/lab"
)

// BenchmarkCNI measures ADD and DEL of tpcni and of Debian's bridge with
// host-local, whole processes as a runtime starts them, in turn on one host. The
// bound of both is that of a plugin that talks to nobody.
func BenchmarkCNI(b *testing.B) {
	const runs = 100
	bridge := "/usr/lib/cni/bridge"
	if _, err := os.Stat(bridge); err != nil {
		b.Fatalf("%v: install the package containernetworking-plugins", err)
	}
	n := newNetwork(b, lab.Spec{
		Hosts:    []lab.Host{{Name: "host"}},
		Switches: []lab.Switch{{Name: "LS-A"}},
		Routers:  []lab.Router{{Name: "LR", Links: []lab.Link{{Switch: "LS-A", Address: "10.20.0.1/16"}}}},
	})
	tpcni := filepath.Join(b.TempDir(), "tpcni")
	if err := os.Symlink(binary, tpcni); err != nil {
		b.Fatal(err)
	}
	plugins := []*plugin{
		{path: tpcni, conf: `{"cniVersion": "1.0.0", "name": "ours", "type": "tpcni", "switchname": "LS-A"}`},
		{path: bridge, conf: fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "theirs", "type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
			"ipam": {"type": "host-local", "subnet": "10.99.0.0/16", "dataDir": %q}}`, b.TempDir())},
	}
	enter(b, n.Name+"-host")
	env := n.command("host", "true").Env
	for i := range runs + 1 { // the first one makes the bridge, and counts for nobody
		for _, p := range plugins {
			container := fmt.Sprintf("%s-%d", filepath.Base(p.path), i)
			netns := n.Name + "-" + container // so that it goes with the lab
			if out, err := exec.Command("ip", "netns", "add", netns).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			add := p.call(b, env, "ADD", container, netns)
			del := p.call(b, env, "DEL", container, netns)
			if i > 0 {
				p.add, p.del = append(p.add, add), append(p.del, del)
			}
			if out, err := exec.Command("ip", "netns", "del", netns).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	}
	const bound = 1.5
	for _, verb := range []struct {
		name         string
		ours, theirs []time.Duration
	}{{"ADD", plugins[0].add, plugins[1].add}, {"DEL", plugins[0].del, plugins[1].del}} {
		ours, theirs := median(verb.ours), median(verb.theirs) // it sorts
		ratio := ours.Seconds() / theirs.Seconds()
		b.ReportMetric(ratio, verb.name+"-ratio")
		report(b, fmt.Sprintf("CNI %s, against the bridge plugin with host-local", verb.name),
			fmt.Sprintf("%.2f times: %.1f against %.1f ms, medians of %d, 99%% within %.1f and %.1f ms", ratio, milli(ours), milli(theirs), runs,
				milli(verb.ours[runs*99/100]), milli(verb.theirs[runs*99/100])),
			"1.5 times", ratio <= bound)
	}
}

// BenchmarkCNIStart measures the start of the plugin beside that of the rest of
// the binary: what is initialised for etcd's server, above all, must not be for
// each container.
func BenchmarkCNIStart(b *testing.B) {
	const runs = 100
	tpcni := filepath.Join(b.TempDir(), "tpcni")
	if err := os.Symlink(binary, tpcni); err != nil {
		b.Fatal(err)
	}
	p := &plugin{path: tpcni, conf: `{"cniVersion": "1.0.0"}`}
	var plugin, whole []time.Duration
	for range runs {
		plugin = append(plugin, p.call(b, os.Environ(), "VERSION", "", ""))
		whole = append(whole, timed(b, exec.Command(binary, "version")))
	}
	ours, all := median(plugin), median(whole)
	report(b, "start of the CNI plugin: tpcni VERSION, beside tuplenet version",
		fmt.Sprintf("%.1f and %.1f ms, medians of %d", milli(ours), milli(all), runs), "below tuplenet version, ours", ours < all)
}

// plugin is a CNI plugin, and how long its calls took.
type plugin struct {
	path, conf string
	add, del   []time.Duration
}

// call calls the plugin and returns how long it took.
func (p *plugin) call(b *testing.B, env []string, command, container, netns string) time.Duration {
	b.Helper()
	cmd := exec.Command(p.path)
	cmd.Env = append(env[:len(env):len(env)], "CNI_COMMAND="+command, "CNI_CONTAINERID="+container, "CNI_NETNS=/run/netns/"+netns,
		"CNI_IFNAME=eth0", "CNI_PATH="+filepath.Dir(p.path))
	cmd.Stdin = strings.NewReader(p.conf)
	return timed(b, cmd)
}

// timed runs a command, which has to succeed, and returns how long it took.
func timed(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if err != nil {
		b.Fatalf("%s: %v: %s", cmd, err, out.String())
	}
	return took
}

// enter lets this goroutine start processes in a network namespace, without one
// more process between that would be measured, too.
func enter(b *testing.B, netns string) {
	b.Helper()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		b.Fatal(err)
	}
	there, err := os.Open("/run/netns/" + netns)
	if err != nil {
		b.Fatal(err)
	}
	defer there.Close()
	runtime.LockOSThread() // a namespace belongs to a thread
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		b.Fatalf("enter %s: %v", netns, err)
	}
	b.Cleanup(func() {
		defer own.Close()
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
			b.Fatalf("leave %s: %v", netns, err) // and the thread ends with the goroutine
		}
		runtime.UnlockOSThread()
	})
}

func milli(d time.Duration) float64 { return micro(d) / 1e3 }
