package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/agent"
	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
)

// samples are values that each setting can have, other than its default.
var samples = map[string][]string{
	"endpoints":       {"a:1", "https://b:2,c:3", "unix:///etcd.sock"},
	"prefix":          {"/a", "/b", "c"},
	"cacert":          {"a.pem", "b.pem", "c.pem"},
	"cert":            {"a.pem", "b.pem", "c.pem"},
	"key":             {"a.pem", "b.pem", "c.pem"},
	"user":            {"a:x", "b:y", "c:z"},
	"password":        {"a", "b", "1234"},
	"interface":       {"eth1", "192.0.2.1", "eth2,eth3"},
	"rundir":          {"/a", "/b", "/c"},
	"ovs_rundir":      {"/a", "/b", "/c"},
	"ovsdb":           {"/a/db.sock", "unix:/b/db.sock", "tcp:127.0.0.1:6640"},
	"gateway":         {"true", "false", "true"},
	"on_demand":       {"false", "true", "false"},
	"idle":            {"1", "60", "86400"},
	"redirect":        {"false", "true", "false"},
	"untunnel":        {"true", "false", "true"},
	"hash_fn":         {"eth_src", "symmetric_l3l4+udp", "nw_src"},
	"bfd_interval":    {"10", "100", "60000"},
	"bfd_min_rx":      {"10", "100", "60000"},
	"bfd_min_tx":      {"10", "100", "60000"},
	"ipfix_collector": {"192.0.2.9:4739", "[2001:db8::9]:1,192.0.2.8:2", "192.0.2.7:3"},
	"ipfix_sampling":  {"1", "2", "4294967295"},
	"log_dir":         {"/a", "/b", "/c"},
	"log_level":       {"debug", "warn", "ERROR"},
	"log_format":      {"json", "text", "json"},
	"metrics":         {"9481", "0.0.0.0:9481", "[::1]:1"},
}

// TestPrecedence: whatever the setting and wherever it is said, a flag counts before
// the environment, that before the file, and that before the default; and what counts
// for less is told if it says something else.
func TestPrecedence(t *testing.T) {
	for _, s := range Agent() {
		values := samples[s.Key]
		if len(values) != 3 {
			t.Errorf("there are no samples of %s", s.Key)
			continue
		}
		for set := range 8 { // of sources that say it
			for turn := range 3 { // what they say
				var said []Said
				var sources Sources
				value := func(i int) string { return values[(i+turn)%3] }
				if set&1 != 0 {
					said = append(said, Said{value(0), Origin{FromFlag, "--" + s.Flag}})
					sources.Flag = func(name string) (string, bool) { return value(0), name == s.Flag }
				}
				if set&2 != 0 {
					said = append(said, Said{value(1), Origin{FromEnvironment, s.Env}})
					sources.Env = func(name string) string {
						if name != s.Env {
							return ""
						}
						if s.Switch {
							return map[string]string{"true": "1", "false": "0"}[value(1)]
						}
						return value(1)
					}
				}
				if set&4 != 0 {
					said = append(said, Said{value(2), Origin{FromFile, "agent.yaml:2"}})
					text := value(2)
					if strings.HasPrefix(text, "[") {
						text = fmt.Sprintf("%q", text) // an address that YAML takes for a list
					}
					var err error
					if sources.File, err = parseFile("agent.yaml", []byte("# settings\n"+s.Key+": "+text)); err != nil {
						t.Fatal(err)
					}
				}
				resolved, err := sources.Resolve(Agent())
				if err != nil && !strings.Contains(err.Error(), "belong together") {
					t.Errorf("%s: %v", s.Key, err)
				}
				got := resolved.Value(s.Key)
				want := Said{s.Default, Origin{FromDefault, s.From}}
				if s.From != "" {
					want.Text = resolved.Value(s.From).Text
				}
				var behind []Said
				if len(said) > 0 {
					want = said[0]
					behind = slices.DeleteFunc(said[1:], func(b Said) bool { return b.Text == want.Text })
				}
				if got.Text != want.Text || got.Origin != want.Origin || !slices.Equal(got.Behind, behind) {
					t.Errorf("%s: %q of %v, behind it %v; want %q of %v, %v", s.Key, got.Text, got.Origin, got.Behind, want.Text, want.Origin, behind)
				}
				for _, other := range resolved.Values {
					if other.Key != s.Key && other.Origin.Source != FromDefault {
						t.Errorf("%s sets %s", s.Key, other.Key)
					}
				}
			}
		}
	}
}

// initial is what an agent has that nobody has said anything to.
func initial() Config {
	return Config{
		Etcd:      store.Config{Endpoints: []string{"localhost:2379"}, Prefix: "/tuplenet"},
		Interface: "eth0,br0", RunDir: "/var/run/tuplenet", OVS: ovs.Config{RunDir: "/var/run/openvswitch"},
		Settings:  agent.Settings{OnDemand: true, Redirect: true, Hash: "nw_dst", BFDMinRx: 200, BFDMinTx: 200, IdleTimeout: 5 * time.Minute, Sampling: 64},
		LogFormat: "text",
	}
}

