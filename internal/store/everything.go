package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// Role is what a key of the store is for.
type Role uint8

// The roles that the layout knows.
const (
	Strange   Role = iota // it has no place in the layout
	Object                // an entity
	DeviceIDs             // the book of the ids of switches and routers
	Book                  // the book of the port ids of a switch or router
	Version               // the layout's number
	Talk                  // what a tool has asked agents, or they have answered
	Docker                // what the plugin for Docker keeps: a Network or a Reservation
)

// Item is one key as it stands in the store.
type Item struct {
	Path     string // etcd's key
	Value    string
	Created  int64 // revision that made the key
	Modified int64 // revision that wrote the value
	Leased   bool  // the key goes by itself

	Role   Role
	Key    topology.Key    // of the entity, or of the switch or router whose book it is
	Entity topology.Stored // of an Object; nil if the value cannot be used
	Used   []uint32        // ids in a book, ascending

	Network     *Network     // of Docker; nil: it is another key, or the value cannot be used
	Reservation *Reservation // likewise

	Err error // why the value cannot be used
}

// Everything returns all keys under the prefix at one revision, in the order of
// their paths.
func (s *Store) Everything(ctx context.Context) ([]Item, error) {
	var items []Item
	prefix := string(s.layout)
	_, err := s.scan(ctx, prefix, clientv3.GetPrefixRangeEnd(prefix), func(kv *mvccpb.KeyValue) {
		item := s.layout.interpret(string(kv.Key), string(kv.Value))
		item.Created, item.Modified, item.Leased = kv.CreateRevision, kv.ModRevision, kv.Lease != 0
		items = append(items, item)
	})
	if err != nil {
		return nil, s.failed("reading the whole store", err)
	}
	return items, nil
}

// Interpret returns the item that a key of a store with the prefix is, without
// what only etcd knows of it.
func Interpret(prefix, path, value string) Item { return newLayout(prefix).interpret(path, value) }

func (l layout) interpret(path, value string) Item {
	item := Item{Path: path, Value: value}
	if key, ok := l.key(path); ok {
		item.Role, item.Key = Object, key
		item.Entity, item.Err = topology.Parse(key, value)
		return item
	}
	switch rest := strings.TrimPrefix(path, string(l)); {
	case path == l.version():
		item.Role = Version
	case path == l.deviceIDs():
		item.Role = DeviceIDs
		item.Used, item.Err = DecodeIDs(value)
	case strings.HasPrefix(rest, "communicate/"):
		item.Role = Talk
	case strings.HasPrefix(path, l.networks()):
		item.Role = Docker
		n, err := l.parseNetwork(path, value)
		if item.Err = err; err == nil {
			item.Network = &n
		}
	case strings.HasPrefix(path, l.reservations()):
		item.Role = Docker
		r, err := l.parseReservation(path, value)
		if item.Err = err; err == nil {
			item.Reservation = &r
		}
	default:
		for _, kind := range []topology.Kind{topology.KindSwitch, topology.KindRouter} {
			name, ok := strings.CutPrefix(path, l.book(topology.Key{Kind: kind}))
			if ok && topology.CheckName(name) == nil {
				item.Role, item.Key = Book, topology.Key{Kind: kind, Name: name}
				item.Used, item.Err = DecodeIDs(value)
			}
		}
	}
	return item
}

// DecodeIDs returns the ids, ascending, that a text of device_ids or of an
// ip_book stands for: base64 of Roaring's portable format.
func DecodeIDs(text string) ([]uint32, error) {
	bits, err := decodeBitmap(text)
	if err != nil {
		return nil, err
	}
	return bits.ToArray(), nil
}

// Remove deletes a key if it still is as it was read, and so is another key,
// while, unless that is nil. It reports whether it did.
func (s *Store) Remove(ctx context.Context, item Item, while *Item) (bool, error) {
	guards := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(item.Path), "=", item.Modified)}
	if while != nil {
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(while.Path), "=", while.Modified))
	}
	resp, err := s.client.Txn(ctx).If(guards...).Then(clientv3.OpDelete(item.Path)).Commit()
	if err != nil {
		return false, s.failed("deleting "+item.Path, err)
	}
	return resp.Succeeded, nil
}

// Renumber gives a switch or router the lowest free id if another one has its
// id, too, and returns the id that it has then. ErrNotFound: it is gone.
func (s *Store) Renumber(ctx context.Context, device topology.Key) (uint32, error) {
	path := s.layout.path(device)
	var id uint32
	err := s.change(ctx, "giving "+describe(device)+" another id", []string{path, s.layout.deviceIDs()}, func(t *txn) error {
		value, ok := t.get(path)
		if !ok {
			return fmt.Errorf("%s %w", describe(device), ErrNotFound)
		}
		e, err := topology.Parse(device, value)
		if err != nil {
			return fmt.Errorf("%s: %w", describe(device), err)
		}
		id = idOf(e)
		others, err := s.usedIDs(ctx, device)
		if err != nil || !others.Contains(id) {
			return err
		}
		// The book may lack what others wrote.
		book, err := s.deviceIDs(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", describe(device), err)
		}
		book.Or(others)
		if id, err = s.takeDeviceID(ctx, t, device, 0); err != nil {
			return err
		}
		switch e := e.(type) {
		case topology.Switch:
			e.ID = id
			t.put(path, e.Value())
		case topology.Router:
			e.ID = id
			t.put(path, e.Value())
		}
		return nil
	})
	return id, err
}

// ReleasePorts ends the binding of the ports that agents have bound to a
// chassis, if the chassis has neither a record nor an agent that runs. It
// returns the ports, sorted.
func (s *Store) ReleasePorts(ctx context.Context, chassis string) ([]topology.Key, error) {
	bound, err := s.boundTo(ctx, chassis)
	if err != nil {
		return nil, err
	}
	record := s.layout.path(topology.Chassis{Name: chassis}.Key())
	presence := s.layout.path(topology.Presence{Chassis: chassis}.Key())
	var released []topology.Key
	for part := range slices.Chunk(bound, portsPerRemoval) {
		paths := []string{record, presence}
		for _, port := range part {
			paths = append(paths, s.layout.path(port))
		}
		var freed []topology.Key
		err := s.change(ctx, "releasing ports from chassis "+chassis, paths, func(t *txn) error {
			freed = nil
			if runs, _ := s.presence(t, chassis); runs || t.read[record] != nil {
				return nil // it has come back
			}
			for _, port := range part {
				if s.release(t, port, chassis) {
					freed = append(freed, port)
				}
			}
			t.delete(s.layout.bindings(chassis), clientv3.WithPrefix())
			return nil
		})
		if err != nil {
			return released, err
		}
		released = append(released, freed...)
	}
	return released, nil
}
