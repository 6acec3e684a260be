package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// Network is a network of Docker: a logical switch under the id and the name
// that Docker knows it by. Several networks, of engines that know nothing of each
// other, may be one switch. What the plugin for Docker keeps is outside of what
// agents watch: nothing of it makes a flow.
type Network struct {
	ID       string       `json:"-"`                  // Docker's
	Name     string       `json:"name,omitempty"`     // in Docker; empty until the engine has told it
	Switch   string       `json:"switch"`             //
	Made     bool         `json:"made,omitempty"`     // the switch was made for the network, has its id for a name, and goes with it
	Router   string       `json:"router,omitempty"`   // that the switch was linked to for the network; empty: none
	Subnet   netip.Prefix `json:"subnet"`             // masked
	Gateway  netip.Addr   `json:"gateway,omitzero"`   // as Docker knows it, whoever has it
	MTU      int          `json:"mtu,omitempty"`      // of its containers' interfaces, bytes; 0: what the host's tunnels allow
	Internal bool         `json:"internal,omitempty"` // its containers get no default route
	Secured  bool         `json:"secured,omitempty"`  // their ports are, see topology.SwitchPort.Secured
	Scope    Scope        `json:"scope"`              //
	Chassis  string       `json:"chassis"`            // system-id of the host that made it
	Engine   string       `json:"engine,omitempty"`   // id of Docker's own network none there, which tells engines, and what they have stored, apart; empty until the engine has listed the network
	Freed    bool         `json:"freed,omitempty"`    // Docker has ended it, and it goes with its last port
}

// Scope is who knows a network of Docker, and so who may end it.
type Scope string

// The scopes.
const (
	ScopeLocal  Scope = "local"  // the engine that made it
	ScopeGlobal Scope = "global" // the engines with one cluster store
	ScopeSwarm  Scope = "swarm"  // the engines of a swarm, whose manager makes and frees it
)

// networks is the directory of Docker's networks, by their ids.
func (l layout) networks() string { return string(l) + "cnm/network/" }

// maxNetworkName bounds what Docker calls a network, bytes.
const maxNetworkName = 255

// CheckNetworkName refuses a name of Docker's, which may be any text, that cannot
// be shown.
func CheckNetworkName(name string) error {
	if name == "" || len(name) > maxNetworkName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return fmt.Errorf("invalid name %.300q of a Docker network, want up to %d bytes that can be printed", name, maxNetworkName)
	}
	return nil
}

// checkSubnet refuses what is no subnet of Docker's: ports of a switch are told
// apart by 16 bits.
func checkSubnet(subnet netip.Prefix) error {
	if !subnet.Addr().Is4() || subnet.Bits() < 16 || subnet != subnet.Masked() {
		return fmt.Errorf("invalid subnet %s, want an IPv4 network of at most a /16", subnet)
	}
	return nil
}

// parseNetwork reads what a key of networks holds.
func (l layout) parseNetwork(path, value string) (Network, error) {
	n := Network{ID: strings.TrimPrefix(path, l.networks())}
	if err := json.Unmarshal([]byte(value), &n); err != nil {
		return n, fmt.Errorf("invalid record of Docker network %s: %w", n.ID, err)
	}
	return n, n.check()
}

// check says what is wrong with a record of a network.
func (n Network) check() error {
	if err := topology.CheckName(n.ID); err != nil {
		return fmt.Errorf("id of a Docker network: %w", err)
	}
	for what, name := range map[string]string{"switch": n.Switch, "router": n.Router, "chassis": n.Chassis} {
		if err := topology.CheckName(name); err != nil && (name != "" || what == "switch") {
			return fmt.Errorf("the Docker network %s: %s: %w", n.ID, what, err)
		}
	}
	if n.Name != "" {
		if err := CheckNetworkName(n.Name); err != nil {
			return fmt.Errorf("the Docker network %s: %w", n.ID, err)
		}
	}
	if n.Made && n.Switch != n.ID {
		return fmt.Errorf("the Docker network %s: switch %s has another name, so it was not made for the network", n.ID, n.Switch)
	}
	if err := checkSubnet(n.Subnet); err != nil {
		return fmt.Errorf("the Docker network %s: %w", n.ID, err)
	}
	if n.Router != "" && !n.Gateway.IsValid() {
		return fmt.Errorf("the Docker network %s: it is linked to router %s, but has no gateway", n.ID, n.Router)
	}
	if n.Gateway.IsValid() && !n.Subnet.Contains(n.Gateway) {
		return fmt.Errorf("the Docker network %s: gateway %s is not in the subnet %s", n.ID, n.Gateway, n.Subnet)
	}
	return nil
}

