// Package topology is what the virtual network consists of: logical switches
// and routers, their ports, routes and NAT rules, the chassis that carry them,
// and the facts that a node knows of itself (its interfaces and tunnels).
//
// Three things live here:
//
//   - the entities, comparable values that are parsed from and printed to the
//     text that the store holds (entity.go, value.go);
//   - their validation, an entity by itself (Parse) and entities against each
//     other (Model);
//   - Model, the topology in memory with its indexes, which turns a batch of
//     changes into the set of keys whose meaning changed.
//
// It does no I/O and starts no goroutine. The store fills it, the flow
// compiler reads it, tpctl prints from it. It does not know what a flow is.
package topology
