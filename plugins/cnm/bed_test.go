package cnm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cni.tuplenet/attach"
	"github.com/vishvananda/netlink"

	"tuplenet/embedded"
	"tuplenet/internal/agent"
	"tuplenet/internal/ovs"
	"tuplenet/internal/ovs/ovstest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
	"tuplenet/plugins/host"
)

// inNamespace is in the environment of tests that run in a network namespace of
// their own: what endpoints leave there is nobody's else.
const inNamespace = "CNM_TEST_NAMESPACE"

func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // which Pdeathsig is about
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(max(exit.ExitCode(), 1))
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "tests need a network namespace of their own:", err)
		os.Exit(1)
	}
}

// bed is an etcd with the router LR and the switch LS-A, 10.0.0.0/24, and a host
// with a real Open vSwitch, agent and plugin. Every one of them can go away.
type bed struct {
	t        testing.TB
	dir      string
	etcd     *embedded.Server
	endpoint string
	store    *store.Store
	ovs      *ovstest.OVS
	runDir   string
	stop     func() // the agent
	plugin   *Plugin
	client   *http.Client
}

func newBed(t testing.TB, edit ...func(*Config)) *bed {
	t.Helper()
	b := newStoreBed(t, edit...)
	b.ovs = ovstest.Start(t)
	b.ovs.Vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=hv1")
	b.startAgent()
	return b
}

// newStoreBed is a bed without an agent.
func newStoreBed(t testing.TB, edit ...func(*Config)) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("", "cnm") // shorter than TempDir: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bed{t: t, dir: dir, endpoint: "unix://" + filepath.Join(dir, "etcd.sock"), runDir: filepath.Join(dir, "run"), stop: func() {}}
	if err := os.Mkdir(b.runDir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.startEtcd()
	b.store, err = store.Open(t.Context(), store.Config{Endpoints: []string{b.endpoint}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	gateway := netip.MustParsePrefix("10.0.0.1/24")
	mac := topology.MACFromIP(gateway.Addr())
	b.create(topology.Switch{Name: "LS-A"}, topology.Router{Name: "LR"},
		topology.SwitchPort{Switch: "LS-A", Name: "LS-A_to_LR", IP: gateway.Addr(), MAC: mac, Peer: "LR_to_LS-A"},
		topology.RouterPort{Router: "LR", Name: "LR_to_LS-A", Net: gateway, MAC: mac, Peer: "LS-A_to_LR"})
	b.startPlugin(edit...)
	return b
}

func (b *bed) startEtcd() {
	b.t.Helper()
	server, err := embedded.Start(b.t.Context(), embedded.Config{DataDir: filepath.Join(b.dir, "etcd"), ClientURLs: []string{b.endpoint},
		PeerURLs: []string{"unix://" + filepath.Join(b.dir, "peer.sock")}, Log: slog.New(slog.DiscardHandler), Fast: true})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(server.Stop)
	b.etcd = server
}

// startPlugin starts a plugin at a socket, and a client that is its Docker.
func (b *bed) startPlugin(edit ...func(*Config)) {
	b.t.Helper()
	cfg, err := parseConfig(fmt.Appendf(nil, `{"etcd_cluster": %q, "rundir": %q, "socket": %q, "docker_unix_sock": %q, "scope": "local"}`,
		b.endpoint, b.runDir, filepath.Join(b.dir, "plugin.sock"), filepath.Join(b.dir, "docker.sock")))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range edit {
		f(&cfg)
	}
	l, err := Listen(cfg.Socket)
	if err != nil {
		b.t.Fatal(err)
	}
	b.plugin = New(cfg, b.store, slog.New(slog.NewTextHandler(b.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.plugin.Serve(ctx, l) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", cfg.Socket)
	}}
	b.client = &http.Client{Transport: transport}
	b.t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("the plugin ended with: %v", err)
		}
	})
}

