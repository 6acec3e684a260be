package ovs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Traffic is what has passed an interface since it was plugged in, as Open vSwitch
// counts it: received is what came from the workload, sent what went to it.
type Traffic struct {
	ReceivedPackets, ReceivedBytes, ReceivedDropped, ReceivedErrors uint64
	SentPackets, SentBytes, SentDropped, SentErrors                 uint64
}

// trafficAtOnce is how many interfaces one transaction asks for: one that is read
// fits into the buffer of a socket, as one that is written has to (see transact).
const trafficAtOnce = 500

// Traffic reads the counters of interfaces, by name. Open vSwitch writes them into
// its database every five seconds; an interface that is not there is left out. The
// columns are not monitored, as each writing would wake the driver.
func (d *Driver) Traffic(ctx context.Context, names []string) (map[string]Traffic, error) {
	s, err := d.currentSession()
	if err != nil {
		return nil, fmt.Errorf("read the counters of interfaces: %w", err)
	}
	all := make(map[string]Traffic, len(names))
	for some := range slices.Chunk(names, trafficAtOnce) {
		if err := s.readTraffic(ctx, some, all); err != nil {
			return nil, fmt.Errorf("read the counters of interfaces: %w", err)
		}
	}
	return all, nil
}

func (s *session) readTraffic(ctx context.Context, names []string, all map[string]Traffic) error {
	ops := make([]ovsdb.Operation, len(names))
	for i, name := range names {
		ops[i] = ovsdb.Operation{Op: ovsdb.OperationSelect, Table: tableInterface, Columns: []string{"name", "statistics"},
			Where: []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, name)}}
	}
	ctx, cancel := s.bound(ctx, transactTimeout)
	defer cancel()
	// Unlike transact it changes nothing, so that no answer is no reason to end
	// the session.
	results, err := s.client.Transact(ctx, ops...)
	if err == nil {
		err = checkResults(results, ops)
	} else {
		err = errors.Join(ErrNotConnected, err)
	}
	if err != nil {
		return err
	}
	for _, result := range results {
		for _, row := range result.Rows {
			name, _ := row["name"].(string)
			counters, ok := row["statistics"].(ovsdb.OvsMap)
			if !ok {
				continue
			}
			count := func(key string) uint64 {
				n, _ := counters.GoMap[key].(float64)
				return uint64(max(n, 0))
			}
			all[name] = Traffic{
				ReceivedPackets: count("rx_packets"), ReceivedBytes: count("rx_bytes"), ReceivedDropped: count("rx_dropped"), ReceivedErrors: count("rx_errors"),
				SentPackets: count("tx_packets"), SentBytes: count("tx_bytes"), SentDropped: count("tx_dropped"), SentErrors: count("tx_errors"),
			}
		}
	}
	return nil
}
