package cnm

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// tutorial is the file that TupleNet's tutorial has.
const tutorial = `{
  "etcd_cluster": "192.168.5.50:2379,192.168.5.51:2379,192.168.5.53:2379",
  "data_store_prefix": "/tuplenet",
  "docker_unix_sock": "/var/run/docker.sock",
  "egress_router_name": "LR-central"
}
`

func readConfig(t *testing.T, text string) (Config, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cnm.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ReadConfig(path)
	return c, path, err
}

func TestReadConfig(t *testing.T) {
	t.Setenv("TUPLENET_RUNDIR", "")
	c, _, err := readConfig(t, tutorial)
	want := Config{EtcdCluster: "192.168.5.50:2379,192.168.5.51:2379,192.168.5.53:2379", DataStorePrefix: "/tuplenet", DockerSocket: "/var/run/docker.sock", EgressRouter: "LR-central",
		Socket: "/run/docker/plugins/tuplenet.sock", RunDir: "/var/run/tuplenet", Wait: 10, LogLevel: "info", AddressPools: defaultPools}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("the tutorial's file is %+v (%v)\nwant %+v", c, err, want)
	}
	if st := c.Store(); len(st.Endpoints) != 3 || st.Endpoints[1] != "192.168.5.51:2379" || st.Prefix != "/tuplenet" || !c.secured() || c.Level() != slog.LevelInfo {
		t.Errorf("etcd is reached by %+v", st)
	}

	c, _, err = readConfig(t, `{"etcd_cluster": "https://etcd:2379", "etcd_cacert": "/ca.pem", "etcd_cert": "/cert.pem", "etcd_key": "/key.pem", "etcd_user": "docker:a:b",
		"socket": "/run/x.sock", "scope": "global", "bridge": "br-int", "mtu": 1400, "port_security": false, "wait": 30, "rundir": "/run/agent", "log_level": "debug",
		"default_address_pools": [{"base": "10.64.0.0/10", "size": 20}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if st := c.Store(); st.CAFile != "/ca.pem" || st.CertFile != "/cert.pem" || st.KeyFile != "/key.pem" || st.Username != "docker" || st.Password != "a:b" || st.Prefix != "" {
		t.Errorf("etcd is reached by %+v", st)
	}
	if e := c.etcd(); e.CAFile != "/ca.pem" || e.Password != "a:b" {
		t.Errorf("the agent is told of etcd %+v", e)
	}
	if c.Scope != "global" || c.Bridge != "br-int" || c.MTU != 1400 || c.secured() || c.flowsPatience() != 30*time.Second || c.RunDir != "/run/agent" || c.Level() != slog.LevelDebug ||
		c.AddressPools[0] != (AddressPool{netip.MustParsePrefix("10.64.0.0/10"), 20}) {
		t.Errorf("the file is read as %+v", c)
	}

	t.Setenv("TUPLENET_RUNDIR", "/run/other")
	c, _, err = readConfig(t, `{}`)
	if err != nil || c.etcd() != nil || len(c.Store().Endpoints) != 0 || c.RunDir != "/run/other" {
		t.Errorf("an empty file is read as %+v (%v)", c, err)
	}
}

func TestReadConfigRefused(t *testing.T) {
	for _, test := range []struct {
		text  string
		words []string
	}{
		{`{"egres_router_name": "LR"}`, []string{`unknown key "egres_router_name"`, `did you mean "egress_router_name"?`}},
		{`{"Mtu": 1400}`, []string{`unknown key "Mtu"`, `did you mean "mtu"?`}},
		{"{\n\"mtu\": 1400,\n}", []string{"line 3 is no JSON"}},
		{`{"mtu": 1400} {}`, []string{"line 1 is no JSON", "after top-level value"}},
		{``, []string{"no JSON"}},
		{`[]`, []string{"no JSON object"}},
		{`null`, []string{"no JSON object"}},
		{`{"mtu": "1400"}`, []string{`invalid mtu "1400", want 68 to 65535 bytes`}},
		{`{"mtu": 20}`, []string{`invalid mtu 20, want 68 to 65535 bytes`}},
		{`{"mtu": 1400.5}`, []string{`invalid mtu 1400.5`}},
		{`{"wait": -1}`, []string{`invalid wait -1, want 1 to 300 seconds`}},
		{`{"port_security": "on"}`, []string{`invalid port_security "on", want true or false`}},
		{`{"etcd_cluster": ["a:1"]}`, []string{`invalid etcd_cluster ["a:1"], want HOST:PORT, several separated by commas`}},
		{`{"etcd_cluster": "a"}`, []string{`invalid endpoint "a" in etcd_cluster`}},
		{`{"etcd_cluster": "a:2379,"}`, []string{`invalid endpoint "" in etcd_cluster`}},
		{`{"data_store_prefix": "tuplenet"}`, []string{`invalid data_store_prefix "tuplenet"`}},
		{`{"etcd_cert": "/cert.pem"}`, []string{`etcd_cert and etcd_key belong together`}},
		{`{"etcd_cacert": "ca.pem"}`, []string{`invalid etcd_cacert "ca.pem", want an absolute path`}},
		{`{"etcd_user": "docker"}`, []string{`invalid etcd_user, want NAME:PASSWORD`}},
		{`{"etcd_user": ["docker", "secret"]}`, []string{`invalid etcd_user, want NAME:PASSWORD`}},
		{`{"socket": "tuplenet.sock"}`, []string{`invalid socket "tuplenet.sock", want an absolute path`}},
		{`{"docker_unix_sock": "docker.sock"}`, []string{`invalid docker_unix_sock "docker.sock", want an absolute path`}},
		{`{"rundir": "run"}`, []string{`invalid rundir "run", want an absolute path`}},
		{`{"scope": "swarm"}`, []string{`invalid scope "swarm", want "local" or "global"`}},
		{`{"egress_router_name": "a/b"}`, []string{`invalid egress_router_name "a/b", want the name of a logical router`}},
		{`{"bridge": " "}`, []string{`invalid bridge " "`}},
		{`{"log_level": "loud"}`, []string{`invalid log_level "loud"`}},
		{`{"default_address_pools": [{"base": "10.0.0.0/8", "size": 8}]}`, []string{`invalid default_address_pools with base "10.0.0.0/8" and size 8`, "16 to 30"}},
		{`{"default_address_pools": [{"base": "10.0.0.0/8", "sizes": 24}]}`, []string{`invalid default_address_pools`, `"sizes"`}},
		{`{"default_address_pools": [{"size": 24}]}`, []string{`invalid default_address_pools`}},
		{`{"default_address_pools": [{"base": "fd00::/8", "size": 24}]}`, []string{`invalid default_address_pools with base "fd00::/8"`}},
	} {
		_, path, err := readConfig(t, test.text)
		wantError(t, err, append(test.words, path)...)
	}
	_, err := ReadConfig(filepath.Join(t.TempDir(), "none.json"))
	wantError(t, err, "configuration of tpcnm", "none.json", "no such file")
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(tutorial))
	f.Add([]byte(`{"default_address_pools": [{"base": "10.0.0.0/8", "size": 24}], "mtu": 1400, "port_security": null}`))
	f.Add([]byte(`{"etcd_user": "a:b", "scope": "x"} x`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(text)
		if err != nil {
			return
		}
		if err := c.check(); err != nil {
			t.Errorf("what was read is refused: %v", err)
		}
		if !filepath.IsAbs(c.Socket) || c.flowsPatience() <= 0 {
			t.Errorf("the file is read as %+v", c)
		}
		if st := c.Store(); c.EtcdCluster != "" && len(st.Endpoints) == 0 {
			t.Errorf("etcd is reached by %+v", st)
		}
	})
}