// Link returns the two ports that join the switch of a network to its router:
// the router's is named to_<network id>, the switch's port.
func (n Network) Link(port string) (topology.SwitchPort, topology.RouterPort) {
	mac := topology.MACFromIP(n.Gateway)
	routerPort := "to_" + n.ID
	return topology.SwitchPort{Switch: n.Switch, Name: port, IP: n.Gateway, MAC: mac, Peer: routerPort},
		topology.RouterPort{Router: n.Router, Name: routerPort, Net: netip.PrefixFrom(n.Gateway, n.Subnet.Bits()), MAC: mac, Peer: port}
}

// CreateNetwork makes the record of a network and, if Made says so, its switch
// and the link to its router, all or nothing. A reservation of its subnet ends.
// ErrExists: the record, the switch or a port is there already. ErrNotFound: the
// switch that is to be used, or the router, is not.
func (s *Store) CreateNetwork(ctx context.Context, n Network) error {
	if err := n.check(); err != nil {
		return err
	}
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	for {
		name, err := s.linkName(ctx, n)
		if err != nil {
			return err
		}
		if err := s.createNetwork(ctx, n, name, string(text)); !errors.Is(err, errLost) {
			return err
		}
	}
}

// createNetwork is CreateNetwork with a name for the switch's port of the link, or
// errLost if that is another's by now.
func (s *Store) createNetwork(ctx context.Context, n Network, link, text string) error {
	var entities []topology.Stored
	if n.Made {
		entities = append(entities, topology.Switch{Name: n.Switch})
	}
	if link != "" {
		sp, rp := n.Link(link)
		entities = append(entities, sp, rp)
	}
	record, sw := s.layout.networks()+n.ID, s.layout.path(topology.Switch{Name: n.Switch}.Key())
	paths := append(s.createPaths(entities), record, sw)
	slices.Sort(paths)
	return s.change(ctx, "creating Docker network "+n.ID, slices.Compact(paths), func(t *txn) error {
		if _, ok := t.get(record); ok {
			return fmt.Errorf("the Docker network %s %w", n.ID, ErrExists)
		}
		if _, ok := t.get(sw); !ok && !n.Made {
			return fmt.Errorf("switch %s %w", n.Switch, ErrNotFound)
		}
		// Who makes another network with that name meanwhile changes device_ids, too.
		if now, err := s.linkName(ctx, n); err != nil {
			return err
		} else if now != link {
			return errLost
		}
		if err := s.checkParents(t, entities); err != nil {
			return err
		}
		for _, e := range entities {
			if _, err := s.create(ctx, t, e); err != nil {
				return err
			}
		}
		t.put(record, text)
		t.delete(s.layout.reservation(n.Subnet, netip.Addr{}))
		return nil
	})
}

// linkName returns the name of the switch's port in the link of a network:
// to_<router>, or, as ports are found by their names alone and another network
// may have that port, <network id>_to_<router>. It is empty if there is no link.
func (s *Store) linkName(ctx context.Context, n Network) (string, error) {
	if !n.Made || n.Router == "" {
		return "", nil
	}
	name := "to_" + n.Router
	has, err := s.Named(ctx, topology.KindSwitchPort, name)
	if err != nil || len(has) == 0 {
		return name, err
	}
	return n.ID + "_" + name, nil
}

// DeleteNetwork removes the record of a network and, if it was made for it, the
// switch with its link to a router. ErrNotFound: there is no such network.
// ErrNotEmpty: the switch has other ports, or another network is on it.
func (s *Store) DeleteNetwork(ctx context.Context, id string) error {
	n, err := s.Network(ctx, id)
	if err != nil {
		return err
	}
	record := s.layout.networks() + id
	if !n.Made {
		return s.change(ctx, "deleting Docker network "+id, []string{record}, func(t *txn) error {
			t.delete(record)
			return nil
		})
	}
	sw, link := topology.Switch{Name: n.Switch}.Key(), topology.RouterPort{Router: n.Router, Name: "to_" + id}.Key()
	paths := []string{record, s.layout.path(sw), s.layout.book(sw), s.layout.deviceIDs()}
	if n.Router != "" {
		paths = append(paths, s.layout.path(link), s.layout.book(link.ParentKey()))
	}
	return s.change(ctx, "deleting Docker network "+id, paths, func(t *txn) error {
		if err := s.onlyNetwork(ctx, t, n); err != nil {
			return err
		}
		t.delete(record)
		if value, ok := t.get(s.layout.path(sw)); ok {
			if err := s.onlyLinked(ctx, t, n); err != nil {
				return err
			}
			t.delete(s.layout.path(sw))
			if err := s.deleteChildren(ctx, t, sw, true); err != nil {
				return err
			}
			if e, err := topology.Parse(sw, value); err == nil {
				if err := s.giveDevice(ctx, t, e); err != nil {
					return err
				}
			}
		}
		if n.Router == "" {
			return nil
		}
		value, ok := t.get(s.layout.path(link))
		if !ok {
			return nil
		}
		t.delete(s.layout.path(link))
		if e, err := topology.Parse(link, value); err == nil {
			return s.givePort(ctx, t, e)
		}
		return nil
	})
}

