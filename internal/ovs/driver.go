package ovs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"tuplenet/internal/ovs/openflow"
)

// ErrNotConnected is returned by what needs a connection that is away. It
// comes back by itself, and Events says so; the caller then tries again.
var ErrNotConnected = errors.New("not connected to Open vSwitch")

// Config says which Open vSwitch a Driver works with. Empty fields mean the
// defaults.
type Config struct {
	RunDir       string // OVS_RUNDIR, the directory of OVS's sockets; default /var/run/openvswitch
	Database     string // OVSDB endpoint as in ovsdb(7); default unix:<RunDir>/db.sock
	Bridge       string // integration bridge; default br-int
	DatapathType string // of the bridge when it has to be made: system (default) or netdev
	Log          *slog.Logger
}

func (c *Config) setDefaults() {
	c.RunDir = cmp.Or(c.RunDir, "/var/run/openvswitch")
	c.Database = cmp.Or(c.Database, "unix:"+filepath.Join(c.RunDir, "db.sock"))
	c.Bridge = cmp.Or(c.Bridge, "br-int")
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Driver is the connection to the node's Open vSwitch. Its methods may be
// called by several goroutines.
type Driver struct {
	cfg      Config
	log      *slog.Logger
	systemID string
	events   chan struct{}
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	session *session   // nil while OVSDB is away
	view    view       // what was last seen of the bridge; kept while OVSDB is away

	// Used by the goroutine of watch alone.
	adjusted  int               // next_cfg of a change to the bridge that ovs-vswitchd has not made yet; 0: there is none
	faults    map[string]string // that were told
	bridgeErr string            // that was told

	tunnels tunnelWishes
	patches patchPairs
	limits  connectionLimits
	flow    flowConn
	packet  packetConn
	links   struct{ ovsdb, flows, packets link }
}

// Open connects to OVSDB, makes the integration bridge when it is missing, and
// returns when the interfaces have been read. While OVSDB is away it waits, as
// long as ctx lasts. Flows need Sync, once NeedsSync says so.
func Open(ctx context.Context, cfg Config) (*Driver, error) {
	cfg.setDefaults()
	d := &Driver{cfg: cfg, log: cfg.Log, events: make(chan struct{}, 1)}
	d.packet.packets = make(chan Packet, packetBacklog)
	d.patches.held = map[string]bool{}
	d.limits.zones = map[uint16]struct{}{}
	s, err := d.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	d.setSession(s)
	if d.systemID, err = systemID(s); err == nil {
		err = d.refresh(ctx, s)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	ctx, d.stop = context.WithCancel(context.Background())
	d.running.Go(func() { d.watch(ctx, s) })
	d.running.Go(func() { d.keepConn(ctx, "flows", &d.links.flows, openflow.Dial, d.flow.set) })
	d.running.Go(func() { d.keepConn(ctx, "packets", &d.links.packets, d.dialPackets, d.packet.set) })
	return d, nil
}

func systemID(s *session) (string, error) {
	root := findRoot(s.cache)
	if root == nil {
		return "", errEmptyDatabase
	}
	if id := root.ExternalIDs["system-id"]; id != "" {
		return id, nil
	}
	return "", errors.New("the OVS database has no system-id, which names this chassis; " +
		"set one with: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME")
}

// Close ends the connections and leaves the bridge, its ports and its flows
// as they are.
func (d *Driver) Close() {
	d.stop()
	d.running.Wait()
}

// SystemID returns the name of this chassis, external_ids:system-id of the
// Open_vSwitch row, as it was when the driver was opened.
func (d *Driver) SystemID() string { return d.systemID }

// Bridge returns the name of the integration bridge.
func (d *Driver) Bridge() string { return d.cfg.Bridge }

// Events returns a channel that becomes readable when the bridge, an interface
// or a tunnel of it, a connection, a bridge or patch port of this Open vSwitch,
// or whether its traffic is held has changed. Changes that come together make
// one event.
func (d *Driver) Events() <-chan struct{} { return d.events }

// Interfaces returns the interfaces of the bridge that have an iface-id and an
// OpenFlow port, ordered by iface-id and OpenFlow port. The caller must not
// change the slice. While OVSDB is away the last known ones are returned.
func (d *Driver) Interfaces() []Interface {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view.interfaces
}

// Tunnels returns the tunnel ports of the bridge that have an OpenFlow port,
// ordered by chassis and name. The caller must not change the slice. While
// OVSDB is away the last known ones are returned.
func (d *Driver) Tunnels() []Tunnel {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view.tunnels
}

// connect tries until there is a session or ctx ends. An outage is logged when
// it begins, which told says has been done, and when it ends.
func (d *Driver) connect(ctx context.Context, told bool) (*session, error) {
	for {
		s, err := newSession(ctx, d.cfg.Database, d.log)
		switch {
		case err == nil && told:
			d.log.Info("connected to OVSDB", "endpoint", d.cfg.Database)
			return s, nil
		case err == nil:
			return s, nil
		case !told:
			d.log.Warn("waiting for OVSDB; is Open vSwitch running?", "endpoint", d.cfg.Database, "error", err)
			told = true
		default:
			d.log.Debug("OVSDB is still away", "error", err)
		}
		if !pause(ctx, redialPause) {
			return nil, err
		}
	}
}

// watch follows the sessions until ctx ends.
func (d *Driver) watch(ctx context.Context, s *session) {
	for {
		signal(d.events)
		d.follow(ctx, s)
		d.setSession(nil)
		s.close()
		if ctx.Err() != nil {
			return
		}
		d.log.Warn("OVSDB connection lost; flows and tunnels stay as they are", "endpoint", d.cfg.Database)
		signal(d.events)
		var err error
		if s, err = d.connect(ctx, true); err != nil {
			return
		}
		d.setSession(s)
	}
}

// follow keeps view up to date until the session is lost or ctx ends.
func (d *Driver) follow(ctx context.Context, s *session) {
	probe := time.NewTicker(probeInterval)
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.lost.Done():
			return
		case <-probe.C:
			s.probe(ctx)
		case <-s.dirty:
			err := d.refresh(ctx, s)
			if err == nil {
				d.bridgeErr = ""
				continue
			}
			if err.Error() != d.bridgeErr && ctx.Err() == nil {
				d.bridgeErr = err.Error()
				d.log.Error("cannot set up the integration bridge, will try again", "error", err)
			}
			time.AfterFunc(maxBackoff, func() { signal(s.dirty) })
		}
	}
}

