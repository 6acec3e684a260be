package store

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// connections are the open ones to etcd. They are kept as they are, and not
// wrapped, as gRPC would not give a wrapped one the timeout of its kernel.
type connections struct {
	mu   sync.Mutex // guards open
	open []net.Conn // and some that have been closed since
}

// dial connects to an address as gRPC names it: HOST:PORT, or a socket's path
// after "unix:" and perhaps two slashes.
func (c *connections) dial(ctx context.Context, address string) (net.Conn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", strings.TrimPrefix(path, "//")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(slices.DeleteFunc(c.open, isClosed), conn)
	return conn, nil
}

func isClosed(conn net.Conn) bool {
	raw, err := conn.(syscall.Conn).SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}

// Reconnect closes the connections to etcd, which are made anew when they are
// needed. Those from an address that this host no longer has would otherwise
// be waited for until it is certain that nothing comes back any more.
func (s *Store) Reconnect() {
	s.connections.mu.Lock()
	defer s.connections.mu.Unlock()
	for _, conn := range s.connections.open {
		conn.Close()
	}
	s.connections.open = nil
}
