// Package ovstest starts an Open vSwitch for a test: an ovsdb-server and an
// ovs-vswitchd of its own, in a run directory of its own, with the dummy
// datapath, which makes every interface a simulated one. It needs no device,
// no namespace and no kernel module, and many of them run side by side. For what
// only the userspace datapath does there is StartIsolated.
//
// It is not for traffic between hosts; internal/lab is. The tests of
// internal/ovs and of those above it use it, and nothing else does.
package ovstest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait; only a daemon that is broken takes that long.
const patience = 20 * time.Second

const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// OVS is a running Open vSwitch. Its methods fail the test that started it on
// every error, so that they return none, and are called from its goroutine.
type OVS struct {
	t        testing.TB
	dir      string
	db       *daemon
	vswitchd *daemon
	isolated bool
}

// daemon is a child process. Its done is closed when it has been reaped.
type daemon struct {
	cmd    *exec.Cmd
	done   chan struct{}
	paused bool
}

// Start starts an Open vSwitch without bridges, whose system-id is "hv-test".
// Both daemons end, and their directory goes, with the test.
func Start(t testing.TB) *OVS { return start(t, false) }

// StartIsolated is Start for bridges of datapath_type netdev, whose devices are
// real: each ovs-vswitchd has a network namespace of its own, which ends with it.
// Exec runs commands there.
func StartIsolated(t testing.TB) *OVS { return start(t, true) }

func start(t testing.TB, isolated bool) *OVS {
	t.Helper()
	// Not t.TempDir: it holds the test's name, and a path to a Unix socket
	// has room for 107 bytes.
	dir, err := os.MkdirTemp("", "ovstest")
	if err != nil {
		t.Fatalf("make a run directory: %v", err)
	}
	o := &OVS{t: t, dir: dir, isolated: isolated}
	t.Cleanup(o.clean)
	o.run("ovsdb-tool", "create", filepath.Join(dir, "conf.db"), schema)
	o.StartDB()
	o.run("ovs-vsctl", "--db=unix:"+o.DBSock(), "--timeout=20", "--no-wait", "init", "--",
		"set", "Open_vSwitch", ".", "external_ids:system-id=hv-test")
	o.StartVswitchd()
	return o
}

// RunDir returns the directory that OVS_RUNDIR names.
func (o *OVS) RunDir() string { return o.dir }

// DBSock returns the path of ovsdb-server's socket.
func (o *OVS) DBSock() string { return filepath.Join(o.dir, "db.sock") }

// Mgmt returns the path of the OpenFlow socket of a bridge.
func (o *OVS) Mgmt(bridge string) string { return filepath.Join(o.dir, bridge+".mgmt") }

// Env returns the environment in which the tools of Open vSwitch, or an agent,
// find this one.
func (o *OVS) Env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+o.dir, "OVS_DBDIR="+o.dir, "OVS_LOGDIR="+o.dir, "OVS_SYSCONFDIR="+o.dir)
}

// Vsctl runs ovs-vsctl and returns what it prints. It waits until ovs-vswitchd
// has done what was asked for, unless that is stopped or paused.
func (o *OVS) Vsctl(args ...string) string {
	o.t.Helper()
	flags := []string{"--db=unix:" + o.DBSock(), "--timeout=20"}
	if o.vswitchd == nil || o.vswitchd.paused {
		flags = append(flags, "--no-wait")
	}
	return o.run("ovs-vsctl", append(flags, args...)...)
}

// Ofctl runs ovs-ofctl, speaking OpenFlow 1.4, and returns what it prints.
func (o *OVS) Ofctl(args ...string) string {
	o.t.Helper()
	return o.run("ovs-ofctl", append([]string{"-OOpenFlow14", "--timeout=20"}, args...)...)
}

// Appctl runs ovs-appctl on ovs-vswitchd and returns what it prints.
func (o *OVS) Appctl(args ...string) string {
	o.t.Helper()
	return o.run("ovs-appctl", append([]string{"--timeout=20"}, args...)...)
}

// Exec runs a command in the network namespace of ovs-vswitchd and returns what
// it prints.
func (o *OVS) Exec(args ...string) string {
	o.t.Helper()
	return o.run("nsenter", append([]string{"--net", "--target", strconv.Itoa(o.vswitchd.cmd.Process.Pid), "--"}, args...)...)
}

// Underlay gives an ovs-vswitchd of StartIsolated the address 10.0.0.1 in a bridge
// br-phy, in which all of 10.0.0.0/16 answer ARP, so that tunnels can lead there.
// The next one has it only when this is called again.
func (o *OVS) Underlay() {
	o.t.Helper()
	o.Vsctl("--may-exist", "add-br", "br-phy", "--", "set", "Bridge", "br-phy", "datapath_type=netdev")
	o.Ofctl("add-flow", "br-phy", "priority=9,arp,arp_op=1,actions=move:eth_src->eth_dst,set_field:02:00:00:00:00:99->eth_src,"+
		"load:2->arp_op,move:arp_sha->arp_tha,set_field:02:00:00:00:00:99->arp_sha,"+
		"push:arp_spa,push:arp_tpa,pop:arp_spa,pop:arp_tpa,in_port")
	o.Exec("ip", "address", "add", "10.0.0.1/16", "dev", "br-phy")
	o.Exec("ip", "link", "set", "br-phy", "up")
}

