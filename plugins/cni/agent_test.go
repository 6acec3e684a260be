package cni

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"cni.tuplenet/attach"
)

// patienceOfTest bounds what a test waits for.
const patienceOfTest = 5 * time.Second

// reply is what a fake agent does with a request: it writes, and hangs up if it
// returns false.
type reply func(w io.Writer, r attach.Request) bool

func says(a attach.Answer) reply {
	return func(w io.Writer, _ attach.Request) bool { return json.NewEncoder(w).Encode(a) == nil }
}

func writes(text string) reply {
	return func(w io.Writer, _ attach.Request) bool {
		_, err := io.WriteString(w, text)
		return err == nil
	}
}

func refuses(code attach.Code, msg string) reply {
	return says(attach.Answer{Error: &attach.Error{Code: code, Msg: msg}})
}

func hangsUp(io.Writer, attach.Request) bool { return false }

func isSilent(io.Writer, attach.Request) bool { return true }

// reserved is what a fake agent answers to Reserve if it is told nothing else.
var reserved = attach.Answer{Switch: "LS_A", Port: "lsp-eth0-c1", IP: "10.20.1.5/24", MAC: "f2:01:0a:14:01:05", Gateway: "10.20.1.1", MTU: 1442}

// fakeAgent speaks the protocol and does nothing.
type fakeAgent struct {
	dir     string
	replies map[attach.Op]reply

	mu       sync.Mutex
	requests []attach.Request
	ended    int // conversations
}

// newFakeAgent serves in a directory of its own, which is made the one that
// plugins ask, until the test ends.
func newFakeAgent(t *testing.T) *fakeAgent {
	f := &fakeAgent{dir: t.TempDir(), replies: map[attach.Op]reply{attach.Reserve: says(reserved)}}
	l, err := net.Listen("unix", filepath.Join(f.dir, attach.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("TUPLENET_RUNDIR", f.dir)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go f.converse(conn)
		}
	}()
	return f
}

func (f *fakeAgent) converse(conn net.Conn) {
	defer func() {
		conn.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ended++
	}()
	for in := bufio.NewScanner(conn); in.Scan(); {
		var r attach.Request
		if json.Unmarshal(in.Bytes(), &r) != nil {
			return
		}
		f.mu.Lock()
		f.requests = append(f.requests, r)
		answer := f.replies[r.Op]
		f.mu.Unlock()
		if answer == nil {
			answer = says(attach.Answer{})
		}
		if !answer(conn, r) {
			return
		}
	}
}

// asked returns the operations that were asked for.
func (f *fakeAgent) asked() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ops []string
	for _, r := range f.requests {
		ops = append(ops, string(r.Op))
	}
	return strings.Join(ops, " ")
}

// last returns the last request of a kind.
func (f *fakeAgent) last(t *testing.T, op attach.Op) attach.Request {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range slices.Backward(f.requests) {
		if r.Op == op {
			return r
		}
	}
	t.Fatalf("the agent was not asked to %s", op)
	return attach.Request{}
}

// conversations returns how many have ended.
func (f *fakeAgent) conversations() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended
}

// newNetns makes a network namespace and returns its path.
func newNetns(t *testing.T) string {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	name := "tp-cni-" + strings.ToLower(rand(t))
	made, err := netns.NewNamed(name)
	if err != nil {
		t.Fatalf("make network namespace %s, which needs root: %v", name, err)
	}
	defer made.Close()
	t.Cleanup(func() { _ = netns.DeleteNamed(name) })
	if err := netns.Set(here); err != nil {
		t.Fatal(err)
	}
	return filepath.Join("/run/netns", name)
}

// rand returns a name that no other test has.
func rand(t *testing.T) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return filepath.Base(f.Name())
}

// enter makes the test's thread one of a host of its own, until the test ends.
func enter(t *testing.T) {
	t.Helper()
	path := newNetns(t)
	runtime.LockOSThread() // for good: the thread ends with the test's goroutine
	to, err := netns.GetFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := netns.Set(to); err != nil {
		t.Fatal(err)
	}
}

// open opens a network namespace.
func open(t *testing.T, path string) *Netns {
	t.Helper()
	n, err := OpenNetns(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// find returns an interface that has to be there.
func find(t *testing.T, n *Netns, name string) netlink.Link {
	t.Helper()
	link, err := n.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	if link == nil {
		t.Fatalf("interface %s is not there%s", name, n.where())
	}
	return link
}

// absent fails the test if an interface is there.
func absent(t *testing.T, n *Netns, name string) {
	t.Helper()
	if link, err := n.Find(name); link != nil || err != nil {
		t.Errorf("interface %s is there%s: %v, %v", name, n.where(), link, err)
	}
}

// setup is a host with an agent and a container.
type setup struct {
	agent           *fakeAgent
	host, container *Netns
	args            *skel.CmdArgs
	device          string
}

func newSetup(t *testing.T, config string) *setup {
	t.Helper()
	enter(t)
	s := &setup{agent: newFakeAgent(t), args: &skel.CmdArgs{ContainerID: "c1", Netns: newNetns(t), IfName: "eth0", StdinData: []byte(config)}}
	s.host, s.container = open(t, ""), open(t, s.args.Netns)
	s.device = attach.ID{Network: "tpcni-network", Container: "c1", Ifname: "eth0"}.Device()
	return s
}

// eventually waits for something to be so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patienceOfTest); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patienceOfTest)
		}
	}
}
