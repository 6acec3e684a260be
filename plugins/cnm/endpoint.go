package cnm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	cni "cni.tuplenet"
	"cni.tuplenet/attach"
	"github.com/docker/go-plugins-helpers/network"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// What libnetwork calls the ports that a container publishes, and how it is told
// to number the interfaces of containers.
const (
	publishedKey = "com.docker.network.portmap"
	ifPrefix     = "eth"
)

// agentPatience is how long the agent may take for one step of an endpoint: it has
// bounds of its own for etcd and Open vSwitch, which are narrower.
const agentPatience = 2 * patience

// endpointID names an endpoint to the agent.
func endpointID(network, endpoint string) attach.ID {
	return attach.ID{Network: network, Container: endpoint, Ifname: ifPrefix}
}

// containerEnd returns the name that the container's end of an endpoint's veth
// pair has on the host: until Docker takes it into the container, and after it
// has given it back.
func containerEnd(id attach.ID) string { return "tc" + strings.TrimPrefix(id.Device(), "tp") }

// endpoint is an endpoint that is being made.
type endpoint struct {
	*Plugin
	id      attach.ID
	network store.Network
	ip      netip.Addr // wanted, or any
	mac     string     // wanted, or any
	host    *cni.Netns
	pair    *cni.Pair
}

// CreateEndpoint implements network.Driver. Whoever does not wait for it any more
// has no endpoint: Docker would know of none.
func (d *networkDriver) CreateEndpoint(r *network.CreateEndpointRequest) (*network.CreateEndpointResponse, error) {
	e := &endpoint{Plugin: d.Plugin, id: endpointID(r.NetworkID, r.EndpointID)}
	if err := topology.CheckName(r.EndpointID); err != nil {
		return nil, fmt.Errorf("id of the endpoint: %w", err)
	}
	defer d.endpoints.lock(e.id.Device())()
	ctx, cancel := d.bounded()
	defer cancel()
	var err error
	if e.network, err = d.network(ctx, r.NetworkID); err != nil {
		return nil, err
	}
	if err := e.want(r.Interface); err != nil {
		return nil, err
	}
	if e.host, err = cni.OpenNetns(""); err != nil {
		return nil, err
	}
	defer e.host.Close()
	e.pair = &cni.Pair{Host: e.host, Container: e.host, Device: e.id.Device(), Ifname: containerEnd(e.id)}
	given, err := e.create(d.ctx)
	if d.ctx.Err() != nil {
		if err == nil {
			_, err = e.releaseEndpoint(e.id)
		}
		return nil, errors.Join(fmt.Errorf("endpoint %s is given up: Docker does not wait for it any more", topology.ShortDockerID(r.EndpointID)), err)
	}
	if err != nil {
		return nil, err
	}
	e.end(given)
	answer := &network.EndpointInterface{}
	if r.Interface == nil || r.Interface.Address == "" {
		answer.Address = given.IP
	}
	if e.mac == "" {
		answer.MacAddress = given.MAC
	}
	return &network.CreateEndpointResponse{Interface: answer}, nil
}

// want reads what Docker says that the endpoint is to have.
func (e *endpoint) want(i *network.EndpointInterface) error {
	if i == nil {
		i = &network.EndpointInterface{}
	}
	if i.AddressIPv6 != "" {
		return errIPv6
	}
	if e.mac = i.MacAddress; e.mac != "" {
		if _, err := topology.ParseMAC(e.mac); err != nil {
			return err
		}
	}
	if i.Address != "" {
		p, err := topology.ParsePrefix(i.Address)
		if err != nil {
			return fmt.Errorf("address of the endpoint: %w", err)
		}
		if !e.network.Subnet.IsValid() { // of the original, without a router
			e.network.Subnet = p.Masked()
		}
		if p.Masked() != e.network.Subnet {
			return fmt.Errorf("the address %s is not in the network's subnet %s", p, e.network.Subnet)
		}
		e.ip = p.Addr()
	}
	if !e.network.Subnet.IsValid() {
		return fmt.Errorf("nobody has an address for the endpoint: switch %s is linked to no router, so it has no subnet of its own", e.network.Switch)
	}
	return nil
}

// create makes the endpoint, all of it or nothing.
func (e *endpoint) create(ctx context.Context) (given attach.Answer, err error) {
	if err := e.clear(); err != nil {
		return given, err
	}
	reserved, err := e.reserved(ctx)
	if err != nil {
		return given, err
	}
	agent, err := e.dial(ctx)
	if err != nil {
		return given, err
	}
	defer context.AfterFunc(ctx, func() { agent.Close(0) })()
	made := false
	defer func() {
		if err != nil {
			if made {
				err = errors.Join(err, e.pair.Remove())
			}
			agent.Close(patience) // which takes back what was not kept
			return
		}
		agent.Close(0)
	}()
	if err := agent.Say(e.reservation(reserved)); err != nil {
		return given, err
	}
	making := e.pair.Make(cmp.Or(e.network.MTU, e.cfg.MTU))
	made = making == nil
	if given, err = agent.Hear(attach.Reserve, agentPatience); err != nil {
		return given, e.explain(err)
	}
	if errors.Is(making, cni.ErrExists) {
		making = fmt.Errorf("endpoint %s is there already: its interface %s is in use on this host", topology.ShortDockerID(e.id.Container), e.pair.Device)
	}
	if making != nil {
		return given, making
	}
	if err := e.configure(given); err != nil {
		return given, err
	}
	wait := e.cfg.flowsPatience()
	if _, err := agent.Ask(attach.Request{Op: attach.Plug, Wait: int(wait.Milliseconds())}, agentPatience+wait); err != nil {
		return given, err
	}
	_, err = agent.Ask(attach.Request{Op: attach.Keep}, agentPatience)
	return given, err
}