// StartDB starts ovsdb-server again after StopDB, on the same database.
func (o *OVS) StartDB() {
	o.t.Helper()
	o.db = o.start(0, "ovsdb-server", "--remote=punix:"+o.DBSock(), filepath.Join(o.dir, "conf.db"))
	o.waitFor("ovsdb-server", func() bool { return listening(o.DBSock()) })
}

// StopDB stops ovsdb-server and waits for its end. While it is away,
// ovs-vswitchd forwards packets, but answers no OpenFlow request: it has lost
// the lock on the database.
func (o *OVS) StopDB() { o.stop(&o.db) }

// PauseDB makes ovsdb-server hang: its connections stay, and it does nothing.
func (o *OVS) PauseDB() { o.pause(o.db, true) }

// ResumeDB lets ovsdb-server go on.
func (o *OVS) ResumeDB() { o.pause(o.db, false) }

// PauseVswitchd makes ovs-vswitchd hang: its connections stay, and it does
// nothing, nor does a datapath that it contains.
func (o *OVS) PauseVswitchd() { o.pause(o.vswitchd, true) }

// ResumeVswitchd lets ovs-vswitchd go on.
func (o *OVS) ResumeVswitchd() { o.pause(o.vswitchd, false) }

func (o *OVS) pause(d *daemon, paused bool) {
	o.t.Helper()
	sig := syscall.SIGCONT
	if paused {
		sig = syscall.SIGSTOP
	}
	if err := d.cmd.Process.Signal(sig); err != nil {
		o.t.Fatalf("send %s to %s: %v", sig, d.cmd.Path, err)
	}
	d.paused = paused
}

// StartVswitchd starts ovs-vswitchd again after StopVswitchd and waits until
// the bridges in the database accept OpenFlow connections. They have no flows
// but what Open vSwitch itself puts there.
func (o *OVS) StartVswitchd() {
	o.t.Helper()
	namespace := uintptr(0)
	if o.isolated {
		namespace = syscall.CLONE_NEWNET
	}
	o.vswitchd = o.start(namespace, "ovs-vswitchd", "--enable-dummy=system", "--disable-system", "unix:"+o.DBSock())
	ready := []string{filepath.Join(o.dir, fmt.Sprintf("ovs-vswitchd.%d.ctl", o.vswitchd.cmd.Process.Pid))}
	for bridge := range strings.FieldsSeq(o.Vsctl("--no-wait", "list-br")) {
		ready = append(ready, o.Mgmt(bridge))
	}
	for _, sock := range ready {
		o.waitFor("ovs-vswitchd", func() bool { return listening(sock) })
	}
}

// StopVswitchd stops ovs-vswitchd and waits for its end. Its bridges stay in
// the database; their flows are gone.
func (o *OVS) StopVswitchd() { o.stop(&o.vswitchd) }

// start runs a daemon in the foreground, as a child that dies with the test
// process, whatever that dies of, and has the new namespaces of these flags.
func (o *OVS) start(namespaces uintptr, name string, args ...string) *daemon {
	o.t.Helper()
	args = append([]string{"--pidfile", "--no-chdir", "-vconsole:off", "-vsyslog:off", "-vfile:info", "--log-file"}, args...)
	d := &daemon{cmd: exec.Command(name, args...), done: make(chan struct{})}
	d.cmd.Env = o.Env()
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Unshareflags: namespaces}
	started := make(chan error)
	go func() {
		// Pdeathsig is about the thread that forks; it must not end before
		// the daemon, as the thread of a test in a namespace may.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			d.cmd.Wait()
		}
		close(d.done)
	}()
	if err := <-started; err != nil {
		o.t.Fatalf("start %s (package openvswitch-switch): %v", name, err)
	}
	return d
}

func (o *OVS) stop(d **daemon) {
	if *d == nil {
		return
	}
	(*d).cmd.Process.Signal(syscall.SIGTERM)
	(*d).cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-(*d).done:
	case <-time.After(patience):
		(*d).cmd.Process.Kill()
		<-(*d).done
	}
	*d = nil
}

// clean stops what runs. What the daemons logged is worth reading when the
// test failed, so it is printed then.
func (o *OVS) clean() {
	o.StopVswitchd()
	o.StopDB()
	if o.t.Failed() {
		for _, name := range []string{"ovsdb-server.log", "ovs-vswitchd.log"} {
			if log, err := os.ReadFile(filepath.Join(o.dir, name)); err == nil {
				o.t.Logf("%s ends in:\n%s", name, log[max(0, len(log)-4096):])
			}
		}
	}
	if err := os.RemoveAll(o.dir); err != nil {
		o.t.Errorf("remove the run directory: %v", err)
	}
}

func (o *OVS) run(name string, args ...string) string {
	o.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = o.Env()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.Bytes())
	}
	return strings.TrimRight(string(out), "\n")
}

func (o *OVS) waitFor(what string, ready func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(patience); !ready(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.t.Fatalf("%s is not ready after %s", what, patience)
		}
	}
}

func listening(sock string) bool {
	c, err := net.Dial("unix", sock)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