// refresh brings the bridge into the state it has to have and reads what is
// in it.
func (d *Driver) refresh(ctx context.Context, s *session) error {
	if err := d.ensureBridge(ctx, s); err != nil {
		return err
	}
	if d.settled(s) {
		// With another fail mode ovs-vswitchd throws all flows away.
		d.flow.renew()
	}
	v, whole := d.look(s)
	if !whole {
		return nil // the rest of the update follows, and an event with it
	}
	for name, fault := range v.faults {
		if d.faults[name] != fault {
			d.log.Warn("Open vSwitch cannot use an interface", "interface", name, "error", fault)
		}
	}
	d.faults = v.faults
	return nil
}

// look hands out what the replica shows now, and returns it, if no update is
// under way in it.
func (d *Driver) look(s *session) (v view, whole bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, whole = readView(s.cache, d.cfg.Bridge); !whole || d.session != s {
		return v, whole
	}
	if !v.equal(&d.view) {
		signal(d.events)
	}
	d.view = v
	return v, whole
}

func (d *Driver) setSession(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = s
	d.links.ovsdb.set(s != nil)
}

func (d *Driver) currentSession() (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == nil {
		return nil, fmt.Errorf("OVSDB at %s: %w", d.cfg.Database, ErrNotConnected)
	}
	return d.session, nil
}

const (
	// redialPause lies between two tries to reach a daemon that is away. A try
	// costs next to nothing, and until it succeeds packets may be lost.
	redialPause = 50 * time.Millisecond
	// What fails though the daemon can be reached is tried again after longer
	// and longer times.
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// backoff is the time waited last; zero before the first wait.
type backoff time.Duration

// wait waits twice as long as the last time, within the bounds, or until ctx
// ends.
func (b *backoff) wait(ctx context.Context) {
	*b = min(max(2**b, backoff(minBackoff)), backoff(maxBackoff))
	pause(ctx, time.Duration(*b))
}

// pause waits. It reports false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
