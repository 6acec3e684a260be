package ovs

import (
	"context"
	"path/filepath"
	"time"

	"tuplenet/internal/ovs/openflow"
)

const dialTimeout = 20 * time.Second

// keepConn holds an OpenFlow connection until ctx ends; use says for logs what
// it carries. dial makes it, under a deadline. set hands it over to who works
// with it, takes it back with nil, and returns whether it had been of use up to
// then.
func (d *Driver) keepConn(ctx context.Context, use string,
	dial func(ctx context.Context, socket string) (*openflow.Conn, error), set func(*openflow.Conn) bool,
) {
	socket := filepath.Join(d.cfg.RunDir, d.cfg.Bridge+".mgmt")
	log := d.log.With("for", use, "socket", socket)
	told := false
	for retry := backoff(0); ctx.Err() == nil; retry.wait(ctx) {
		dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
		conn, err := dial(dialCtx, socket)
		cancel()
		if err != nil {
			// A bridge that was just made takes a moment to have its socket.
			if !told && retry == backoff(maxBackoff) {
				log.Warn("waiting for the bridge; is ovs-vswitchd running?", "error", err)
				told = true
			}
			continue
		}
		if told {
			log.Info("connected to the bridge")
			told = false
		}
		set(conn)
		signal(d.events)
		select {
		case <-conn.Done():
			// One that never was of use failed in the hands of somebody who
			// knows; then it may fail again, and the next try waits longer.
			if set(nil) {
				log.Warn("connection to the bridge lost", "error", conn.Err())
				retry, told = 0, true
			}
		case <-ctx.Done():
			set(nil)
			conn.Close()
		}
		signal(d.events)
	}
}
