package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cni.tuplenet/attach"
)

// tutorial is the configuration that the tutorial has.
const tutorial = `{
	"cniVersion": "0.3.0",
	"name": "tpcni-network",
	"type": "tpcni",
	"mtu": 1400,
	"switchname": "LS_A",
	"subnet": "10.20.1.1/24",
	"etcd_cluster": "192.168.1.10:2379",
	"data_store_prefix": "/tuplenet"
}`

// with returns the tutorial's configuration with members set, or removed (null),
// as the text of a JSON object says.
func with(t testing.TB, members string) string {
	t.Helper()
	all := map[string]json.RawMessage{}
	for _, text := range []string{tutorial, members} {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	for key, value := range all {
		if string(value) == "null" {
			delete(all, key)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parse parses and validates a configuration.
func parse(text string) (*Config, error) {
	c, err := ParseConfig([]byte(text))
	if err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// codeOf returns the code of an error, 0 for none.
func codeOf(t testing.TB, err error) attach.Code {
	t.Helper()
	var e *attach.Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("the error has no code: %v", err)
	}
	if e == nil {
		return 0
	}
	return e.Code
}

func TestTutorialConfig(t *testing.T) {
	t.Setenv("TUPLENET_RUNDIR", "")
	c, err := parse(tutorial)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Wanted("")
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Switches) != 1 || w.Switches[0].Name != "LS_A" || w.Switches[0].Subnet != "10.20.1.1/24" {
		t.Errorf("switches %+v", w.Switches)
	}
	e := c.Etcd()
	if !slices.Equal(e.Endpoints, []string{"192.168.1.10:2379"}) || e.Prefix != "/tuplenet" {
		t.Errorf("etcd %+v", e)
	}
	if c.MTU != 1400 || c.RunDir != "/var/run/tuplenet" || c.Patience() != 10*time.Second || !c.Secured() || c.IsUnderlay() || c.Routes != nil {
		t.Errorf("%+v", c)
	}
}

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		name, members string
		code          attach.Code // 0: valid
		says          string
	}{
		{name: "mtu of the agent", members: `{"mtu": 0}`},
		{name: "no mtu", members: `{"mtu": null}`},
		{name: "mtu too small", members: `{"mtu": 67}`, code: attach.CodeConfig, says: "invalid mtu 67, want 68 to 65535 bytes"},
		{name: "mtu too large", members: `{"mtu": 65536}`, code: attach.CodeConfig, says: "invalid mtu 65536"},
		{name: "mtu is text", members: `{"mtu": "1400"}`, code: attach.CodeDecode, says: "network tpcni-network: invalid mtu: a string, want a whole number"},
		{name: "mtu has a fraction", members: `{"mtu": 1400.5}`, code: attach.CodeDecode, says: "invalid mtu: 1400.5, want a whole number"},
		{name: "a key in capitals", members: `{"MTU": "1400"}`, code: attach.CodeDecode, says: "invalid mtu: a string, want a whole number"},
		{name: "switchname is a number", members: `{"switchname": 1, "subnet": null}`, code: attach.CodeDecode, says: "invalid switchname: a number, want a string"},
		{name: "port_security is text", members: `{"port_security": "off"}`, code: attach.CodeDecode, says: "invalid port_security: a string, want true or false"},
		{name: "reserved is text", members: `{"reserved": "10.20.1.2"}`, code: attach.CodeDecode, says: "invalid reserved: a string, want a list"},
		{name: "switches is an object", members: `{"switches": {"switchname": "a"}}`, code: attach.CodeDecode, says: "invalid switches: an object, want a list"},
		{name: "a member is wrong", members: `{"args": {"cni": {"ips": true}}}`, code: attach.CodeDecode, says: "invalid args.cni.ips: true or false, want a list"},
		{name: "dns is a list", members: `{"dns": ["10.0.0.1"]}`, code: attach.CodeDecode, says: "invalid dns: a list, want an object"},
		{name: "endpoints are a list", members: `{"etcd_cluster": ["a:2379"]}`, code: attach.CodeDecode, says: "network tpcni-network: invalid etcd_cluster: a list, want a string"},
		{name: "ipam", members: `{"ipam": {"type": "host-local"}}`, code: attach.CodeUnsupported, says: `remove it, and say "subnet"`},
		{name: "ipam that is empty", members: `{"ipam": {}}`},
		{name: "no subnet", members: `{"subnet": null}`},
		{name: "subnet without length", members: `{"subnet": "10.20.1.1"}`, code: attach.CodeConfig, says: `invalid subnet "10.20.1.1" of switch LS_A`},
		{name: "subnet of IPv6", members: `{"subnet": "fd00::1/64"}`, code: attach.CodeConfig, says: "invalid subnet"},
		{name: "subnet without room", members: `{"subnet": "10.20.1.1/31"}`, code: attach.CodeConfig, says: "a prefix length of 16 to 30"},
		{name: "the widest subnet", members: `{"subnet": "10.20.0.1/16"}`},
		{name: "subnet wider than a switch", members: `{"subnet": "10.20.0.1/15"}`, code: attach.CodeConfig, says: "a prefix length of 16 to 30"},
		{name: "subnet of half the world", members: `{"subnet": "10.20.1.0/4"}`, code: attach.CodeConfig, says: `invalid subnet "10.20.1.0/4"`},
		{name: "subnet without switch", members: `{"switchname": null}`, code: attach.CodeConfig, says: "switchname is missing"},
		{name: "reserved", members: `{"reserved": ["10.20.1.2", "10.20.1.128/25"]}`},
		{name: "reserved is no address", members: `{"reserved": ["printer"]}`, code: attach.CodeConfig, says: `invalid reserved address "printer"`},
		{name: "reserved elsewhere", members: `{"reserved": ["10.20.2.2"]}`, code: attach.CodeConfig, says: "10.20.2.2 is outside of subnet 10.20.1.1/24"},
		{name: "switches", members: `{"switchname": null, "subnet": null, "switches": [{"switchname": "a", "subnet": "10.0.0.1/24"}, {"switchname": "b"}]}`},
		{name: "switches and switchname", members: `{"switches": [{"switchname": "a"}]}`, code: attach.CodeConfig, says: "exclude each other"},
		{name: "switches without name", members: `{"switchname": null, "subnet": null, "switches": [{"subnet": "10.0.0.1/24"}]}`, code: attach.CodeConfig, says: "has no switchname"},
		{name: "prefix", members: `{"data_store_prefix": "tuplenet"}`, code: attach.CodeConfig, says: `begins with "/"`},
		{name: "endpoints", members: `{"etcd_cluster": "https://a:2379, b:2379,[fd00::1]:2379"}`},
		{name: "placeholder for an endpoint", members: `{"etcd_cluster": "YOUR_ETCD_IP:PORT"}`, code: attach.CodeConfig, says: `invalid endpoint "YOUR_ETCD_IP:PORT" in etcd_cluster`},
		{name: "endpoint missing", members: `{"etcd_cluster": "a:2379,"}`, code: attach.CodeConfig, says: `invalid endpoint ""`},
		{name: "TLS", members: `{"etcd_cacert": "/ca", "etcd_cert": "/cert", "etcd_key": "/key"}`},
		{name: "TLS by relative path", members: `{"etcd_cacert": "ca"}`, code: attach.CodeConfig, says: "invalid etcd_cacert"},
		{name: "TLS without key", members: `{"etcd_cert": "/cert"}`, code: attach.CodeConfig, says: "belong together"},
		{name: "user", members: `{"etcd_user": "root:pass:word"}`},
		{name: "user without password", members: `{"etcd_user": "root"}`, code: attach.CodeConfig, says: "want NAME:PASSWORD"},
		{name: "routes", members: `{"routes": [{"dst": "10.0.0.0/8"}, {"dst": "0.0.0.0/0", "gw": "10.20.1.254"}]}`},
		{name: "no routes", members: `{"routes": []}`},
		{name: "route without dst", members: `{"routes": [{"gw": "10.20.1.254"}]}`, code: attach.CodeConfig, says: "no IPv4 network as its dst"},
		{name: "route of IPv6", members: `{"routes": [{"dst": "::/0"}]}`, code: attach.CodeConfig, says: "no IPv4 network as its dst"},
		{name: "route with host bits", members: `{"routes": [{"dst": "10.1.2.3/8"}]}`, code: attach.CodeConfig, says: "want 10.0.0.0/8"},
		{name: "route by IPv6", members: `{"routes": [{"dst": "10.0.0.0/8", "gw": "fd00::1"}]}`, code: attach.CodeConfig, says: "no IPv4 address"},
		{name: "route to half the world", members: `{"routes": [{"dst": "10.20.1.0/4"}]}`, code: attach.CodeConfig, says: "the dst 10.20.1.0/4 is no network"},
		{name: "route is no network", members: `{"routes": [{"dst": "ten"}]}`, code: attach.CodeDecode},
		{name: "route without length", members: `{"routes": [{"dst": "10.96.0.0"}]}`, code: attach.CodeDecode, says: `invalid routes: invalid CIDR address: 10.96.0.0, want such as [{"dst"`},
		{name: "route by a name", members: `{"routes": [{"dst": "10.96.0.0/12", "gw": "node"}]}`, code: attach.CodeDecode, says: "invalid IP address: node"},
		{name: "route is text", members: `{"routes": ["10.96.0.0/12"]}`, code: attach.CodeDecode, says: "invalid routes: a string, want such as"},
		{name: "wait", members: `{"wait": 301}`, code: attach.CodeConfig, says: "want 1 to 300 seconds"},
		{name: "rundir", members: `{"rundir": "run"}`, code: attach.CodeConfig, says: "want an absolute path"},
		{name: "underlay", members: `{"underlay": "eth0", "node": "lsp-node1"}`},
		{name: "underlay without node", members: `{"underlay_bridge": "br-node"}`, code: attach.CodeConfig, says: "node is missing"},
		{name: "two underlays", members: `{"underlay": "eth0", "underlay_bridge": "br-node", "node": "n"}`, code: attach.CodeConfig, says: "exclude each other"},
		{name: "node without underlay", members: `{"node": "n"}`, code: attach.CodeConfig, says: "for a host on a logical port"},
		{name: "a mistyped key", members: `{"subnets": "10.20.1.1/24"}`, code: attach.CodeConfig, says: `unknown key "subnets", did you mean "subnet"?`},
		{name: "a key written in another way", members: `{"switch_name": "LS_B"}`, code: attach.CodeConfig, says: `did you mean "switchname"?`},
		{name: "keys of runtimes and of other plugins", members: `{"cniVersions": ["1.0.0"], "disableCheck": true, "ipMasq": true, "isGateway": true, "mode": "l2",
			"hairpinMode": true, "cni.dev/attachments": [], "args": {"org.example": 1}, "runtimeConfig": {"portMappings": []}, "capabilities": {"ips": true}, "bandwidth": {}}`},
		{name: "previous result without length", members: `{"prevResult": {"ips": [{"address": "10.0.0.1"}]}}`, code: attach.CodeDecode, says: "invalid prevResult: invalid CIDR address: 10.0.0.1"},
		{name: "previous result with a hole", members: `{"prevResult": {"interfaces": [null]}}`, code: attach.CodeConfig, says: "an interface that is null"},
		{name: "previous result with a hole among addresses", members: `{"prevResult": {"ips": [null]}}`, code: attach.CodeConfig, says: "an address of an interface that is not there"},
		{name: "previous result that points nowhere", members: `{"prevResult": {"ips": [{"interface": 0, "address": "10.0.0.1/24"}]}}`, code: attach.CodeConfig, says: "not there"},
		{name: "previous result with a hole among routes", members: `{"prevResult": {"routes": [null]}}`, code: attach.CodeConfig, says: "a route that is null"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(with(t, test.members))
			if code := codeOf(t, err); code != test.code {
				t.Fatalf("code %d, want %d: %v", code, test.code, err)
			}
			if err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error %q does not say %q", err, test.says)
			}
		})
	}
}

