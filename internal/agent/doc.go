// Package agent is what runs on every node. It joins the three rooms that do
// the work:
//
//	store.Watch ─▶ topology.Model ─▶ flows.Engine ─▶ ovs.Driver
//	                    ▲                                │
//	                    ├── interfaces, tunnels ◀────────┤
//	                    └── neighbours ◀── physical ◀────┘ packets that flows send
//
// and writes what a node has to write: its chassis record, its presence, and
// which of the ports are plugged in here.
//
// One goroutine (Run) owns the model and the engine; whatever may take long or
// has to be tried again (writing to etcd, making tunnel ports) is done beside
// it. Nothing here polls: everything follows from an event of etcd or of Open
// vSwitch, but for what ARP asks in its time. When either is away, flows and tunnels stay as they are.
//
// modes/agent.go runs it. internal/cleanup takes away what it leaves on a host
// that is to be a node no more.
package agent
