package lab

import "fmt"

// The first file of the tutorial, in the words of Spec.
const twoHosts = `
hosts:
- {name: host-alice, address: 192.168.1.10}
- {name: host-bob, address: 192.168.1.11}
switches:
- name: LS-A
  ports:
  - {name: lsp-alice, address: 10.20.1.10, mac: "f2:01:00:00:00:01"}
- name: LS-B
  ports:
  - {name: lsp-bob, address: 10.20.2.10, mac: "f2:01:00:00:00:02"}
routers:
- name: LR-central
  links:
  - {switch: LS-A, address: 10.20.1.1/24}
  - {switch: LS-B, address: 10.20.2.1/24}
workloads:
- {port: lsp-alice, host: host-alice}
- {port: lsp-bob, host: host-bob}
`

// TwoHosts returns the lab of the tutorial's first section: Alice and Bob, a
// switch each, and a router between.
func TwoHosts() Spec {
	s, err := Parse([]byte(twoHosts))
	if err != nil {
		panic(err) // a constant of ours
	}
	return s
}

// maxGenerated bounds Generate; a machine is at its end long before.
const maxGenerated = 200

// Generate returns a lab of n hosts in the pattern of TwoHosts: a workload
// each, alternately on LS-A and LS-B.
func Generate(n int) (Spec, error) {
	if n < 1 || n > maxGenerated {
		return Spec{}, fmt.Errorf("a lab has 1 to %d hosts, not %d", maxGenerated, n)
	}
	s := TwoHosts()
	s.Hosts, s.Workloads = nil, nil
	for i := range s.Switches {
		s.Switches[i].Ports = nil
	}
	for i := range n {
		host, port := fmt.Sprintf("host-%d", i+1), fmt.Sprintf("lsp-%d", i+1)
		s.Hosts = append(s.Hosts, Host{Name: host})
		sw := &s.Switches[i%2]
		sw.Ports = append(sw.Ports, Port{Name: port, Address: fmt.Sprintf("10.20.%d.%d", i%2+1, firstHost+i/2)})
		s.Workloads = append(s.Workloads, Workload{Port: port, Host: host})
	}
	return s, s.complete()
}

// maxEdges bounds Edges; each edge takes a host's share of the machine.
const maxEdges = 3

// Edges returns the lab of the tutorial's second and third section: TwoHosts,
// and n edges that join it to a physical network with a client, and a web server
// behind its router.
func Edges(n int) (Spec, error) {
	if n < 1 || n > maxEdges {
		return Spec{}, fmt.Errorf("a lab of the tutorial's has 1 to %d edges, not %d: describe a larger one in a file", maxEdges, n)
	}
	s := TwoHosts()
	s.Outside = []Outside{
		{Name: "client", Address: "192.168.1.100/24"},
		{Name: "web", Address: "172.16.1.10/24"},
	}
	// The way back for what leaves by a host's own stack, in untunnel mode.
	s.Routes = []Route{{To: "10.20.0.0/16", Via: "192.168.1.20"}}
	central := &s.Routers[0]
	var edges []Router
	for i := 1; i <= n; i++ {
		host, inner, outer := fmt.Sprint("host-edge", i), fmt.Sprint("m", i), fmt.Sprint("outside", i)
		// On every inner network the edge has the second address; the
		// central router has the first, the third, the fourth.
		address := "100.10.10.1"
		if i > 1 {
			address = fmt.Sprint("100.10.10.", i+1)
		}
		central.Links = append(central.Links, Link{Switch: inner, Address: address + "/24"})
		central.Routes = append(central.Routes,
			StaticRoute{Name: fmt.Sprint("to_outside", i), To: "0.0.0.0/0", Via: "100.10.10.2", Port: central.Name + "_to_" + inner})
		name := fmt.Sprint("LR-edge", i)
		edges = append(edges, Router{
			Name: name, Chassis: host,
			Links: []Link{{Switch: inner, Address: "100.10.10.2/24"}, {Switch: outer, Address: fmt.Sprintf("192.168.1.%d/24", 19+i)}},
			Routes: []StaticRoute{
				{Name: fmt.Sprint("to_virt", i), To: "10.20.0.0/16", Via: address, Port: name + "_to_" + inner},
				{Name: fmt.Sprint("to_ext_world", i), To: "0.0.0.0/0", Via: "192.168.1.1", Port: name + "_to_" + outer},
			},
			NAT: []NAT{{Name: fmt.Sprint("snat_rule", i), Net: "10.20.0.0/16", Type: "snat", Address: fmt.Sprint("192.168.1.", 29+i)}},
		})
		s.Hosts = append(s.Hosts, Host{Name: host, Kind: KindGateway, NICs: 2})
		s.Switches = append(s.Switches, Switch{Name: inner},
			Switch{Name: outer, Outer: &Outer{Port: "patchport-" + outer, Host: host}})
	}
	s.Routers = append(s.Routers, edges...)
	return s, s.complete()
}
