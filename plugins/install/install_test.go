package install

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/libcni"
)

// host is a place to install to, with a binary, and the plugins that are given:
// a name, and the versions of the specification that it supports. bandwidth is
// of the release that is the first without a crash in CHECK.
func host(t *testing.T, plugins ...string) Config {
	t.Helper()
	dir := t.TempDir()
	cfg := Config{
		BinDir: filepath.Join(dir, "bin"), ConfDir: filepath.Join(dir, "net.d"), Executable: filepath.Join(dir, "tuplenet"),
		Network: Network{Name: "tuplenet", Switch: "LS-A", Subnet: "10.20.1.1/24"},
	}
	if err := os.Mkdir(cfg.BinDir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, cfg.Executable, "")
	for _, p := range append(plugins, `loopback ""`) {
		name, versions, _ := strings.Cut(p, " ")
		answer := `{"cniVersion":"0.4.0","supportedVersions":[` + versions + `]}`
		write(t, filepath.Join(cfg.BinDir, name), "#!/bin/sh\ntest -n \"$CNI_COMMAND\" || exec echo CNI "+name+" plugin v1.9.1\necho '"+answer+"'\n")
	}
	return cfg
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func install(t *testing.T, cfg Config) Report {
	t.Helper()
	r, err := Install(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// files returns the names in the two directories.
func files(t *testing.T, cfg Config) (names []string) {
	t.Helper()
	for _, dir := range []string{cfg.BinDir, cfg.ConfDir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	return names
}

const all = `"0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"`

func TestInstall(t *testing.T) {
	cfg := host(t, "portmap "+all, "bandwidth "+all)
	r := install(t, cfg)
	link, file := filepath.Join(cfg.BinDir, "tpcni"), filepath.Join(cfg.ConfDir, "10-tuplenet.conflist")
	if want := []string{"linked " + link + " to " + cfg.Executable, "written " + file}; !slices.Equal(r.Done, want) || len(r.Notes) > 0 {
		t.Errorf("got %q, notes %q, want %q", r.Done, r.Notes, want)
	}
	if target, err := os.Readlink(link); err != nil || target != cfg.Executable {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	// What a runtime makes of it.
	got, err := libcni.NetworkConfFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.CNIVersion != "1.1.0" { // it knows cniVersions
		t.Errorf("version %s", got.CNIVersion)
	}
	var types []string
	for _, p := range got.Plugins {
		types = append(types, p.Network.Type)
	}
	if want := []string{"tpcni", "portmap", "bandwidth"}; !slices.Equal(types, want) {
		t.Errorf("plugins %q, want %q", types, want)
	}
	for i, capability := range []string{"io.kubernetes.cri.pod-annotations", "portMappings", "bandwidth"} {
		if !got.Plugins[i].Network.Capabilities[capability] {
			t.Errorf("%s has no capability %s", types[i], capability)
		}
	}
	var own map[string]any
	if err := json.Unmarshal(got.Plugins[0].Bytes, &own); err != nil {
		t.Fatal(err)
	}
	delete(own, "capabilities")
	if len(own) != 3 || own["switchname"] != "LS-A" || own["subnet"] != "10.20.1.1/24" {
		t.Errorf("the plugin's own configuration is %v", own)
	}

	// Once more, there is nothing to do.
	if r := install(t, cfg); !slices.Equal(r.Done, []string{"left " + link + " as it is", "left " + file + " as it is"}) {
		t.Errorf("the second time it says %q", r.Done)
	}
}

// TestVersions: a runtime talks to all plugins of a list in one version.
func TestVersions(t *testing.T) {
	for _, tt := range []struct {
		portmap           string
		version, versions string
		plugins           int
	}{
		{all, "1.0.0", "0.4.0 1.0.0 1.1.0", 2},
		{`"0.4.0","1.0.0"`, "1.0.0", "0.4.0 1.0.0", 2},
		{`"0.3.1","0.4.0"`, "0.4.0", "0.4.0", 2},
		{`"0.3.1"`, "1.0.0", "0.4.0 1.0.0 1.1.0", 1}, // it is left out, with a note
	} {
		cfg := host(t, "portmap "+tt.portmap)
		r := install(t, cfg)
		text, err := os.ReadFile(filepath.Join(cfg.ConfDir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		var l list
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		if l.Version != tt.version || strings.Join(l.Versions, " ") != tt.versions || len(l.Plugins) != tt.plugins || len(r.Notes) != 2-tt.plugins {
			t.Errorf("portmap has %s: %d plugins, version %s of %v, notes %q", tt.portmap, len(l.Plugins), l.Version, l.Versions, r.Notes)
		}
	}
}

// TestBandwidthCheck: CHECK is turned off where bandwidth would crash in it.
func TestBandwidthCheck(t *testing.T) {
	for about, crashes := range map[string]bool{
		"v1.9.1": false, "v1.10.0": false, "v2.0.0": false,
		"v1.9.0": true, "v1.1.1": true, "version unknown": true, "": true,
	} {
		cfg := host(t)
		write(t, filepath.Join(cfg.BinDir, "bandwidth"), `#!/bin/sh
if [ -z "$CNI_COMMAND" ]; then echo "CNI bandwidth plugin `+about+`" >&2; exit; fi
echo '{"cniVersion":"0.4.0","supportedVersions":["0.4.0","1.0.0"]}'
`)
		notes := install(t, cfg).Notes
		got, err := libcni.NetworkConfFromFile(filepath.Join(cfg.ConfDir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		if got.DisableCheck != crashes || len(got.Plugins) != 2 {
			t.Errorf("release %q: CHECK is turned off: %v", about, got.DisableCheck)
		}
		if crashes != (len(notes) == 1 && strings.Contains(notes[0], "/bandwidth crashes in CHECK")) {
			t.Errorf("release %q: notes %q", about, notes)
		}
	}
}

// TestVLANDevices: they have no end on the host that bandwidth could limit.
func TestVLANDevices(t *testing.T) {
	cfg := host(t, "portmap "+all, "bandwidth "+all)
	cfg.Network.Underlay, cfg.Network.Node = "lo", "vm1"
	if notes := install(t, cfg).Notes; len(notes) > 0 {
		t.Errorf("notes %q", notes)
	}
	text, err := os.ReadFile(filepath.Join(cfg.ConfDir, fileName))
	if err != nil || !strings.Contains(string(text), `"portmap"`) || strings.Contains(string(text), `"bandwidth"`) {
		t.Errorf("the configuration is %s, %v", text, err)
	}
}

func TestKeepsWhatIsNotOurs(t *testing.T) {
	cfg := host(t)
	link, file := filepath.Join(cfg.BinDir, "tpcni"), filepath.Join(cfg.ConfDir, fileName)
	write(t, link, "somebody's plugin")
	before := files(t, cfg)
	_, err := Install(t.Context(), cfg)
	wantError(t, err, link, "--force")
	if _, err = Uninstall(cfg); err == nil {
		t.Error("uninstall removes it")
	}
	if got := files(t, cfg); !slices.Equal(got, before) {
		t.Errorf("there is %q, before there was %q", got, before)
	}
	cfg.Force = true
	install(t, cfg)

	// A configuration that was changed stays as it is, and is compared.
	cfg.Force, cfg.Network.MTU = false, 1400
	_, err = Install(t.Context(), cfg)
	differs := (*Difference)(nil)
	if !errors.As(err, &differs) || !strings.Contains(differs.Text, `+      "mtu": 1400,`) || strings.Contains(differs.Text, "-      ") {
		t.Fatalf("got %v, %+v", err, differs)
	}
	cfg.Force = true
	install(t, cfg)
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "1400") {
		t.Errorf("after --force there is %s, %v", text, err)
	}
}

func TestOlderLinks(t *testing.T) {
	cfg := host(t)
	link := filepath.Join(cfg.BinDir, "tpcni")
	for _, target := range []string{"/usr/bin/tpcni", "/opt/tuplenet-0.1/tuplenet"} { // the tutorial's; none need be there
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		install(t, cfg)
		if got, err := os.Readlink(link); err != nil || got != cfg.Executable {
			t.Errorf("instead of %s there is %s, %v", target, got, err)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/bin/true", link); err != nil {
		t.Fatal(err)
	}
	_, err := Install(t.Context(), cfg)
	wantError(t, err, "not a link to tuplenet")
}

func TestNotes(t *testing.T) {
	cfg := host(t)
	write(t, filepath.Join(cfg.ConfDir, "05-bridge.conflist"), `{"name":"mynet"}`)
	write(t, filepath.Join(cfg.ConfDir, "87-podman.conflist"), `{"name":"podman"}`)
	write(t, filepath.Join(cfg.ConfDir, "99-old.conf"), `{"name":"tuplenet"}`)
	write(t, filepath.Join(cfg.ConfDir, "00-readme"), ``)
	if err := os.Remove(filepath.Join(cfg.BinDir, "loopback")); err != nil {
		t.Fatal(err)
	}
	notes := install(t, cfg).Notes
	if len(notes) != 3 || !strings.Contains(notes[0], "05-bridge.conflist comes first") ||
		!strings.Contains(notes[1], "99-old.conf has a network of the name tuplenet") || !strings.Contains(notes[2], "loopback") {
		t.Errorf("got %q", notes)
	}
}

func TestDryRun(t *testing.T) {
	cfg := host(t)
	cfg.DryRun = true
	before := files(t, cfg)
	if r := install(t, cfg); len(r.Done) != 3 || !strings.HasPrefix(r.Done[0], "would have linked ") || !strings.HasPrefix(r.Done[1], "would have written ") {
		t.Errorf("it says %q", r.Done)
	}
	if got := files(t, cfg); !slices.Equal(got, before) {
		t.Errorf("there is %q, before there was %q", got, before)
	}
}

// TestDryRunShows: the text of a file that would be new, and what would change
// in one that is there.
func TestDryRunShows(t *testing.T) {
	cfg := host(t)
	cfg.DryRun = true
	shown := install(t, cfg).Done[2]
	cfg.DryRun = false
	install(t, cfg)
	text, err := os.ReadFile(filepath.Join(cfg.ConfDir, fileName))
	if err != nil || shown+"\n" != string(text) {
		t.Errorf("it shows %s\nand then there is %s, %v", shown, text, err)
	}
	cfg.DryRun, cfg.Force, cfg.Network.MTU = true, true, 1400
	if done := install(t, cfg).Done; len(done) != 3 || !strings.Contains(done[2], "\n+      \"mtu\": 1400,\n") || strings.Contains(done[2], "\n-  ") {
		t.Errorf("it says %q", done)
	}
	if now, err := os.ReadFile(filepath.Join(cfg.ConfDir, fileName)); err != nil || string(now) != string(text) {
		t.Errorf("there is now %s, %v", now, err)
	}
}

func TestMissingDevice(t *testing.T) {
	for _, with := range []func(*Network){
		func(n *Network) { n.Underlay = "nope0" },
		func(n *Network) { n.UnderlayBridge = "nope0" },
	} {
		cfg := host(t)
		with(&cfg.Network)
		cfg.Network.Node = "vm1"
		if notes := install(t, cfg).Notes; len(notes) != 1 || !strings.Contains(notes[0], "no device nope0") {
			t.Errorf("notes %q", notes)
		}
	}
}

func TestReadOnly(t *testing.T) {
	cfg := host(t)
	if err := os.Mkdir(cfg.ConfDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", cfg.ConfDir, "tmpfs", syscall.MS_RDONLY, ""); err != nil {
		t.Fatalf("mount, which needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(cfg.ConfDir, 0) })
	_, err := Install(t.Context(), cfg)
	wantError(t, err, "not written "+filepath.Join(cfg.ConfDir, fileName), "read-only file system", "--conf-dir")
}

func TestUninstall(t *testing.T) {
	cfg := host(t)
	before := files(t, cfg)
	install(t, cfg)
	for _, want := range []int{2, 0} {
		if r, err := Uninstall(cfg); err != nil || len(r.Done) != want {
			t.Errorf("got %q, %v, want %d things", r.Done, err, want)
		}
		if got := files(t, cfg); !slices.Equal(got, before) {
			t.Errorf("there is %q, before there was %q", got, before)
		}
	}
	write(t, filepath.Join(cfg.ConfDir, fileName), `{"name":"mine","plugins":[{"type":"bridge"}]}`)
	_, err := Uninstall(cfg)
	wantError(t, err, "no configuration of tpcni", "--force")
}

// TestUninstallUnderPods: without the plugin they cannot be deleted.
func TestUninstallUnderPods(t *testing.T) {
	cfg := host(t)
	install(t, cfg)
	before := files(t, cfg)
	cfg.Attached = []string{"tp0", "tp1", "tp2", "tp3", "tp4"}
	_, err := Uninstall(cfg)
	wantError(t, err, "(tp0, tp1, tp2 and 2 more)", "nothing was done", "--force")
	if got := files(t, cfg); !slices.Equal(got, before) {
		t.Errorf("there is %q, before there was %q", got, before)
	}
	cfg.Force = true
	r, err := Uninstall(cfg)
	if err != nil || len(r.Done) != 2 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "cannot be deleted without") {
		t.Errorf("with --force: %+v, %v", r, err)
	}
	// Where nothing is installed, nothing is in the way.
	cfg.Force = false
	if r, err := Uninstall(cfg); err != nil || len(r.Done) > 0 {
		t.Errorf("once more: %+v, %v", r, err)
	}
}

// TestPassword: who may read a password.
func TestPassword(t *testing.T) {
	cfg := host(t)
	cfg.Network.User = "node:secret"
	install(t, cfg)
	if info, err := os.Stat(filepath.Join(cfg.ConfDir, fileName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestCheck(t *testing.T) {
	good := Network{Name: "n", Switch: "S"}
	for _, tt := range []struct {
		with func(*Network)
		says string
	}{
		{func(n *Network) { n.Name = "a/b" }, "--name"},
		{func(n *Network) { n.Switch = "" }, "--switch"},
		{func(n *Network) { n.Subnet = "10.20.1.0" }, "--subnet"},
		{func(n *Network) { n.Subnet = "fd00::1/64" }, "IPv4"},
		{func(n *Network) { n.MTU = 60 }, "--mtu"},
		{func(n *Network) { n.Underlay = "eth0" }, "--node"},
		{func(n *Network) { n.Underlay, n.UnderlayBridge, n.Node = "eth0", "br0", "vm" }, "exclude"},
		{func(n *Network) { n.Node = "vm" }, "--underlay"},
	} {
		n := good
		tt.with(&n)
		wantError(t, n.check(), tt.says)
	}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}