// annotated gives a pod an annotation.
func annotated(key string) string {
	return `{"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"` + key + `": "10.20.1.2"}}}`
}

func TestWanted(t *testing.T) {
	const all = `{"runtimeConfig": {"ips": ["10.20.1.11/24"], "mac": "02:00:00:00:00:11", "io.kubernetes.cri.pod-annotations":
		{"tuplenet.io/ip": "10.20.1.14", "tuplenet.io/mac": "02:00:00:00:00:14", "tuplenet.io/switch": "D"}},
		"args": {"cni": {"ips": ["10.20.1.12"], "mac": "02:00:00:00:00:12", "switch": "B"}},
		"switchname": null, "subnet": null, "switches": [{"switchname": "A"}, {"switchname": "B"}, {"switchname": "C"}, {"switchname": "D"}]}`
	const args = "IP=10.20.1.13;MAC=02:00:00:00:00:13;SWITCH=C"
	pod := strings.Replace(strings.Replace(all, `"ips": ["10.20.1.11/24"], "mac": "02:00:00:00:00:11", `, "", 1), `"args"`, `"unused"`, 1)
	for _, test := range []struct {
		name, members, args string
		want                string // address/bits, MAC, switches
		code                attach.Code
		says                string
	}{
		{name: "nothing", members: `{}`, want: "invalid IP/-1  LS_A"},
		{name: "all: the runtime's configuration counts", members: all, args: args, want: "10.20.1.11/24 02:00:00:00:00:11 B"},
		{name: "then args", members: strings.Replace(all, "runtimeConfig", "unused", 1), args: args, want: "10.20.1.12/-1 02:00:00:00:00:12 B"},
		{name: "then CNI_ARGS", members: pod, args: args, want: "10.20.1.13/-1 02:00:00:00:00:13 C"},
		{name: "then annotations", members: pod, want: "10.20.1.14/-1 02:00:00:00:00:14 D"},
		{name: "Kubernetes", members: `{}`, args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID=0;K8S_POD_UID=1", want: "invalid IP/-1  LS_A"},
		{name: "Kubernetes in short", members: `{}`, args: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=a", want: "invalid IP/-1  LS_A"},
		{name: "unknown, ignored", members: `{}`, args: "IgnoreUnknown=true;COLOUR=red", want: "invalid IP/-1  LS_A"},
		{name: "unknown", members: `{}`, args: "COLOUR=red", code: attach.CodeEnvironment, says: "COLOUR=red"},
		{name: "no pair", members: `{}`, args: "IP", code: attach.CodeEnvironment, says: "invalid pair"},
		{name: "two addresses", members: `{"args": {"cni": {"ips": ["10.20.1.2", "fd00::2"]}}}`, code: attach.CodeUnsupported, says: "an interface has one"},
		{name: "two addresses of a pod", members: `{"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"tuplenet.io/ip": "10.20.1.2,10.20.1.3"}}}`, code: attach.CodeUnsupported, says: "an interface has one"},
		{name: "address of IPv6", members: `{}`, args: "IP=fd00::2", code: attach.CodeUnsupported, says: "addresses are of IPv4"},
		{name: "no address", members: `{}`, args: "IP=ten", code: attach.CodeConfig, says: `"ten"`},
		{name: "no MAC", members: `{}`, args: "MAC=ten", code: attach.CodeConfig, says: `"ten"`},
		{name: "MAC of a group", members: `{}`, args: "MAC=01:00:5e:00:00:01", code: attach.CodeConfig, says: "01:00:5e:00:00:01"},
		{name: "MAC of nobody", members: `{}`, args: "MAC=00:00:00:00:00:00", code: attach.CodeConfig, says: "00:00:00:00:00:00"},
		{name: "MAC that is too long", members: `{}`, args: "MAC=02:00:00:00:00:00:00:01", code: attach.CodeConfig, says: "no address of an Ethernet interface"},
		{name: "a switch of others", members: `{}`, args: "SWITCH=B", code: attach.CodeConfig, says: `may have LS_A only`},
		{name: "a free choice", members: `{"switchname": null, "subnet": null}`, args: "SWITCH=B", want: "invalid IP/-1  B"},
		{name: "a free choice not made", members: `{"switchname": null, "subnet": null}`, code: attach.CodeConfig, says: "or the pod the annotation tuplenet.io/switch"},
		{name: "annotations of others", members: annotated("example.org/ips"), want: "invalid IP/-1  LS_A"},
		{name: "a mistyped annotation", members: annotated("tuplenet.io/ips"), code: attach.CodeConfig, says: "unknown annotation tuplenet.io/ips of the pod, did you mean tuplenet.io/ip?"},
		{name: "an annotation in capitals", members: annotated("tuplenet.io/MAC"), code: attach.CodeConfig, says: "did you mean tuplenet.io/mac?"},
		{name: "an annotation like none", members: annotated("tuplenet.io/address"), code: attach.CodeConfig, says: "want one of tuplenet.io/switch, tuplenet.io/ip, tuplenet.io/mac"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := parse(with(t, test.members))
			if err != nil {
				t.Fatal(err)
			}
			w, err := c.Wanted(test.args)
			if code := codeOf(t, err); code != test.code {
				t.Fatalf("code %d, want %d: %v", code, test.code, err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), test.says) {
					t.Errorf("the error %q does not say %q", err, test.says)
				}
				return
			}
			var names []string
			for _, s := range w.Switches {
				names = append(names, s.Name)
			}
			if is := fmt.Sprintf("%s/%d %s ", w.IP, w.Bits, w.MAC) + strings.Join(names, " "); is != test.want {
				t.Errorf("wanted %q, want %q", is, test.want)
			}
		})
	}
}