// clear removes what an earlier attempt has left, of which Docker has heard
// nothing, as when the plugin was killed: a pair that no container has got.
func (e *endpoint) clear() error {
	left, err := e.host.Find(e.pair.Ifname)
	if left == nil || err != nil {
		return err
	}
	e.log.Info("an endpoint that was left behind is made anew", "network", e.id.Network, "endpoint", e.id.Container)
	_, err = e.releaseEndpoint(e.id)
	return err
}

// reserved returns the addresses that Docker was given by our IPAM driver, and
// which nothing has yet. It matters only where the agent is to choose.
func (e *endpoint) reserved(ctx context.Context) (list []string, err error) {
	if e.ip.IsValid() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	all, err := e.store.Reservations(ctx)
	for _, r := range all {
		if r.IP.IsValid() && r.Subnet == e.network.Subnet {
			list = append(list, r.IP.String())
		}
	}
	return list, err
}

// reservation is the first request to the agent.
func (e *endpoint) reservation(reserved []string) attach.Request {
	sw := switchOf(e.network)
	sw.Reserved = reserved
	r := attach.Request{Op: attach.Reserve, ID: e.id, Plugin: attach.CNM, Bridge: e.cfg.Bridge, Etcd: e.cfg.etcd(),
		Switches: []attach.Switch{sw},
		Device:   e.pair.Device, MAC: e.mac, Secured: e.network.Secured}
	if e.ip.IsValid() {
		r.IP = e.ip.String()
	}
	return r
}

// explain adds to the agent's word that an address is another's why that may be.
func (e *endpoint) explain(err error) error {
	var failed *attach.Error
	if errors.As(err, &failed) && failed.Code == attach.CodeTaken && e.ip.IsValid() && strings.Contains(failed.Msg, "address "+e.ip.String()) {
		return fmt.Errorf("%w; if it was not you who chose it, Docker's own IPAM did, which knows nothing of other hosts: make the network with --ipam-driver tuplenet", err)
	}
	return err
}

