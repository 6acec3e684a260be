package ovs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// zonesPerCommand bounds how long a command keeps ovs-vswitchd from its other
// work: 10 ms.
const zonesPerCommand = 1000

// ConnectionUse says how full a conntrack zone is.
type ConnectionUse struct {
	Count uint32 // connections that count against the limit
	Limit uint32 // 0 if the zone has none
}

// connectionLimits are the conntrack zones that the driver has limited.
type connectionLimits struct {
	busy  sync.Mutex // held while limits are changed; guards zones
	zones map[uint16]struct{}
}

// LimitConnections makes Open vSwitch refuse new connections in a conntrack
// zone that has as many as the limit says. Zones that an earlier call limited
// and this one does not are no longer limited; nor is one with a limit of 0.
// Zones that others have limited stay as they are.
//
// Limits live in the datapath: those of the userspace datapath end with
// ovs-vswitchd, so the caller sets them again when NeedsSync says that the
// connection was lost. The userspace datapath counts only the connections that
// were made since the zone has had a limit.
func (d *Driver) LimitConnections(ctx context.Context, limits map[uint16]uint32) error {
	d.limits.busy.Lock()
	defer d.limits.busy.Unlock()
	if err := d.limitConnections(ctx, limits); err != nil {
		return fmt.Errorf("limit connections of bridge %s: %w", d.cfg.Bridge, err)
	}
	return nil
}

func (d *Driver) limitConnections(ctx context.Context, limits map[uint16]uint32) error {
	datapath, err := d.datapath()
	if err != nil {
		return err
	}
	var set, unset []uint16
	for zone, limit := range limits {
		if limit > 0 {
			set = append(set, zone)
		}
	}
	for zone := range d.limits.zones {
		if limits[zone] == 0 {
			unset = append(unset, zone)
		}
	}
	slices.Sort(set)
	for zones := range slices.Chunk(set, zonesPerCommand) {
		args := []string{datapath}
		for _, zone := range zones {
			args = append(args, fmt.Sprintf("zone=%d,limit=%d", zone, limits[zone]))
			d.limits.zones[zone] = struct{}{}
		}
		if _, err := d.appctl(ctx, "dpctl/ct-set-limits", args...); err != nil {
			return err
		}
	}
	for zones := range slices.Chunk(unset, zonesPerCommand) {
		if _, err := d.appctl(ctx, "dpctl/ct-del-limits", datapath, zoneList(zones)); err != nil {
			return err
		}
		for _, zone := range zones {
			delete(d.limits.zones, zone)
		}
	}
	return nil
}

// ConnectionUse returns how full the conntrack zones are. What the userspace
// datapath does not limit it does not count.
func (d *Driver) ConnectionUse(ctx context.Context, zones []uint16) (map[uint16]ConnectionUse, error) {
	use := map[uint16]ConnectionUse{}
	for zones := range slices.Chunk(zones, zonesPerCommand) {
		if err := d.readConnectionUse(ctx, zones, use); err != nil {
			return nil, fmt.Errorf("count connections of bridge %s: %w", d.cfg.Bridge, err)
		}
	}
	return use, nil
}

func (d *Driver) readConnectionUse(ctx context.Context, zones []uint16, use map[uint16]ConnectionUse) error {
	datapath, err := d.datapath()
	if err != nil {
		return err
	}
	text, err := d.appctl(ctx, "dpctl/ct-get-limits", datapath, zoneList(zones))
	if err != nil {
		return err
	}
	read, err := parseLimits(text)
	maps.Copy(use, read)
	return err
}

// zoneList returns zones as dpctl commands take them: zone=1,2,3.
func zoneList(zones []uint16) string {
	list := make([]string, len(zones))
	for i, zone := range zones {
		list[i] = strconv.Itoa(int(zone))
	}
	return "zone=" + strings.Join(list, ",")
}

// parseLimits reads what dpctl/ct-get-limits prints: a line with the default,
// which is not ours to know, and one for each zone: zone=5,limit=100,count=7.
func parseLimits(text string) (map[uint16]ConnectionUse, error) {
	use := map[uint16]ConnectionUse{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "default ") {
			continue
		}
		var zone uint16
		var u ConnectionUse
		if _, err := fmt.Sscanf(line, "zone=%d,limit=%d,count=%d", &zone, &u.Limit, &u.Count); err != nil {
			return nil, fmt.Errorf("dpctl/ct-get-limits printed %q: %w", line, err)
		}
		use[zone] = u
	}
	return use, nil
}
