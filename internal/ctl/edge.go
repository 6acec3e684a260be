package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Flags of the commands about an edge's road. The names with an underscore are
// the original's.
var (
	vipFlag     = Flag{Name: "vip", Value: "CIDR", Required: true, Usage: "address of the edge in the physical network, with the prefix length, as `CIDR`"}
	bridgeFlag  = Flag{Name: "phy-br", Aliases: []string{"phy_br"}, Value: "BRIDGE", Usage: "`BRIDGE` on the edge's host that holds the NIC to the physical network; without it the copied road's"}
	chassisFlag = Flag{Name: "chassis", Value: "ID", Usage: "system-id `ID` of the edge's host; without it this host's, as its Open vSwitch says"}
	virtFlag    = Flag{Name: "virt", Value: "CIDR", Required: true, Usage: "`CIDR` of the whole virtual network, which the edge sends to the central router"}
	innerFlag   = Flag{Name: "inner", Value: "CIDR", Default: "100.64.88.100/24", Usage: "address of the edge towards the central router, with the prefix length, as `CIDR`"}
	gatewayFlag = Flag{Name: "ext-gw", Aliases: []string{"ext_gw"}, Value: "IP", Required: true, Usage: "`IP` of the physical network's gateway"}
	routerFlag  = Flag{Name: "router", Value: "ROUTER", Usage: "the central `ROUTER`; without it the only one that lives on every chassis, or that roads lead to"}
	snatFlag    = Flag{Name: "snat", Value: "IP", Many: true, Usage: "external `IP` that the edge hides the virtual network behind; given several times they are a pool"}
	noSNATFlag  = Flag{Name: "no-snat", Usage: "let packets leave by the new edge with the addresses of the virtual network, although the other edge translates"}
	yesFlag     = Flag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
	settleFlag  = Flag{Name: "settle", Value: "TIME", Default: "2s", Usage: "`TIME` that agents get for the new road before it gets traffic, and then BFD to find it alive"}
	timeoutFlag = Flag{Name: "timeout", Value: "TIME", Default: "30s", Usage: "`TIME` to wait for the record of the chassis before the road gets traffic"}
	drainFlag   = Flag{Name: "drain", Value: "TIME", Default: "5s", Usage: "`TIME` that traffic gets to leave the road"}

	initBridgeFlag = Flag{Name: bridgeFlag.Name, Aliases: bridgeFlag.Aliases, Value: bridgeFlag.Value, Required: true,
		Usage: "`BRIDGE` on the edge's host that holds the NIC to the physical network"}
	removeVIPFlag = Flag{Name: vipFlag.Name, Value: "CIDR|IP", Required: true, Usage: "address of the edge in the physical network, as `CIDR|IP`"}

	initFlags   = []Flag{vipFlag, initBridgeFlag, virtFlag, innerFlag, gatewayFlag, snatFlag, routerFlag, chassisFlag, forceFlag, settleFlag, timeoutFlag, yesFlag}
	addFlags    = []Flag{vipFlag, bridgeFlag, snatFlag, noSNATFlag, routerFlag, chassisFlag, forceFlag, settleFlag, timeoutFlag, yesFlag}
	removeFlags = []Flag{removeVIPFlag, drainFlag, yesFlag}
)

func edgeInit(s *session, _ []string) error {
	virt, err := s.prefix(virtFlag, topology.ParsePrefix)
	if err != nil {
		return err
	}
	inner, err := s.prefix(innerFlag, routerNetwork)
	if err != nil {
		return err
	}
	ip, err := topology.ParseAddr(s.Flags[gatewayFlag.Name])
	if err != nil {
		return fmt.Errorf("--%s: %w", gatewayFlag.Name, err)
	}
	return s.edgeBuild("init", func(n *network, w wanted) (plan, error) {
		w.inner = inner
		return n.planInit(initArgs{wanted: w, virt: virt, gateway: ip})
	})
}

func edgeAdd(s *session, _ []string) error {
	return s.edgeBuild("add", (*network).planAdd)
}