// configure gives both ends of the pair what they have to be. The container's
// keeps its MTU when Docker takes it.
func (e *endpoint) configure(given attach.Answer) error {
	if err := cni.DisableIPv6(e.pair.Device); err != nil {
		return err
	}
	wanted := cmp.Or(e.network.MTU, e.cfg.MTU)
	if given.MTU != 0 && wanted > given.MTU { // larger packets get an answer that says so, and pass on one host
		e.log.Warn("the MTU of a network is larger than what this host's tunnels carry", "network", e.id.Network, "mtu", wanted, "tunnels", given.MTU)
	}
	for _, name := range []string{e.pair.Device, e.pair.Ifname} {
		if wanted == 0 && given.MTU != 0 {
			if err := e.setMTU(name, given.MTU); err != nil {
				return err
			}
		}
		if given.NoOffload {
			if err := e.host.ComputeChecksums(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *endpoint) setMTU(name string, mtu int) error {
	link, err := e.host.Find(name)
	switch {
	case err != nil:
		return err
	case link == nil:
		return fmt.Errorf("interface %s has vanished", name)
	}
	if err := e.host.LinkSetMTU(link, mtu); err != nil {
		return fmt.Errorf("set MTU %d of interface %s: %w", mtu, name, err)
	}
	return nil
}

// end ends the reservation of the endpoint's address: from now on a port has it.
func (e *endpoint) end(given attach.Answer) {
	e.log.Info("endpoint made", "network", e.id.Network, "endpoint", e.id.Container, "switch", given.Switch, "ip", given.IP, "mac", given.MAC, "device", e.pair.Device)
	if !e.ip.IsValid() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.store.ReleaseAddress(ctx, e.network.Subnet, e.ip, ""); err != nil {
		e.log.Warn("the reservation of an address stays for a while", "ip", e.ip, "error", e.denied(err, ""))
		e.lookAgain()
	}
}

// Join implements network.Driver: it tells Docker which interface is the
// container's, and where its default route leads.
func (d *networkDriver) Join(r *network.JoinRequest) (*network.JoinResponse, error) {
	ctx, cancel := d.bounded()
	defer cancel()
	host, err := cni.OpenNetns("")
	if err != nil {
		return nil, err
	}
	defer host.Close()
	end := containerEnd(endpointID(r.NetworkID, r.EndpointID))
	link, err := host.Find(end)
	switch {
	case err != nil:
		return nil, err
	case link == nil:
		return nil, fmt.Errorf("endpoint %s of network %s has no interface on this host: disconnect the container from the network, and connect it again", topology.ShortDockerID(r.EndpointID), topology.ShortDockerID(r.NetworkID))
	}
	n, err := d.network(ctx, r.NetworkID)
	if err != nil {
		return nil, err
	}
	routed, err := d.hasGateway(ctx, n)
	if err != nil {
		return nil, err
	}
	answer := &network.JoinResponse{InterfaceName: network.InterfaceName{SrcName: end, DstPrefix: ifPrefix}}
	if routed {
		answer.Gateway = n.Gateway.String()
	} else {
		answer.DisableGatewayService = true // else Docker adds an interface of its own, with a default route
	}
	return answer, nil
}

// hasGateway reports whether containers of a network get a default route: it is
// not internal, and somebody is its gateway. The agent knows who has an address; in
// etcd all ports of the switch would have to be read.
func (p *Plugin) hasGateway(ctx context.Context, n store.Network) (bool, error) {
	if n.Internal || !n.Gateway.IsValid() {
		return false, nil
	}
	answer, err := p.status(ctx, switchOf(n))
	return answer.Routed, err
}

// switchOf names the switch of a network to the agent.
func switchOf(n store.Network) attach.Switch {
	subnet := n.Subnet
	if n.Gateway.IsValid() {
		subnet = netip.PrefixFrom(n.Gateway, subnet.Bits())
	}
	return attach.Switch{Name: n.Switch, Subnet: subnet.String()}
}

// Leave implements network.Driver. What the endpoint has goes with the endpoint.
func (d *networkDriver) Leave(*network.LeaveRequest) error { return nil }

// DeleteEndpoint implements network.Driver. Docker forgets the endpoint whatever
// the answer is.
func (d *networkDriver) DeleteEndpoint(r *network.DeleteEndpointRequest) error {
	ctx, cancel := d.bounded() // for all of it
	defer cancel()
	pending, err := d.deleteEndpoint(endpointID(r.NetworkID, r.EndpointID))
	if err != nil || pending {
		d.lookAgain()
		return err
	}
	d.endFreedOf(ctx, r.NetworkID)
	return nil
}

// deleteEndpoint takes an endpoint back, whatever there is of it, and reports
// whether etcd is away, or denies it, so that its port goes later.
func (p *Plugin) deleteEndpoint(id attach.ID) (pending bool, err error) {
	defer p.endpoints.lock(id.Device())()
	return p.releaseEndpoint(id)
}

// releaseEndpoint is deleteEndpoint for who has the endpoint's lock. What the agent
// cannot do now it does by itself later, as the endpoint has no device any more.
func (p *Plugin) releaseEndpoint(id attach.ID) (pending bool, err error) {
	host, err := cni.OpenNetns("")
	if err != nil {
		return false, err
	}
	defer host.Close()
	agent, asking := attach.Dial(p.cfg.RunDir)
	if asking == nil {
		defer agent.Close(0)
		asking = agent.Say(attach.Request{Op: attach.Release, ID: id, Plugin: attach.CNM, Etcd: p.cfg.etcd(), Device: id.Device()})
	}
	removing := host.Delete(id.Device())
	var answer attach.Answer
	if asking == nil {
		answer, asking = agent.Hear(attach.Release, patience)
	}
	var failed *attach.Error
	switch {
	case errors.As(asking, &failed) && failed.Code == attach.CodeTryLater:
		p.log.Warn("the agent takes back an endpoint's port and address later", "network", id.Network, "endpoint", id.Container, "error", asking)
		asking = nil
	case asking == nil && answer.Pending:
		p.log.Warn("the agent takes back an endpoint's port and address later", "network", id.Network, "endpoint", id.Container, "why", cmp.Or(answer.Why, "etcd is away"))
	case asking == nil:
		p.log.Info("endpoint deleted", "network", id.Network, "endpoint", id.Container)
	}
	return answer.Pending, errors.Join(removing, asking)
}

// EndpointInfo implements network.Driver.
func (d *networkDriver) EndpointInfo(*network.InfoRequest) (*network.InfoResponse, error) {
	return &network.InfoResponse{Value: map[string]string{}}, nil
}

// ProgramExternalConnectivity implements network.Driver. Ports are not published
// on a host, as containers are reached through the edge.
func (d *networkDriver) ProgramExternalConnectivity(r *network.ProgramExternalConnectivityRequest) error {
	if published, ok := r.Options[publishedKey].([]any); ok && len(published) > 0 {
		return errors.New("no port of a host is published for a container of this network: leave -p (ports:) out; " +
			"inside of TupleNet its own address has all its ports, and from outside it is reached by an address on the edge: tpctl lnat add ROUTER NAME ADDRESS/32 dnat EXTERNAL-ADDRESS")
	}
	return nil
}

// RevokeExternalConnectivity implements network.Driver.
func (d *networkDriver) RevokeExternalConnectivity(*network.RevokeExternalConnectivityRequest) error {
	return nil
}
