// Package cnm is the network plugin for Docker, tpcnm: it serves Docker's remote
// network driver (CNM, the container network model) and its remote IPAM driver on
// one socket.
//
// A network of Docker is a logical switch, and an endpoint of Docker is a port of
// it. What the plugin knows is kept by others: networks and addresses that Docker
// was given are in etcd (store.Network, store.Reservation), endpoints are
// attachments of the agent of this host, by its socket (package
// cni.tuplenet/attach), whose ports and devices name their owner. So the plugin
// may be started anew at any moment, and an endpoint may be asked for on a host
// that has never heard of its network.
//
//	Docker                         tpcnm                       agent
//	RequestPool, CreateNetwork ──▶ switch, link to the router
//	                               and record, in etcd
//	RequestAddress ──────────────▶ reservation, in etcd
//	CreateEndpoint ──────────────▶ veth pair ────────────────▶ port in etcd and bridge, flows
//	Join ◀─────────────────────── name of the veth's end, gateway
//	Leave
//	DeleteEndpoint ──────────────▶ veth pair goes ───────────▶ port goes
//
// What Docker does not say, names of networks and what it has forgotten about, the
// plugin asks the engine for (engine.go, reconcile.go).
//
// IPv4 only. modes/cnm.go runs it.
package cnm