// edgeBuild carries out what makes a road.
func (s *session) edgeBuild(verb string, plan func(*network, wanted) (plan, error)) error {
	settle, err := s.duration(settleFlag)
	if err != nil {
		return err
	}
	patient, err := s.duration(timeoutFlag)
	if err != nil {
		return err
	}
	w, err := s.wanted()
	if err != nil {
		return err
	}
	n, err := s.network()
	if err != nil {
		return err
	}
	if !n.has(topology.KindChassis, w.chassis) {
		if !s.set(forceFlag) {
			return unknownChassis(w.chassis)
		}
		w.force = true
	}
	p, err := plan(n, w)
	if err != nil {
		return err
	}
	if len(p.first)+len(p.then) == 0 {
		return s.say("the road over %s is complete, there is nothing to do", p.edge)
	}
	again := fmt.Sprintf(`; the same "tpctl edge %s" goes on from there, "tpctl edge remove --vip %s" takes away what is there`, verb, w.vip.Addr())
	if err := s.carryOut(p, again, func() error { return s.ready(w.chassis, patient, settle) }); err != nil {
		return err
	}
	if len(p.then) > 0 {
		// Nodes use the road once BFD has found that it leads somewhere. Whoever
		// removes another one right after this has to find traffic on this one.
		if err := s.wait(settle); err != nil {
			return fmt.Errorf("every step is done, but BFD may not have found the road over %s alive yet: %w", p.edge, err)
		}
	}
	return s.say("the road over %s is complete", p.edge)
}

// wanted returns what the flags say about the road to be built.
func (s *session) wanted() (wanted, error) {
	w := wanted{central: s.Flags[routerFlag.Name], bridge: s.Flags[bridgeFlag.Name], chassis: s.Flags[chassisFlag.Name]}
	var err error
	if w.vip, err = s.prefix(vipFlag, routerNetwork); err != nil {
		return w, err
	}
	for _, f := range []Flag{bridgeFlag, chassisFlag} {
		if _, err := reference(s.Flags[f.Name]); err != nil {
			return w, fmt.Errorf("--%s: %w", f.Name, err)
		}
	}
	if w.bridge != "" {
		if err := checkBridge(w.bridge); err != nil {
			return w, err
		}
	}
	if w.snat, err = s.externals(); err != nil {
		return w, err
	}
	if w.noSNAT = s.set(noSNATFlag); w.noSNAT && len(w.snat) > 0 {
		return w, fmt.Errorf("--%s and --%s contradict each other", snatFlag.Name, noSNATFlag.Name)
	}
	if w.chassis == "" {
		w.chassis, err = s.thisChassis(w.bridge)
	}
	return w, err
}

// externals returns the addresses that the edge is to hide the virtual network
// behind.
func (s *session) externals() ([]netip.Addr, error) {
	var list []netip.Addr
	for text := range strings.SplitSeq(s.Flags[snatFlag.Name], ",") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		ip, err := topology.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", snatFlag.Name, err)
		}
		if !slices.Contains(list, ip) {
			list = append(list, ip)
		}
	}
	return list, nil
}

func edgeRemove(s *session, _ []string) error {
	text, _, _ := strings.Cut(strings.TrimSpace(s.Flags[vipFlag.Name]), "/")
	vip, err := topology.ParseAddr(text)
	if err != nil {
		return fmt.Errorf("--%s: %w", vipFlag.Name, err)
	}
	drain, err := s.duration(drainFlag)
	if err != nil {
		return err
	}
	n, err := s.network()
	if err != nil {
		return err
	}
	p, err := n.planRemove(vip)
	if err != nil {
		return err
	}
	if err := s.carryOut(p, `; the same "tpctl edge remove" goes on from there`, func() error { return s.drain(drain) }); err != nil {
		return err
	}
	return s.say("the road to %s is removed", vip)
}

func (s *session) prefix(f Flag, parse func(string) (netip.Prefix, error)) (netip.Prefix, error) {
	p, err := parse(s.Flags[f.Name])
	if err != nil {
		return p, fmt.Errorf("--%s: %w", f.Name, err)
	}
	return p, nil
}

func (s *session) duration(f Flag) (time.Duration, error) {
	d, err := time.ParseDuration(s.Flags[f.Name])
	if err != nil || d < 0 {
		return 0, fmt.Errorf("invalid --%s %q, want a time such as %s", f.Name, s.Flags[f.Name], f.Default)
	}
	return d, nil
}

