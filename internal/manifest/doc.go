// Package manifest is the virtual network as a text that people write: logical
// switches with their ports, logical routers with their links, ports, routes and
// NAT rules, in YAML. docs/files.md describes the format.
//
// Four things live here, all of them pure functions:
//
//   - Read turns such texts into the objects that they describe, each with the
//     place where it stands (read.go, device.go, scalar.go);
//   - Plan compares them with what the store holds and says what has to be made,
//     changed and deleted (plan.go);
//   - Groups puts the changes into the order in which they can be written, so that
//     the store is consistent after each (order.go);
//   - Write is Read's inverse (write.go).
//
// Chassis are not described: they describe themselves. Nor is what agents write
// into a port that somebody plugs something into, nor are ports that plugins make
// for containers and take away with these.
//
// The package does no I/O and does not judge objects against each other: tpctl
// does, with the checks that its other commands have. It is used by internal/ctl
// alone.
package manifest