// startAgent starts the agent, and returns once it serves.
func (b *bed) startAgent() {
	b.t.Helper()
	log := slog.New(slog.NewTextHandler(b.t.Output(), nil))
	st, err := store.New(store.Config{Endpoints: []string{b.endpoint}, Log: log})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cfg := agent.Config{Store: st, OVS: ovs.Config{RunDir: b.ovs.RunDir(), DatapathType: "dummy", Log: log}, TunnelIP: netip.MustParseAddr("192.0.2.1"),
		RunDir: b.runDir, Log: log, Plugins: served{b.runDir, log}}
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx, cfg) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("the agent ended with: %v", err)
		}
		st.Close()
	})
	b.t.Cleanup(func() { b.stop() })
	b.eventually("the agent is ready", func() bool {
		c, err := attach.Dial(b.runDir)
		if err != nil {
			return false
		}
		defer c.Close(0)
		_, err = c.Ask(attach.Request{Op: attach.Collect, Plugin: "none", ID: attach.ID{Network: "none"}}, patience)
		return err == nil
	})
}

// served is package host, as the agent runs it.
type served struct {
	runDir string
	log    *slog.Logger
}

func (s served) Serve(ctx context.Context, h *agent.Host) { host.Serve(ctx, s.runDir, h, s.log) }

func (b *bed) create(entities ...topology.Stored) {
	b.t.Helper()
	if _, err := b.store.Create(b.t.Context(), entities...); err != nil {
		b.t.Fatal(err)
	}
}

// id returns an id as Docker makes them, from what tests call it.
func id(name string) string {
	return (fmt.Sprintf("%x", name) + strings.Repeat("0", 64))[:64]
}

// call calls a method of the plugin as Docker does, and returns the error that
// it would show.
func (b *bed) call(method string, request, answer any) error {
	b.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Post("http://plugin/"+method, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var failed struct{ Err string }
		if err := json.Unmarshal(text, &failed); err != nil || failed.Err == "" {
			b.t.Errorf("%s answers %d with %s, which is no error of a plugin's", method, resp.StatusCode, text)
		}
		return errors.New(failed.Err)
	}
	return json.Unmarshal(text, cmp.Or(answer, any(&struct{}{})))
}

func (b *bed) must(method string, request, answer any) {
	b.t.Helper()
	if err := b.call(method, request, answer); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

// wantError checks that an error has all of the words.
func wantError(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("the error is %v\nwant one with %q", err, w)
			return
		}
	}
}

// object is JSON.
type object = map[string]any

// network is what Docker sends to make a network, with options of the driver as
// NAME=VALUE.
func networkRequest(name, subnet, gateway string, options ...string) object {
	driver := object{}
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		driver[key] = value
	}
	return object{"NetworkID": id(name), "Options": object{genericKey: driver, ipv6Key: false},
		"IPv4Data": []object{{"AddressSpace": "LocalDefault", "Pool": subnet, "Gateway": gateway}}, "IPv6Data": []object{}}
}

// endpointRequest is what Docker sends to make an endpoint.
func endpointRequest(network, name, address string) object {
	return object{"NetworkID": id(network), "EndpointID": id(name), "Options": object{}, "Interface": object{"Address": address, "AddressIPv6": "", "MacAddress": ""}}
}

// records returns the networks' records, each as one line.
func (b *bed) record(name string) store.Network {
	b.t.Helper()
	n, err := b.store.Network(b.t.Context(), id(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// ports returns the ports of a switch, as NAME IP OWNER.
func (b *bed) ports(sw string) (list []string) {
	b.t.Helper()
	all, _, err := b.store.List(b.t.Context(), topology.KindSwitchPort, sw)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range all {
		p := e.(topology.SwitchPort)
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Name, p.IP, p.Owner)))
	}
	return list
}

func (b *bed) wantPorts(sw string, want ...string) {
	b.t.Helper()
	if got := b.ports(sw); strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.t.Errorf("switch %s has the ports\n%s\nwant\n%s", sw, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// devices returns the interfaces of endpoints on the host.
func devices(t testing.TB) (names []string) {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Type() == "veth" {
			names = append(names, l.Attrs().Name)
		}
	}
	return names
}

func (b *bed) eventually(what string, is func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if is() {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("not so after 20 s: %s; devices: %q", what, devices(b.t))
		}
	}
}