// onlyNetwork refuses a network whose switch another network is on, also when the
// transaction is carried out.
func (s *Store) onlyNetwork(ctx context.Context, t *txn, n Network) error {
	t.settle(s.layout.networks())
	all, err := s.Networks(ctx)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.ID != n.ID && other.Switch == n.Switch {
			return fmt.Errorf("switch %s is %w, Docker network %s of host %s is on it, too", n.Switch, ErrNotEmpty, other, other.Chassis)
		}
	}
	return nil
}

// onlyLinked refuses a network whose switch has ports beside its link, also when
// the transaction is carried out.
func (s *Store) onlyLinked(ctx context.Context, t *txn, n Network) error {
	ports, err := (&View{ctx, s, t}).List(topology.KindSwitchPort, n.Switch)
	if err != nil {
		return err
	}
	ports = slices.DeleteFunc(ports, func(e topology.Stored) bool { return e.(topology.SwitchPort).Peer == "to_"+n.ID })
	if len(ports) == 0 {
		return nil
	}
	port := ports[0].(topology.SwitchPort)
	where := ""
	if port.Chassis != "" {
		where = " on host " + port.Chassis
	}
	return fmt.Errorf("switch %s is %w, it has %d ports, such as %s (%s%s): see them with tpctl lsp show %[1]s", n.Switch, ErrNotEmpty, len(ports), port.Name, port.IP, where)
}

// Network returns the record of a network, or ErrNotFound.
func (s *Store) Network(ctx context.Context, id string) (Network, error) {
	if err := topology.CheckName(id); err != nil {
		return Network{}, fmt.Errorf("id of a Docker network: %w", err)
	}
	path := s.layout.networks() + id
	resp, err := s.client.Get(ctx, path)
	if err != nil {
		return Network{}, s.failed("reading Docker network "+id, err)
	}
	if len(resp.Kvs) == 0 {
		return Network{}, fmt.Errorf("the Docker network %s %w", id, ErrNotFound)
	}
	return s.layout.parseNetwork(path, string(resp.Kvs[0].Value))
}

// Networks returns the records of all networks in the order of their ids.
// Those that cannot be read are left out.
func (s *Store) Networks(ctx context.Context) ([]Network, error) {
	var all []Network
	dir := s.layout.networks()
	_, err := s.scan(ctx, dir, clientv3.GetPrefixRangeEnd(dir), func(kv *mvccpb.KeyValue) {
		if n, err := s.layout.parseNetwork(string(kv.Key), string(kv.Value)); err == nil {
			all = append(all, n)
		}
	})
	if err != nil {
		return nil, s.failed("listing the networks of Docker", err)
	}
	return all, nil
}

// ChangeNetwork has edit change the record of a network, which may be asked
// several times. ErrNotFound: there is none.
func (s *Store) ChangeNetwork(ctx context.Context, id string, edit func(*Network)) error {
	path := s.layout.networks() + id
	return s.change(ctx, "changing Docker network "+id, []string{path}, func(t *txn) error {
		value, ok := t.get(path)
		if !ok {
			return fmt.Errorf("the Docker network %s %w", id, ErrNotFound)
		}
		n, err := s.layout.parseNetwork(path, value)
		if err != nil {
			return err
		}
		was := n
		if edit(&n); n == was {
			return nil
		}
		text, err := json.Marshal(n)
		if err := errors.Join(err, n.check()); err != nil {
			return err
		}
		t.put(path, string(text))
		return nil
	})
}

// Title names a network where there are those of several hosts: tp-docker-net1
// (hv1).
func (n Network) Title() string {
	title := topology.ShortDockerID(n.String())
	if n.Chassis != "" {
		title += " (" + n.Chassis + ")"
	}
	return title
}

// String names a network as people do: by its name in Docker, or by its id.
func (n Network) String() string {
	if n.Name != "" {
		return n.Name
	}
	return n.ID
}
