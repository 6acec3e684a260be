// Package store keeps the topology in etcd, in the layout that TupleNet has
// always had, so that an existing deployment's data serves as it is.
//
// Eight things live here:
//
//   - where an entity is kept (layout.go) and how it is read (read.go);
//   - the changes, each one transaction: an object, its id and its address are
//     made together or not at all, and given back alike (create.go, delete.go,
//     bind.go), on conditions that its caller may add (view.go); under
//     contention a change is tried again until its context ends;
//   - changes of many objects from one snapshot, in few transactions (bulk.go);
//   - the books of what is taken, Roaring bitmaps shared with other tools
//     (bitmap.go, books.go);
//   - who is alive: what a running agent announces under a lease, and what is
//     said of one that is not heard of (presence.go, chassis.go);
//   - all keys as they stand, for who looks for what is wrong with them, and
//     what mends that (everything.go);
//   - who may do what, where etcd has users (party.go, auth.go);
//   - the watch: a snapshot, then what changes, whatever happens to etcd
//     meanwhile (watch.go).
//
// A call waits for etcd until its context ends.
//
// What it does not do: judge entities against each other (topology.Model does
// that for what others wrote), cache anything, or write by itself. The agent,
// tpctl and the plugins call it. A Store is safe for concurrent use.
package store
