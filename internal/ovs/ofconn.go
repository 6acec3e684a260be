package ovs

import (
	"context"
	"path/filepath"
	"time"

	"tuplenet/internal/ovs/openflow"
)

const (
	dialTimeout = 20 * time.Second
	// mentionAfter is how long a bridge that was just made may take to have
	// its socket.
	mentionAfter = time.Second
)

// keepConn holds an OpenFlow connection until ctx ends; use says for logs what
// it carries, and l is told whether it is there. dial makes it, under a deadline. set hands it over to who works
// with it, takes it back with nil, and returns whether it had been of use up to
// then.
//
// It asks no echoes of an idle connection: the socket is one of this host, whose
// end is seen at once, and an ovs-vswitchd that hangs can do no better with
// another connection. What is asked of it has deadlines.
func (d *Driver) keepConn(ctx context.Context, use string, l *link,
	dial func(ctx context.Context, socket string) (*openflow.Conn, error), set func(*openflow.Conn) bool,
) {
	socket := filepath.Join(d.cfg.RunDir, d.cfg.Bridge+".mgmt")
	log := d.log.With("for", use, "socket", socket)
	told, since := false, time.Now()
	retry := backoff(0)
	for ctx.Err() == nil {
		dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
		conn, err := dial(dialCtx, socket)
		cancel()
		if err != nil {
			// A bridge that was just made takes a moment to have its socket.
			if !told && time.Since(since) > mentionAfter {
				log.Warn("waiting for the bridge; is ovs-vswitchd running?", "error", err)
				told = true
			}
			pause(ctx, redialPause)
			continue
		}
		if told {
			log.Info("connected to the bridge")
			told = false
		}
		set(conn)
		l.set(true)
		signal(d.events)
		select {
		case <-conn.Done():
			// One that never was of use failed in the hands of somebody who
			// knows; then it may fail again, and the next try waits longer.
			if set(nil) {
				log.Warn("connection to the bridge lost", "error", conn.Err())
				retry, told = 0, true
			}
			since = time.Now()
		case <-ctx.Done():
			set(nil)
			conn.Close()
		}
		l.set(false)
		signal(d.events)
		retry.wait(ctx)
	}
}
