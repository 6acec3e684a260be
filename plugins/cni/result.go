package cni

import (
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"cni.tuplenet/attach"
)

// Attached is what a container was given.
type Attached struct {
	Interface
	Gateway   netip.Addr // not valid: there is none
	NoOffload bool       // as attach.Answer has it
}

// ParseAnswer reads what the agent answers to Reserve. The container's interface
// gets what the configuration says of MTU and routes, and the rest from the agent.
func (c *Config) ParseAnswer(a attach.Answer, ifname string, w Wanted) (Attached, error) {
	bad := func(what, value string) error {
		return attach.Errorf(attach.CodeAgent, "the agent answers with %q for %s, which is none: are agent and plugin of one version?", value, what)
	}
	r := Attached{Interface: Interface{Name: ifname, MTU: a.MTU}, NoOffload: a.NoOffload}
	var err error
	if r.Address, err = netip.ParsePrefix(a.IP); err != nil || !r.Address.Addr().Is4() {
		return Attached{}, bad("an address", a.IP)
	}
	var ok bool
	if r.MAC, ok = parseMAC(a.MAC); !ok {
		return Attached{}, bad("a MAC", a.MAC)
	}
	if a.Gateway != "" {
		if r.Gateway, err = netip.ParseAddr(a.Gateway); err != nil || !r.Gateway.Is4() {
			return Attached{}, bad("a gateway", a.Gateway)
		}
	}
	if a.MTU != 0 && (a.MTU < minMTU || a.MTU > maxMTU) {
		return Attached{}, bad("an MTU", fmt.Sprint(a.MTU))
	}
	if c.MTU != 0 {
		r.MTU = c.MTU
	}
	if w.Bits >= 0 && w.Bits != r.Address.Bits() {
		return Attached{}, attach.Errorf(attach.CodeConfig, "the address %s/%d is wanted, but the network of switch %s is a /%d", w.IP, w.Bits, a.Switch, r.Address.Bits())
	}
	r.Implied = c.Routes == nil
	r.Routes, err = c.routes(r.Gateway, r.Address)
	return r, err
}

// routes returns those of a container, with their gateways.
func (c *Config) routes(gateway netip.Addr, address netip.Prefix) ([]*types.Route, error) {
	if c.Routes == nil {
		if !gateway.IsValid() {
			return nil, nil
		}
		return []*types.Route{{Dst: *ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), GW: gateway.AsSlice()}}, nil
	}
	var all []*types.Route
	for _, r := range *c.Routes {
		if r.GW == nil {
			if !gateway.IsValid() {
				return nil, c.wrong("the route to %s needs a gw, as the switch has no gateway", &r.Dst)
			}
			r.GW = gateway.AsSlice()
		}
		if !ipNet(address).Contains(r.GW) {
			return nil, c.wrong("the gw %s of the route to %s is outside of the container's network %s", r.GW, &r.Dst, address.Masked())
		}
		all = append(all, &r)
	}
	return all, nil
}

// Result returns the result of ADD: what the plugins before this one in the
// chain have made, the end on the host, if there is one, and the container's.
func (c *Config) Result(a Attached, netnsPath string, host *types100.Interface) *types100.Result {
	r := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	if c.Previous != nil {
		r.Interfaces, r.IPs, r.Routes, r.DNS = c.Previous.Interfaces, c.Previous.IPs, c.Previous.Routes, c.Previous.DNS
	}
	if host != nil {
		r.Interfaces = append(r.Interfaces, host)
	}
	r.Interfaces = append(r.Interfaces, &types100.Interface{Name: a.Name, Mac: a.MAC.String(), Mtu: a.MTU, Sandbox: netnsPath})
	ip := &types100.IPConfig{Interface: types100.Int(len(r.Interfaces) - 1), Address: *ipNet(a.Address)}
	if a.Gateway.IsValid() {
		ip.Gateway = net.IP(a.Gateway.AsSlice())
	}
	r.IPs = append(r.IPs, ip)
	r.Routes = append(r.Routes, a.Routes...)
	if !c.DNS.IsEmpty() {
		r.DNS = c.DNS
	}
	return r
}

// WriteResult writes a result in the version that the configuration is of.
func (c *Config) WriteResult(w io.Writer, r *types100.Result) error {
	versioned, err := r.GetAsVersion(c.CNIVersion)
	if err != nil {
		return attach.Errorf(attach.CodeIO, "write the result as CNI %s: %s", c.CNIVersion, err)
	}
	if err := versioned.PrintTo(w); err != nil {
		return attach.Errorf(attach.CodeIO, "write the result: %s", err)
	}
	return nil
}