// thisChassis returns the system-id of this host. The bridge, if one is named,
// has to be here.
func (s *session) thisChassis(bridge string) (string, error) {
	id, err := s.vsctl("get", "Open_vSwitch", ".", "external_ids:system-id")
	if unquoted, bad := strconv.Unquote(id); bad == nil {
		id = unquoted
	}
	if err == nil && id == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", fmt.Errorf("reading the system-id of this host: %w; run this on the edge's host, or name that with --%s", err, chassisFlag.Name)
	}
	if bridge == "" || s.set(forceFlag) {
		return id, nil
	}
	var exit *exec.ExitError
	if _, err := s.vsctl("br-exists", bridge); errors.As(err, &exit) && exit.ExitCode() == 2 {
		return "", fmt.Errorf("bridge %s not found on this host: create it, with the NIC to the physical network in it, or use --%s", bridge, forceFlag.Name)
	} else if err != nil {
		return "", fmt.Errorf("looking for bridge %s on this host: %w", bridge, err)
	}
	return id, nil
}

// vsctl asks the Open vSwitch of this host, the one in OVS_RUNDIR if that is
// set.
func (s *session) vsctl(args ...string) (string, error) {
	out, err := exec.CommandContext(s.ctx, "ovs-vsctl", append([]string{"--timeout=5", "--no-wait"}, args...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// network reads the topology.
func (s *session) network() (*network, error) {
	var all []topology.Stored
	err := s.bounded(func(s *session) error {
		for _, kind := range []topology.Kind{topology.KindSwitch, topology.KindSwitchPort, topology.KindRouter,
			topology.KindRouterPort, topology.KindStaticRoute, topology.KindNAT, topology.KindChassis} {
			list, err := s.list(kind, "")
			if err != nil {
				return err
			}
			all = append(all, list...)
		}
		return nil
	})
	return newNetwork(all), err
}

// carryOut shows the plan, asks, and does it. again says what to do when that
// fails in the middle.
func (s *session) carryOut(p plan, again string, pause func() error) error {
	steps, commands := slices.Concat(p.first, p.then), s.Out
	if s.JSON {
		commands = s.Err
	}
	s.note(p.notes...)
	for _, st := range steps {
		fmt.Fprintln(commands, st)
	}
	if !s.set(yesFlag) {
		if err := confirm(s.In, s.Err, "these commands are carried out in this order"); err != nil {
			return err
		}
	}
	for i, st := range steps {
		var err error
		if i == len(p.first) {
			err = pause()
		}
		if err == nil {
			err = s.do(st)
		}
		if err != nil && s.ctx.Err() != nil {
			return fmt.Errorf("stopped after step %d of %d; run it again to go on", i, len(steps))
		}
		if err != nil {
			return fmt.Errorf("step %d of %d failed, those before it are done: %s: %w%s", i+1, len(steps), st, err, again)
		}
	}
	return nil
}

// do carries out a step as if it had been typed.
func (s *session) do(st step) error {
	env := s.Env
	env.Flags = map[string]string{}
	if st.flag != nil {
		env.Flags[st.flag.Name] = "true"
	}
	if st.flag == &recursiveFlag {
		env.Err = io.Discard // what is cut off goes in a later step
	}
	all := All()
	i := slices.IndexFunc(all, func(c Command) bool { return c.Object == st.object && c.Verb == st.verb })
	return (&session{Env: env, ctx: s.ctx, store: s.store, read: s.read}).bounded(func(s *session) error { return all[i].run(s, st.args) })
}

// ready waits until the chassis has a record, for at most patient, and then
// for settle, in which agents install what the road consists of.
func (s *session) ready(chassis string, patient, settle time.Duration) error {
	ctx, cancel := context.WithTimeout(s.ctx, patient)
	defer cancel()
	for {
		_, err := s.store.Get(ctx, topology.Key{Kind: topology.KindChassis, Name: chassis})
		if err == nil {
			return s.wait(settle)
		}
		if ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("chassis %s has no record after %s; start its agent", chassis, patient)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// drain waits for the traffic to leave and tells for how long yet.
func (s *session) drain(d time.Duration) error {
	if d == 0 {
		return nil
	}
	if !isTerminal(s.Err) {
		fmt.Fprintf(s.Err, "waiting %s for the traffic to leave\n", d)
		return s.wait(d)
	}
	defer fmt.Fprintln(s.Err)
	for ; d > 0; d -= time.Second {
		fmt.Fprintf(s.Err, "\rwaiting for the traffic to leave: %s \b", d)
		if err := s.wait(min(d, time.Second)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) wait(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}
