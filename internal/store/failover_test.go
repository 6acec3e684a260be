package store

import (
	"net"
	"strings"
	"testing"
	"time"

	"tuplenet/embedded"
)

// frozen is a way to an etcd that lets nothing through any more once it is
// frozen, as a member that hangs.
type frozen struct {
	net.Listener
	freeze chan struct{}
}

func newFrozen(t *testing.T, to string) *frozen {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := &frozen{l, make(chan struct{})}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { client.Close() })
			select {
			case <-f.freeze:
				continue // taken, and never answered
			default:
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			t.Cleanup(func() { server.Close() })
			go f.copy(server, client)
			go f.copy(client, server)
		}
	}()
	return f
}

func (f *frozen) copy(to, from net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		select {
		case <-f.freeze:
			return
		default:
		}
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A member hangs to which a connection is open. Who only reads is served by
// another one soon all the same.
func TestReadFromHungMember(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	s := open(t, server)
	real := server.Endpoints()[0]
	hung := newFrozen(t, strings.TrimPrefix(real, "http://"))
	s.client.SetEndpoints("http://"+hung.Addr().String(), real)
	s.Reconnect()
	if _, err := s.client.Get(t.Context(), s.layout.version()); err != nil {
		t.Fatal(err)
	}
	close(hung.freeze)
	begin := time.Now()
	select {
	case u := <-s.Watch(t.Context()):
		if !u.Snapshot {
			t.Errorf("the first update is %v", u)
		}
	case <-time.After(8 * time.Second): // gRPC itself finds out after 15 s
		t.Fatal("nothing is read while a member hangs")
	}
	t.Log("read after", time.Since(begin))
}
