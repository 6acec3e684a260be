package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// maxOps is how many comparisons, or how many operations, etcd takes in one
// transaction.
const maxOps = 128

// txn is one attempt of a change: some keys, all read at one revision, and
// what shall be written if they still are as they were read.
type txn struct {
	read     map[string]*mvccpb.KeyValue // nil: no such key
	revision int64                       // that they were read at
	guards   []clientv3.Cmp
	ops      []clientv3.Op
	books    map[string]*roaring.Bitmap // what takeID and freeID changed
}

// change reads the keys at paths, lets plan decide what to write, and writes
// it in one transaction. If anything that was read has changed meanwhile it
// starts again, until ctx ends. plan's errors are returned as they are.
func (s *Store) change(ctx context.Context, doing string, paths []string, plan func(*txn) error) error {
	if len(paths) > maxOps {
		return fmt.Errorf("%s: too much for one transaction (%d keys, etcd takes %d); use several", doing, len(paths), maxOps)
	}
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		t, err := s.begin(ctx, paths)
		if err != nil {
			return s.failed(doing, err)
		}
		if err := plan(t); err != nil {
			return err
		}
		for path, bits := range t.books {
			t.putBook(path, bits, path == s.layout.deviceIDs())
		}
		if len(t.ops) == 0 {
			return nil
		}
		resp, err := s.client.Txn(ctx).If(t.guards...).Then(t.ops...).Commit()
		if err != nil {
			return s.failed(doing, err)
		}
		if resp.Succeeded {
			return nil
		}
		if !sleep(ctx, wait) {
			return s.failed(doing+" while others write", ctx.Err())
		}
	}
}

func (s *Store) begin(ctx context.Context, paths []string) (*txn, error) {
	gets := make([]clientv3.Op, len(paths))
	for i, path := range paths {
		gets[i] = clientv3.OpGet(path)
	}
	resp, err := s.client.Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return nil, err
	}
	t := &txn{
		read:     make(map[string]*mvccpb.KeyValue, len(paths)),
		revision: resp.Header.Revision,
		books:    map[string]*roaring.Bitmap{},
	}
	for i, path := range paths {
		var modified int64
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			t.read[path], modified = kvs[0], kvs[0].ModRevision
		}
		t.guards = append(t.guards, clientv3.Compare(clientv3.ModRevision(path), "=", modified))
	}
	return t, nil
}

// settle makes it a condition that nothing has been written under directories
// since the keys were read.
func (t *txn) settle(directories ...string) {
	for _, directory := range directories {
		t.guards = append(t.guards, clientv3.Compare(clientv3.ModRevision(directory), "<", t.revision+1).WithPrefix())
	}
}

// get returns the value of a key that was read.
func (t *txn) get(path string) (string, bool) {
	kv := t.read[path]
	if kv == nil {
		return "", false
	}
	return string(kv.Value), true
}

// writes reports whether the transaction puts a key.
func (t *txn) writes(path string) bool {
	return slices.ContainsFunc(t.ops, func(op clientv3.Op) bool { return string(op.KeyBytes()) == path })
}

func (t *txn) put(path, value string) { t.ops = append(t.ops, clientv3.OpPut(path, value)) }

func (t *txn) delete(path string, opts ...clientv3.OpOption) {
	t.ops = append(t.ops, clientv3.OpDelete(path, opts...))
}

// book returns the set that the key at path holds. It may be changed: a txn
// writes its books back. If there is no such key, rebuild makes the set from
// the objects themselves, as others may have written some without it.
func (t *txn) book(path, remedy string, rebuild func() (*roaring.Bitmap, error)) (*roaring.Bitmap, error) {
	if bits := t.books[path]; bits != nil {
		return bits, nil
	}
	var bits *roaring.Bitmap
	var err error
	if text, ok := t.get(path); !ok {
		bits, err = rebuild()
	} else if bits, err = decodeBitmap(text); err != nil {
		err = corrupt(path, remedy, err)
	}
	if err != nil {
		return nil, err
	}
	t.books[path] = bits
	return bits, nil
}

// What makes a book anew that is corrupt.
const (
	remedyIDs   = "tpctl toolbox sync-device-map"
	remedyBooks = "tpctl toolbox rebuild-ip-book"
)

func corrupt(path, remedy string, err error) error {
	return fmt.Errorf("%s is corrupt (%w); %q makes it anew", path, err, remedy)
}

// putBook writes a book back. One that is empty goes, unless it is to stay.
func (t *txn) putBook(path string, bits *roaring.Bitmap, stays bool) {
	if bits.IsEmpty() && !stays {
		if t.read[path] != nil {
			t.delete(path)
		}
		return
	}
	t.put(path, encodeBitmap(bits))
}

// deviceIDs returns the book of the ids of switches and routers.
func (s *Store) deviceIDs(ctx context.Context, t *txn) (*roaring.Bitmap, error) {
	return t.book(s.layout.deviceIDs(), remedyIDs, func() (*roaring.Bitmap, error) {
		return s.usedIDs(ctx, topology.Key{})
	})
}

// ipBook returns the book of the port ids in a switch or router.
func (s *Store) ipBook(ctx context.Context, t *txn, device topology.Key) (*roaring.Bitmap, error) {
	return t.book(s.layout.book(device), remedyBooks, func() (*roaring.Bitmap, error) {
		return s.usedPortIDs(ctx, device, topology.Key{})
	})
}

// bookOf returns the book that an object's id is in: of a switch or router, or
// of a port.
func (s *Store) bookOf(ctx context.Context, t *txn, key topology.Key) (*roaring.Bitmap, error) {
	if key.Kind.Parent() == 0 {
		return s.deviceIDs(ctx, t)
	}
	return s.ipBook(ctx, t, key.ParentKey())
}
