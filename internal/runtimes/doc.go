// Package runtimes shows that tpcni and tpcnm serve the container runtimes that
// people have: cnitool, podman, containerd and Docker, as Debian and the Go modules
// bring them, on hosts of a lab with real Open vSwitch, real agents and real
// packets. It also shows what becomes of a container's interface when something
// fails midway.
//
// A runtime thinks that it is alone on its machine. So each host of the lab gets
// a file system, mounts and processes of its own (machine_test.go), in which
// everything is where the manuals have it: /etc/cni/net.d, /opt/cni/bin,
// /run/containerd, /var/run/docker.sock. Nothing of it touches the machine that the
// tests run on.
//
// It is not part of the product; it has nothing but tests.
package runtimes