// resolveWords resolves settings by a command line of --flag=text words and an
// environment, both separated by blanks, and a file.
func resolveWords(t *testing.T, flags, environment, file string, gateway bool) (*Resolved, error) {
	t.Helper()
	pairs := func(words string) map[string]string {
		all := map[string]string{}
		for word := range strings.FieldsSeq(words) {
			name, text, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
			all[name] = text
		}
		return all
	}
	typed, variables := pairs(flags), pairs(environment)
	f, err := parseFile("agent.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return Sources{Flag: func(name string) (string, bool) { text, is := typed[name]; return text, is },
		Env: func(name string) string { return variables[name] }, File: f, Gateway: gateway}.Resolve(Agent())
}

func TestResolve(t *testing.T) {
	for _, tt := range []struct {
		name, flags, env, file string
		gateway                bool
		change                 func(*Config) // what is other than by default
		notes                  string
	}{
		{name: "nothing"},
		{name: "an empty variable is none", env: "HASH_FN= TUPLENET_ENDPOINTS= GATEWAY=", file: "hash_fn: eth_src", change: func(c *Config) { c.Hash = "eth_src" }},
		{name: "an empty flag is the default", flags: "--ipfix-collector= --host=", env: "IPFIX_COLLECTOR=192.0.2.9:1 TUPLENET_ENDPOINTS=a:1"},
		{name: "an empty key is none", file: "hash_fn:\nidle: ~\nipfix_collector: []\nprefix: ''"},
		{name: "a file of comments", file: "# nothing\n---\n"},
		{name: "lists", file: "endpoints: [a:1, 'b:2']\ninterface: [eth1, eth2]\nipfix_collector: [192.0.2.9:1]", change: func(c *Config) {
			c.Etcd.Endpoints, c.Interface = []string{"a:1", "b:2"}, "eth1,eth2"
			c.Collectors = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:1")}
		}},
		{name: "switches of a file", file: "on_demand: 0\nredirect: off\nuntunnel: True\ngateway: no", change: func(c *Config) { c.OnDemand, c.Redirect, c.Untunnel = false, false, true }},
		{name: "blanks and empty endpoints", flags: "--host=,a:1,,b:2,", change: func(c *Config) { c.Etcd.Endpoints = []string{"a:1", "b:2"} }},
		{name: "BFD both ways", env: "BFD_INTERVAL=50", change: func(c *Config) { c.BFDMinRx, c.BFDMinTx = 50, 50 }},
		{name: "BFD one way", flags: "--bfd-interval=1000", file: "bfd_min_tx: 300", change: func(c *Config) { c.BFDMinRx, c.BFDMinTx = 1000, 300 }},
		{name: "user with password", env: "TUPLENET_USER=root:a:b", change: func(c *Config) { c.Etcd.Username, c.Etcd.Password = "root", "a:b" }},
		{name: "a password of its own", env: "TUPLENET_USER=root:old TUPLENET_PASSWORD=new", change: func(c *Config) { c.Etcd.Username, c.Etcd.Password = "root", "new" }},
		{name: "a path of OVSDB", env: "TUPLENET_OVSDB_PATH=/db.sock", change: func(c *Config) { c.OVS.Database = "unix:/db.sock" }},
		{name: "metrics for this machine", env: "TUPLENET_METRICS=9481", change: func(c *Config) { c.Metrics = "127.0.0.1:9481" }},
		{name: "gateway", env: "GATEWAY=1", change: func(c *Config) { c.Gateway, c.OnDemand = true, false }},
		{name: "the mode gateway", env: "GATEWAY=0", gateway: true, change: func(c *Config) { c.Gateway, c.OnDemand = true, false }},
		{name: "a gateway on demand", env: "ONDEMAND=1", file: "gateway: true", change: func(c *Config) { c.Gateway, c.OnDemand = true, false },
			notes: "ONDEMAND has no effect: a gateway makes the flows of the whole topology"},
		{name: "a gateway that is not on demand", env: "ONDEMAND=0 GATEWAY=1", change: func(c *Config) { c.Gateway, c.OnDemand = true, false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := resolveWords(t, tt.flags, tt.env, tt.file, tt.gateway)
			if err != nil {
				t.Fatal(err)
			}
			want := initial()
			if tt.change != nil {
				tt.change(&want)
			}
			if diff := cmp.Diff(want, got.Config, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			if notes := strings.Join(got.Notes(), "\n"); notes != tt.notes {
				t.Errorf("notes %q, want %q", notes, tt.notes)
			}
		})
	}
}

func TestResolveRefused(t *testing.T) {
	for _, tt := range []struct{ flags, env, file, want string }{
		{env: "GATEWAY=yes", want: `invalid GATEWAY="yes", want 1 for on, 0 or nothing for off`},
		{env: "ONDEMAND=false", want: `invalid ONDEMAND="false", want 0 for off, 1 or nothing for on`},
		{file: "\ngateway: maybe", want: `agent.yaml:2: invalid gateway "maybe", want true or false`},
		{flags: "--hash-fn=l4", want: `invalid --hash-fn "l4", want one of eth_src, nw_dst, nw_src, symmetric_l3l4, symmetric_l3l4+udp, symmetric_l4`},
		{env: "BFD_INTERVAL=9", want: `invalid BFD_INTERVAL="9", want milliseconds from 10 to 60000`},
		{file: "bfd_min_rx: 60001", want: `agent.yaml:1: invalid bfd_min_rx "60001", want milliseconds from 10 to 60000`},
		{flags: "--bfd-min-tx=1s", want: `invalid --bfd-min-tx "1s", want milliseconds from 10 to 60000`},
		{env: "ONDEMAND_IDLE=0", want: `invalid ONDEMAND_IDLE="0", want seconds from 1 to 86400`},
		{flags: "--log-level=loud", want: `invalid --log-level "loud", want debug, info, warn or error`},
		{file: "log_format: xml", want: `agent.yaml:1: invalid log_format "xml", want text or json`},
		{flags: "--metrics=127.0.0.1", want: `invalid --metrics "127.0.0.1", want ADDRESS:PORT, or PORT for this machine alone; such as 127.0.0.1:9481, 9481, or 0.0.0.0:9481 for all addresses`},
		{flags: "--host=etcd", want: `invalid --host "etcd", want HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH, or several with commas between`},
		{flags: "--hash-fn=nw_src", file: "hash_fn: l4", want: `agent.yaml:1: invalid hash_fn "l4", want one of `}, // though the flag counts
		{flags: "--key=k.pem", want: `--key: etcd's settings cert and key belong together: give both or none`},
		{env: "TUPLENET_USER=root", want: `TUPLENET_USER: etcd's settings user and password belong together: give both or none`},
		{file: "password: 1234", want: `agent.yaml:1: etcd's settings user and password belong together: give both or none`},
		{env: "HASH_FN=a", file: "idle: b", want: "agent.yaml:1: invalid idle \"b\", want seconds from 1 to 86400\ninvalid HASH_FN=\"a\", want one of "},
	} {
		if _, err := resolveWords(t, tt.flags, tt.env, tt.file, false); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q, %q, %q: %v, want %s", tt.flags, tt.env, tt.file, err, tt.want)
		}
	}
	for _, v := range []string{"192.0.2.9", "192.0.2.9:0", "192.0.2.9:65536", "0.0.0.0:4739", "collector:4739", "[fe80::9%eth0]:4739", "192.0.2.9:4739,", "udp://192.0.2.9:4739", "0"} {
		want := `invalid IPFIX_COLLECTOR="` + v + `", want IP:PORT such as 192.0.2.9:4739, or several with commas between`
		if _, err := resolveWords(t, "", "IPFIX_COLLECTOR="+v, "", false); err == nil || err.Error() != want {
			t.Errorf("collector %s: %v, want %s", v, err, want)
		}
	}
	for _, v := range []string{"0", "-1", "1.5", "4294967296", "1/64"} {
		want := `invalid --ipfix-sampling "` + v + `", want a number from 1, every packet, to 4294967295`
		if _, err := resolveWords(t, "--ipfix-sampling="+v, "", "", false); err == nil || err.Error() != want {
			t.Errorf("sampling %s: %v, want %s", v, err, want)
		}
	}
	for _, v := range []string{"a:b:c", "ftp://a:1", "http://a", "unix://etcd.sock", "a:65536", ":1"} {
		if _, err := resolveWords(t, "--host="+v, "", "", false); err == nil || !strings.HasPrefix(err.Error(), "invalid --host ") {
			t.Errorf("endpoint %s: %v", v, err)
		}
	}
}

// TestShown: nobody is shown a password.
func TestShown(t *testing.T) {
	r, err := resolveWords(t, "--user=root:secret", "TUPLENET_USER=ls:secret TUPLENET_PASSWORD=secret", "password: secret2", false)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"user": "root:***", "password": "***", "cacert": "", "hash_fn": "nw_dst"} {
		v := r.Value(key)
		shown := v.Shown()
		for _, b := range v.Behind {
			if strings.Contains(v.Show(b.Text), "secret") {
				t.Errorf("%s shows %s", key, v.Show(b.Text))
			}
		}
		if shown != want {
			t.Errorf("%s is shown as %q, want %q", key, shown, want)
		}
	}
}
