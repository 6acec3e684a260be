package drawing

import (
	"encoding/json"
	"io"
	"time"

	"tuplenet/internal/topology"
)

// The graph as JSON. Fields that are a stored entity's have the names that
// tpctl's show commands give them. Every node and edge is there, alike or not:
// who reads this is a program.
type (
	jsonGraph struct {
		Nodes []jsonNode `json:"nodes"`
		Edges []jsonEdge `json:"edges"`
	}
	jsonNode struct {
		Key  topology.Key `json:"key"` // what edges name it by
		Kind string       `json:"kind"`
		Name string       `json:"name"`
		ID   uint32       `json:"id,omitempty"`

		Docker []string    `json:"docker,omitempty"` // names of the networks on a switch
		Ports  []jsonPort  `json:"ports,omitempty"`
		Routes []jsonRoute `json:"routes,omitempty"`
		NATs   []jsonNAT   `json:"nat,omitempty"`

		IP    string `json:"ip,omitempty"`
		MTU   int    `json:"mtu,omitempty"`
		State State  `json:"state,omitempty"`
		Since string `json:"since,omitempty"`
		Bound *int   `json:"bound,omitempty"` // ports of workloads on a chassis

		Missing bool     `json:"missing,omitempty"`
		Marks   []string `json:"marks,omitempty"`
		More    int      `json:"more_links,omitempty"`
	}
	jsonPort struct {
		Name    string `json:"name"`
		IP      string `json:"ip"`
		MAC     string `json:"mac"`
		Chassis string `json:"chassis,omitempty"`
		Parent  string `json:"parent,omitempty"`
		Tag     uint16 `json:"tag,omitempty"`
		Owner   string `json:"owner,omitempty"`
		Pool    string `json:"pool,omitempty"`
	}
	jsonRoute struct {
		Name    string `json:"name"`
		IP      string `json:"ip"`
		Prefix  int    `json:"prefix"`
		NextHop string `json:"next_hop"`
		OutPort string `json:"outport"`
		Switch  string `json:"switch,omitempty"`
		Router  string `json:"router,omitempty"`
	}
	jsonNAT struct {
		Name    string           `json:"name"`
		IP      string           `json:"ip"`
		Prefix  int              `json:"prefix"`
		Type    topology.NATType `json:"xlate_type"`
		XlateIP string           `json:"xlate_ip"`
	}
	jsonEdge struct {
		Relation   Relation     `json:"relation"`
		From       topology.Key `json:"from"`
		To         topology.Key `json:"to"`
		IP         string       `json:"ip,omitempty"`
		Prefix     *int         `json:"prefix,omitempty"`
		RouterPort string       `json:"router_port,omitempty"`
		SwitchPort string       `json:"switch_port,omitempty"`
		Bridge     string       `json:"bridge,omitempty"`
		Ports      int          `json:"ports,omitempty"`
	}
)

// JSON writes the graph as one object with nodes and edges, on one line. It is
// for graphs that have not been folded.
func (g *Graph) JSON(out io.Writer) error {
	j := jsonGraph{Nodes: make([]jsonNode, len(g.Nodes)), Edges: make([]jsonEdge, len(g.Edges))}
	for i, n := range g.Nodes {
		j.Nodes[i] = n.json()
	}
	for i, e := range g.Edges {
		j.Edges[i] = jsonEdge{Relation: e.Relation, From: e.From.Key, To: e.To.Key,
			RouterPort: e.RouterPort, SwitchPort: e.SwitchPort, Bridge: e.Bridge, Ports: e.Ports}
		if e.Relation == Link {
			bits := e.Net.Bits()
			j.Edges[i].IP, j.Edges[i].Prefix = e.Net.Addr().String(), &bits
		}
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(j)
}

func (n *Node) json() jsonNode {
	j := jsonNode{Key: n.Key, Kind: n.Key.Kind.String(), Name: n.Key.Name, ID: n.ID,
		Docker: n.Docker, MTU: n.MTU, State: n.State, Missing: n.Missing, Marks: n.Marks, More: n.More}
	if n.IP.IsValid() {
		j.IP = n.IP.String()
	}
	if n.State == Down {
		j.Since = time.Unix(n.Since, 0).UTC().Format(time.RFC3339)
	}
	if n.Key.Kind == topology.KindChassis {
		j.Bound = &n.Bound
	}
	for _, p := range n.Ports {
		j.Ports = append(j.Ports, jsonPort{p.Name, p.IP.String(), p.MAC.String(), p.Chassis, p.Parent, p.Tag, p.Owner, p.Pool})
	}
	for _, r := range n.Routes {
		j.Routes = append(j.Routes, jsonRoute{r.Name, r.Net.Addr().String(), r.Net.Bits(), r.NextHop.String(), r.OutPort, r.Switch, r.Router})
	}
	for _, r := range n.NATs {
		j.NATs = append(j.NATs, jsonNAT{r.Name, r.Net.Addr().String(), r.Net.Bits(), r.Type, r.XlateIP.String()})
	}
	return j
}
