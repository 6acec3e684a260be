package ovs

import (
	"errors"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// The rows that the driver works with, as ovs-vswitchd.conf.db(5) describes
// them, and of them the columns that it needs. What ovs-vswitchd rewrites all
// the time, such as statistics, is not among them: each write would wake us.
type (
	openVSwitch struct {
		UUID        string            `ovsdb:"_uuid"`
		Bridges     []string          `ovsdb:"bridges"`
		OtherConfig map[string]string `ovsdb:"other_config"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
		NextCfg     int               `ovsdb:"next_cfg"`
		CurCfg      int               `ovsdb:"cur_cfg"`
	}
	bridge struct {
		UUID         string   `ovsdb:"_uuid"`
		Name         string   `ovsdb:"name"`
		DatapathType string   `ovsdb:"datapath_type"`
		FailMode     *string  `ovsdb:"fail_mode"`
		Protocols    []string `ovsdb:"protocols"`
		Ports        []string `ovsdb:"ports"`
		IPFIX        *string  `ovsdb:"ipfix"`
	}
	port struct {
		UUID       string   `ovsdb:"_uuid"`
		Name       string   `ovsdb:"name"`
		Interfaces []string `ovsdb:"interfaces"`
	}
	iface struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Type        string            `ovsdb:"type"`
		Options     map[string]string `ovsdb:"options"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
		OFPort      *int              `ovsdb:"ofport"`
		Error       *string           `ovsdb:"error"`
		LinkState   *string           `ovsdb:"link_state"`
		MACInUse    *string           `ovsdb:"mac_in_use"`
		BFD         map[string]string `ovsdb:"bfd"`
		BFDStatus   map[string]string `ovsdb:"bfd_status"`
	}
	ipfix struct {
		UUID        string            `ovsdb:"_uuid"`
		Targets     []string          `ovsdb:"targets"`
		Sampling    *int              `ovsdb:"sampling"`
		Domain      *int              `ovsdb:"obs_domain_id"`
		Point       *int              `ovsdb:"obs_point_id"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
)

// The names of their tables.
const (
	tableOpenVSwitch = "Open_vSwitch"
	tableBridge      = "Bridge"
	tablePort        = "Port"
	tableInterface   = "Interface"
	tableIPFIX       = "IPFIX"
)

func databaseModel() (model.ClientDBModel, error) {
	return model.NewClientDBModel("Open_vSwitch", map[string]model.Model{
		tableOpenVSwitch: &openVSwitch{},
		tableBridge:      &bridge{},
		tablePort:        &port{},
		tableInterface:   &iface{},
		tableIPFIX:       &ipfix{},
	})
}

// monitorOptions names every column: without, libovsdb asks for all that the
// schema has, and an update of one that a model lacks loses the whole update.
func monitorOptions() []client.MonitorOption {
	o, b, p, i, x := &openVSwitch{}, &bridge{}, &port{}, &iface{}, &ipfix{}
	return []client.MonitorOption{
		client.WithTable(o, &o.Bridges, &o.OtherConfig, &o.ExternalIDs, &o.NextCfg, &o.CurCfg),
		client.WithTable(b, &b.Name, &b.DatapathType, &b.FailMode, &b.Protocols, &b.Ports, &b.IPFIX),
		client.WithTable(p, &p.Name, &p.Interfaces),
		client.WithTable(i, &i.Name, &i.Type, &i.Options, &i.ExternalIDs, &i.OFPort, &i.Error,
			&i.LinkState, &i.MACInUse, &i.BFD, &i.BFDStatus),
		client.WithTable(x, &x.Targets, &x.Sampling, &x.Domain, &x.Point, &x.ExternalIDs),
	}
}

// findRow returns a row of the replica that passes the test, or nil. The row is
// shared: it must not be changed.
func findRow[T any](c *cache.TableCache, table string, test func(*T) bool) *T {
	for _, row := range c.Table(table).RowsShallow() {
		if row := row.(*T); test(row) {
			return row
		}
	}
	return nil
}

var errEmptyDatabase = errors.New("the OVS database is empty; start Open vSwitch with ovs-ctl, or run: ovs-vsctl --no-wait init")

// findRoot returns the one row of Open_vSwitch, or nil.
func findRoot(c *cache.TableCache) *openVSwitch {
	return findRow(c, tableOpenVSwitch, func(*openVSwitch) bool { return true })
}

// rows are the bridges of the replica and what is in them, at one moment. They
// are shared: they must not be changed.
type rows struct{ bridges, ports, ifaces map[string]model.Model }

func readRows(c *cache.TableCache) rows {
	return rows{c.Table(tableBridge).RowsShallow(), c.Table(tablePort).RowsShallow(), c.Table(tableInterface).RowsShallow()}
}

// each calls f for every interface of a bridge, of which there may be none. It
// reports whether all that the bridge refers to was there: libovsdb applies an
// update row by row, so a reference to nothing shows that one is under way.
func (r rows) each(b *bridge, f func(*port, *iface)) (whole bool) {
	if b == nil {
		return true
	}
	whole = true
	for _, uuid := range b.Ports {
		p, ok := r.ports[uuid].(*port)
		if !ok {
			whole = false
			continue
		}
		for _, uuid := range p.Interfaces {
			if i, ok := r.ifaces[uuid].(*iface); ok {
				f(p, i)
			} else {
				whole = false
			}
		}
	}
	return whole
}

// place is where an interface is.
type place struct {
	bridge *bridge
	port   *port
	iface  *iface
}

// places returns the interfaces of all bridges by name, which is unique.
func (r rows) places() map[string]place {
	at := map[string]place{}
	for _, row := range r.bridges {
		b := row.(*bridge)
		r.each(b, func(p *port, i *iface) { at[i.Name] = place{b, p, i} })
	}
	return at
}

// taken returns the error that the interface has a name that is needed.
func (at place) taken() error {
	return fmt.Errorf("interface %s of bridge %s, of type %q, has that name; remove it with: ovs-vsctl del-port %s",
		at.iface.Name, at.bridge.Name, at.iface.Type, at.port.Name)
}

// checkResults returns the errors of a transaction, with the server's words.
func checkResults(results []ovsdb.OperationResult, ops []ovsdb.Operation) error {
	failed, err := ovsdb.CheckOperationResults(results, ops)
	if len(failed) > 0 {
		return fmt.Errorf("%w, the first with: %w", err, failed[0])
	}
	return err
}
