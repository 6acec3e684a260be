package topology

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseRoundTrip(t *testing.T) {
	tests := []struct {
		key         Key
		value, want string // want "" means: prints as value
	}{
		{Key{KindSwitch, "", "LS-A"}, "id=7", ""},
		{Key{KindSwitchPort, "LS-A", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01", ""},
		{Key{KindSwitchPort, "LS-A", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,peer=r,chassis=hv1", ""},
		{Key{KindSwitchPort, "LS-A", "p"}, "chassis=hv1,mac=F2:01:0A:00:00:01,ip=10.0.0.1", "ip=10.0.0.1,mac=f2:01:0a:00:00:01,chassis=hv1"},
		{Key{KindSwitchPort, "LS-A", "p"}, "ip6=fd00::1,ip=10.0.0.1,a=b,mac=f2:01:0a:00:00:01", "ip=10.0.0.1,mac=f2:01:0a:00:00:01,a=b,ip6=fd00::1"},
		{Key{KindSwitchPort, "out", "p"}, "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=edge1", ""},
		{Key{KindSwitch, "", "LS-A"}, "id=7,security=on", ""},
		{Key{KindSwitch, "", "LS-A"}, "a=b,security=off,id=7", "id=7,a=b"},
		{Key{KindSwitchPort, "LS-A", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,chassis=hv1,parent=vm1,tag=4094,security=on,owner=cni:k8s/12/eth0,pool=vm1", ""},
		{Key{KindSwitchPort, "LS-A", "p"}, "pool=hv1,tag=1,x=y,parent=vm1,mac=f2:01:0a:00:00:01,ip=10.0.0.1", "ip=10.0.0.1,mac=f2:01:0a:00:00:01,parent=vm1,tag=1,pool=hv1,x=y"},
		{Key{KindSwitchPort, "LS-A", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,security=off,parent=,tag=,owner=", "ip=10.0.0.1,mac=f2:01:0a:00:00:01"},
		{Key{KindRouter, "", "R"}, "id=16777215", ""},
		{Key{KindRouter, "", "R"}, "id=1,chassis=edge1", ""},
		{Key{KindRouterPort, "R", "p"}, "ip=10.0.0.1,prefix=24,mac=f2:01:0a:00:00:01,peer=sp", ""},
		{Key{KindStaticRoute, "R", "r"}, "ip=0.0.0.0,prefix=0,next_hop=100.10.10.2,outport=p", ""},
		{Key{KindNAT, "R", "n"}, "ip=10.20.0.0,prefix=16,xlate_ip=192.168.1.30,xlate_type=snat", ""},
		{Key{KindChassis, "", "hv1"}, "ip=192.168.1.10,tick=1500000000", ""},
		{Key{KindChassis, "", "hv1"}, "tick=5,ip=192.168.1.10,v=2", "ip=192.168.1.10,v=2,tick=5"},
		{Key{KindPresence, "", "hv1"}, "192.168.1.10", ""},
		{Key{KindPresence, "", "hv1"}, "192.168.1.10,stopped", ""},
		{Key{KindContender, "", "hv1"}, "192.168.1.10", ""},
		{Key{KindAbsence, "", "hv1"}, "since=1795269785", ""},
	}
	for _, tt := range tests {
		e, err := Parse(tt.key, tt.value)
		if err != nil {
			t.Errorf("%s %q: %v", tt.key, tt.value, err)
			continue
		}
		want := tt.want
		if want == "" {
			want = tt.value
		}
		if e.Value() != want {
			t.Errorf("%s %q prints as %q, want %q", tt.key, tt.value, e.Value(), want)
		}
		if e.Key() != tt.key {
			t.Errorf("key %v, want %v", e.Key(), tt.key)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		key         Key
		value, want string
	}{
		{Key{KindSwitch, "", "LS-A"}, "", "id is missing"},
		{Key{KindSwitch, "", "LS-A"}, "id=0", "invalid id"},
		{Key{KindSwitch, "", "LS-A"}, "id=16777216", "invalid id"},
		{Key{KindSwitch, "", "LS-A"}, "id=-1", "invalid id"},
		{Key{KindSwitch, "", " "}, "id=1", "only spaces"},
		{Key{KindSwitch, "", "a/b"}, "id=1", `"/" is not allowed`},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1", "mac is missing"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.256,mac=f2:01:0a:00:00:01", "invalid IP"},
		{Key{KindSwitchPort, "s", "p"}, "ip=fd00::1,mac=f2:01:0a:00:00:01", "invalid IP"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=f2:01", "invalid MAC"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=01:00:5e:00:00:01", "multicast"},
		{Key{KindSwitchPort, "s", "p"}, "hello", "not a key=value pair"},
		{Key{KindSwitch, "", "LS-A"}, "id=1,security=yes", `invalid security "yes", want on or off`},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,security=1", "invalid security"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,parent=vm1", "both a parent and a tag"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,tag=3", "both a parent and a tag"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,parent=vm1,tag=0", "invalid tag"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,parent=vm1,tag=4095", "from 1 to 4094"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,parent=vm1,tag=70000", "invalid tag"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,parent=vm1,tag=3,peer=r", "leads to a workload"},
		{Key{KindSwitchPort, "s", "p"}, "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,parent=vm1,tag=3", "leads to a workload"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=f2:01:0a:00:00:01,parent=p,tag=3", "its own parent"},
		{Key{KindRouterPort, "r", "p"}, "ip=10.0.0.1,prefix=33,mac=f2:01:0a:00:00:01", "invalid prefix"},
		{Key{KindStaticRoute, "r", "x"}, "ip=10.0.0.0,prefix=8,next_hop=1.2.3.4", "outport is missing"},
		{Key{KindNAT, "r", "x"}, "ip=10.0.0.0,prefix=8,xlate_ip=1.2.3.4,xlate_type=both", "want snat or dnat"},
		{Key{KindChassis, "", "x"}, "ip=10.0.0.0", "tick is missing"},
		{Key{KindChassis, "", "x"}, "ip=0.0.0.0,tick=1", "no tunnel leads there"},
		{Key{KindChassis, "", "x"}, "ip=127.0.0.1,tick=1", "no tunnel leads there"},
		{Key{KindChassis, "", "x"}, "ip=224.0.0.1,tick=1", "no tunnel leads there"},
		{Key{KindChassis, "", "x"}, "ip=192.168.0.1,tick=9223372036854775807", "want Unix seconds"},
		{Key{KindChassis, "", "x"}, "ip=192.168.0.1,tick=-1", "want Unix seconds"},
		{Key{KindSwitchPort, "s", "p"}, "ip=10.0.0.1,mac=00:00:00:00:00:00", "stands for no port"},
		{Key{KindPresence, "", "x"}, "", "invalid IP"},
		{Key{KindPresence, "", "x"}, "192.168.0.1,ended", "invalid IP"},
		{Key{KindContender, "", "x"}, "192.168.0.1,stopped", "invalid IP"},
		{Key{KindAbsence, "", "x"}, "since=yesterday", "want Unix seconds"},
		{Key{KindTunnel, "", "x"}, "", "holds no tunnel"},
	}
	for _, tt := range tests {
		_, err := Parse(tt.key, tt.value)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q: got %v, want an error with %q", tt.key, tt.value, err, tt.want)
		}
	}
}

func TestIDsAndMACs(t *testing.T) {
	ip := netip.MustParseAddr("10.20.1.10")
	if got := MACFromIP(ip).String(); got != "f2:01:0a:14:01:0a" {
		t.Errorf("MACFromIP = %s", got)
	}
	if got := PortID(ip); got != 0x010a {
		t.Errorf("PortID = %#x", got)
	}
	if got := OuterMAC.Uint64(); got != 0xffffffffffee {
		t.Errorf("OuterMAC = %#x", got)
	}
}

// What parses prints as something that parses to the same.
func FuzzParse(f *testing.F) {
	f.Add(uint8(KindSwitchPort), "ip=10.0.0.1,mac=f2:01:0a:00:00:01,peer=r,chassis=hv1,x=y")
	f.Add(uint8(KindSwitchPort), "ip=10.0.0.1,mac=f2:01:0a:00:00:01,parent=vm,tag=5,security=on,owner=cni:net/id/eth0,pool=vm")
	f.Add(uint8(KindSwitchPort), "ip=10.0.0.1,mac=f2:01:0a:00:00:01,tag=4095,security=off,parent==,owner=a=b")
	f.Add(uint8(KindSwitch), "id=7,security=on,security=off")
	f.Add(uint8(KindStaticRoute), "ip=0.0.0.0,prefix=0,next_hop=100.10.10.2,outport=p")
	f.Add(uint8(KindChassis), "ip=1.2.3.4,tick=9,=,a=,b")
	f.Fuzz(func(t *testing.T, kind uint8, value string) {
		key := Key{Kind: Kind(kind), Name: "n"}
		if key.Kind.Parent() != 0 {
			key.Parent = "up"
		}
		e, err := Parse(key, value)
		if err != nil {
			return
		}
		again, err := Parse(key, e.Value())
		if err != nil || again != e {
			t.Fatalf("%q printed as %q, which reads as %v (%v)", value, e.Value(), again, err)
		}
	})
}
