package modes

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"tuplenet/internal/config"
	"tuplenet/internal/store"
)

// resolved returns what an application with flags makes of a command line.
func resolved[T any](t *testing.T, flags []cli.Flag, args []string, resolve func(*cli.Context) (T, error)) (T, error) {
	t.Helper()
	var got T
	var failed error
	app := &cli.App{Flags: flags, Action: func(c *cli.Context) error { got, failed = resolve(c); return nil }}
	if err := app.Run(append([]string{"tuplenet"}, args...)); err != nil {
		t.Fatal(err)
	}
	return got, failed
}

// TestSettingFlags: each setting has its flag, by each of its names, and its variable,
// and what resolves settings can tell which of the two it was.
func TestSettingFlags(t *testing.T) {
	t.Setenv("TUPLENET_CONFIG", os.DevNull)
	for _, s := range config.Agent() {
		t.Setenv(s.Env, "")
	}
	for _, s := range config.Agent() {
		// Whether it is a value is not asked for here.
		text, variable := "x", "x"
		if s.Switch {
			text, variable = "false", "0"
		}
		type try struct {
			args []string
			env  string
			want config.Origin
		}
		tries := []try{{env: variable, want: config.Origin{Source: config.FromEnvironment, Where: s.Env}}}
		for _, name := range append([]string{"-" + s.Flag}, s.Aliases...) {
			tries = append(tries, try{args: []string{"-" + name + "=" + text}, env: variable, want: config.Origin{Source: config.FromFlag, Where: "--" + s.Flag}})
		}
		for _, try := range tries {
			t.Setenv(s.Env, try.env)
			got, err := resolved(t, agentFlags(), try.args, func(c *cli.Context) (*config.Resolved, error) {
				return settingsOf(c, config.AgentFile, config.Agent())
			})
			v := got.Value(s.Key)
			refused := err != nil && strings.Contains(err.Error(), try.want.Where) // it has come as far as that
			if v.Origin != try.want && !refused || s.Switch && (v.Text != "false" || err != nil) {
				t.Errorf("%s by %q and %q: %q of %v, %v", s.Key, try.args, try.env, v.Text, v.Origin, err)
			}
		}
		t.Setenv(s.Env, "")
	}
}

func TestEtcdConfig(t *testing.T) {
	fromFile := store.Config{
		Endpoints: []string{"file1:2379", "file2:2379"}, Prefix: "/file",
		CAFile: "ca.pem", CertFile: "cert.pem", KeyFile: "key.pem", Username: "node", Password: "12345",
	}
	const file = "endpoints: [file1:2379, \"file2:2379\"]\nprefix: /file\ncacert: ca.pem\ncert: cert.pem\nkey: key.pem\nuser: node\npassword: 12345\n"
	initial := store.Config{Endpoints: []string{"localhost:2379"}, Prefix: "/tuplenet"}
	for _, tt := range []struct {
		name, args, env, file string
		want                  store.Config
		err                   string // a part of the error
	}{
		{name: "defaults", want: initial},
		{name: "file", file: file, want: fromFile},
		{name: "an agent's file", file: file + "interface: eth0\nhash_fn: eth_src\n", want: fromFile},
		{name: "environment before file", file: "endpoints: file:2379", env: "env:2379", want: store.Config{Endpoints: []string{"env:2379"}, Prefix: "/tuplenet"}},
		{name: "flags before environment", args: "-e flag:1 --prefix /flag", env: "env:2379", want: store.Config{Endpoints: []string{"flag:1"}, Prefix: "/flag"}},
		{name: "unknown key", file: "endpoints: a:1\nendpoint: b\n", err: `client.yaml:2: unknown key "endpoint"; did you mean "endpoints"?`},
		{name: "user without password", args: "--user root", err: "user and password belong together"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "client.yaml")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("TUPLENET_CONFIG", path)
			for _, s := range config.Etcd("endpoints", "e") {
				t.Setenv(s.Env, "")
			}
			t.Setenv("TUPLENET_ENDPOINTS", tt.env)
			got, err := resolved(t, etcdFlags("endpoints", "e"), strings.Fields(tt.args), func(c *cli.Context) (store.Config, error) { return etcdConfig(c, io.Discard) })
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v, settings (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestDoctorEtcd: the doctor goes where the agent goes, and where its file says nothing
// of etcd, where tpctl goes.
func TestDoctorEtcd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	t.Setenv("TUPLENET_CONFIG", path)
	for _, s := range config.Agent() {
		t.Setenv(s.Env, "")
	}
	if err := os.WriteFile(path, []byte("endpoints: a:1\nprefix: /p\nrundir: /run/a\ninterface: eth7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := doctorCommand().Flags
	if etcd, err := resolved(t, flags, nil, doctorEtcd); err != nil || etcd.Endpoints[0] != "a:1" || etcd.Prefix != "/p" || !etcd.ReadOnly {
		t.Errorf("etcd: %+v, %v", etcd, err)
	}
	host, err := resolved(t, flags, []string{"--rundir", "/run/b"}, func(c *cli.Context) (config.Config, error) { return hostConfig(c, config.Interface()...) })
	if err != nil || host.RunDir != "/run/b" || host.Interface != "eth7" || host.OVS.RunDir != "/var/run/openvswitch" {
		t.Errorf("host: %+v, %v", host, err)
	}
}
