// Package underlay is the CNI plugin on a node that is itself plugged into a
// logical port: a virtual machine, or a container, that hosts pods of its own.
// Such a node has neither TupleNet's agent nor its Open vSwitch; the agent of the
// host below it has, and knows the pods' ports as children of the node's port,
// told apart by VLAN tags.
//
//	pod ── VLAN tag ── node's interface ── node's port on br-int of its host
//	            │
//	            ├─ a VLAN device of the interface, moved into the pod ("underlay")
//	            └─ an access port of an Open vSwitch bridge with it ("underlay_bridge")
//
// The ports were made in advance (tpctl ls provision), so that their flows are in
// already: ADD claims one, which is one write to etcd, and DEL gives it back. The
// claim stands in the port itself, under the name of the attachment, and is all
// there is to remember; there are no files.
//
// ADD is done when the router on the pods' switch has answered ARP, or its claim
// is given back.
//
// The configuration and the namespaces are package cni's, which hands over to
// this one by way of modes/cni.go.
package underlay
