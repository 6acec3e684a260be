package ovs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"tuplenet/flows"
	"tuplenet/internal/ovs/openflow"
)

// Remains is what TupleNet has in an Open vSwitch.
type Remains struct {
	Chassis string          // the name of the host, its system-id; empty if it has none
	Bridge  string          // the integration bridge; empty if there is none
	Others  []string        // its ports that are not TupleNet's, by name, without the bridge's own
	Ports   []RemainingPort // TupleNet's, ordered by bridge and name
	Flows   int             // of the bridge, TupleNet's alone
	IPFIX   string          // what TupleNet has Open vSwitch tell of the bridge's packets, as IPFIX.String says it; empty: nothing
	Held    bool            // an ovs-vswitchd that starts would wait for flows, see Driver.HoldTraffic
}

// RemainingPort is a port that TupleNet has made. Owner is that of an Attachment.
type RemainingPort struct{ Name, Type, Bridge, Owner string }

// FindRemains looks for what TupleNet has in an Open vSwitch and changes
// nothing, unlike a Driver, which makes the bridge. It does not wait for an
// Open vSwitch that is away. With an error about the flows it returns the rest.
func FindRemains(ctx context.Context, cfg Config) (Remains, error) {
	c, err := newCleaner(ctx, cfg)
	if err != nil {
		return Remains{}, err
	}
	defer c.session.close()
	r, _ := c.find()
	r.Flows, err = c.flows(ctx, r.Bridge, false)
	return r, err
}

// RemoveRemains takes what FindRemains finds out of an Open vSwitch, and the
// bridge only if bridgeToo says so, with all that is in it. It returns what it
// has removed; a bridge that stays is named, as the flows were in it. No agent
// must be running.
//
// What is left in a bridge that stays has no effect without flows: meters, the
// mapping of the Geneve option, fail mode secure and OpenFlow 1.4.
func RemoveRemains(ctx context.Context, cfg Config, bridgeToo bool) (Remains, error) {
	c, err := newCleaner(ctx, cfg)
	if err != nil {
		return Remains{}, err
	}
	defer c.session.close()
	found, at := c.find()
	var flowErr error
	gone := found.Bridge
	if !bridgeToo {
		// Before the ports: a number of theirs may be given to others.
		found.Flows, flowErr = c.flows(ctx, found.Bridge, true)
		found.Others, gone = nil, ""
	}
	ops, err := c.removeOps(gone, at)
	if err == nil {
		err = c.session.transact(ctx, ops)
	}
	if err != nil {
		found.Ports, found.Others, found.IPFIX, found.Held = nil, nil, "", false
		if bridgeToo {
			found.Bridge = ""
		}
		return found, errors.Join(flowErr, fmt.Errorf("remove ports of Open vSwitch: %w", err))
	}
	return found, flowErr
}

// cleaner is a driver of which nothing runs: it has one session, and what it
// makes is nothing.
type cleaner struct {
	driver  Driver
	session *session
}

func newCleaner(ctx context.Context, cfg Config) (*cleaner, error) {
	cfg.setDefaults()
	s, err := newSession(ctx, cfg.Database, cfg.Log)
	if err != nil {
		return nil, away(err)
	}
	c := &cleaner{driver: Driver{cfg: cfg}, session: s}
	c.driver.patches.held = map[string]bool{}
	return c, nil
}

// find returns the bridge and the ports, and where these are.
func (c *cleaner) find() (r Remains, at []place) {
	name := c.driver.cfg.Bridge
	r.Chassis, _ = systemID(c.session)
	r.Held = isHeld(c.session.cache)
	places := readRows(c.session.cache).places()
	for _, patch := range c.driver.unwantedPatches(places, nil) {
		at = append(at, c.driver.ownEnds(places, patch)...)
	}
	for _, p := range places {
		if p.bridge.Name == name && (isTunnelName(p.iface.Name) || isHostStack(p.iface) || p.iface.ExternalIDs[ownerID] != "") {
			at = append(at, p)
		}
	}
	slices.SortFunc(at, func(a, b place) int {
		return strings.Compare(a.bridge.Name+"/"+a.iface.Name, b.bridge.Name+"/"+b.iface.Name)
	})
	own := map[string]bool{name: true}
	for _, p := range at {
		own[p.iface.Name] = true
		r.Ports = append(r.Ports, RemainingPort{p.iface.Name, p.iface.Type, p.bridge.Name, p.iface.ExternalIDs[ownerID]})
	}
	if findBridge(c.session.cache, name) == nil {
		return r, at
	}
	r.Bridge = name
	r.IPFIX = c.ownIPFIX().String()
	for _, p := range places {
		if p.bridge.Name == name && !own[p.iface.Name] {
			r.Others = append(r.Others, p.iface.Name)
		}
	}
	slices.Sort(r.Others)
	return r, at
}

// ownIPFIX returns the bridge's row of IPFIX if an agent has made it, or nil.
func (c *cleaner) ownIPFIX() *ipfix {
	row, _ := findIPFIX(c.session.cache, findBridge(c.session.cache, c.driver.cfg.Bridge))
	if !row.isOurs() {
		return nil
	}
	return row
}

// removeOps returns the operations that remove the ports, the bridge if one is
// named, its row of IPFIX, and what holds traffic.
func (c *cleaner) removeOps(bridgeName string, ports []place) (ops []ovsdb.Operation, err error) {
	add := func(op []ovsdb.Operation, opErr error) {
		ops, err = append(ops, op...), errors.Join(err, opErr)
	}
	add(c.session.releaseOps())
	if c.ownIPFIX() != nil {
		add(c.session.clearIPFIXOps(findBridge(c.session.cache, c.driver.cfg.Bridge)))
	}
	for _, p := range ports {
		if p.bridge.Name != bridgeName {
			add(c.session.deletePortOps(p.bridge, p.port.UUID))
		}
	}
	if bridgeName != "" {
		root := findRoot(c.session.cache)
		add(c.session.client.Where(root).Mutate(root, model.Mutation{Field: &root.Bridges,
			Mutator: ovsdb.MutateOperationDelete, Value: []string{findBridge(c.session.cache, bridgeName).UUID}}))
	}
	return ops, err
}

// flows counts TupleNet's flows in a bridge, none if it has no name, and
// removes them if that is wanted.
func (c *cleaner) flows(ctx context.Context, bridgeName string, remove bool) (n int, err error) {
	if bridgeName == "" {
		return 0, nil
	}
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := openflow.Dial(dialCtx, filepath.Join(c.driver.cfg.RunDir, bridgeName+".mgmt"))
	if err != nil {
		return 0, fmt.Errorf("flows of bridge %s: %w (is ovs-vswitchd running?)", bridgeName, err)
	}
	defer conn.Close()
	cookies := map[uint64]struct{}{}
	for f, err := range conn.Dump(ctx, flows.CookieTag, flows.CookieMask) {
		if err != nil {
			return 0, err
		}
		cookies[f.Cookie] = struct{}{}
		n++
	}
	if !remove {
		return n, nil
	}
	b := bundler{ctx: ctx, conn: conn}
	for cookie := range cookies {
		b.delete(cookie)
	}
	b.flush()
	if b.err != nil {
		return 0, fmt.Errorf("remove the flows of bridge %s: %w", bridgeName, b.err)
	}
	return n, nil
}