// TestMistakesElsewhere shows that what takes back bears with mistakes in all but
// the values that it needs.
func TestMistakesElsewhere(t *testing.T) {
	t.Setenv("TUPLENET_RUNDIR", "")
	for _, members := range []string{`{"mtu": "1400"}`, `{"routes": [{"dst": "10.0.0.0"}]}`, `{"args": [], "prevResult": 1, "cniVersion": "1.1.0"}`} {
		c, err := ParseConfig([]byte(with(t, members)))
		if err != nil {
			t.Errorf("%s: %v", members, err)
			continue
		}
		if c.Name != "tpcni-network" || c.RunDir != "/var/run/tuplenet" || c.Etcd() == nil || c.Etcd().Prefix != "/tuplenet" {
			t.Errorf("%s: %+v", members, c)
		}
		if err := c.Validate(); codeOf(t, err) != attach.CodeDecode {
			t.Errorf("%s is valid: %v", members, err)
		}
	}
	for _, key := range needed {
		text := with(t, `{"mtu": "1400", "`+key+`": 1}`)
		if _, err := ParseConfig([]byte(text)); codeOf(t, err) != attach.CodeDecode || !strings.Contains(err.Error(), "invalid "+key+":") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestNoConfiguration shows what is said of what is none, whether the library
// looks at it first, or we do.
func TestNoConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"":             "the network configuration is no JSON: unexpected end of JSON input",
		"{\"name\": }": "the network configuration is no JSON: invalid character '}' looking for beginning of value",
		"[]":           "the network configuration is no JSON object, {...}",
		`{"name": 1}`:  "invalid name",
	} {
		if _, err := ParseConfig([]byte(text)); codeOf(t, err) != attach.CodeDecode || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestRunDir(t *testing.T) {
	t.Setenv("TUPLENET_RUNDIR", "/run/one")
	for text, want := range map[string]string{`{}`: "/run/one", `{"rundir": "/run/two"}`: "/run/two"} {
		if c, err := ParseConfig([]byte(text)); err != nil || c.RunDir != want {
			t.Errorf("%s: run directory %v, %v, want %s", text, c, err, want)
		}
	}
}

func TestSimilar(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"subnet", "subnet", true}, {"subnt", "subnet", true}, {"subnets", "subnet", true}, {"xsubnet", "subnet", true}, {"sabnet", "subnet", true},
		{"subnxy", "subnet", false}, {"sub", "subnet", false}, {"", "", true}, {"", "a", true}, {"ab", "ba", false},
	} {
		if similar(test.a, test.b) != test.want || similar(test.b, test.a) != test.want {
			t.Errorf("similar(%q, %q) is not %t", test.a, test.b, test.want)
		}
	}
}
