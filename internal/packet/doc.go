// Package packet reads and makes the Ethernet frames that a router handles
// itself instead of forwarding: ARP, the ICMP errors that it owes to a sender,
// fragments of what does not fit; and puts tags around what is sent in the name
// of a child port.
//
// Its functions are pure: a frame in, frames out, without I/O and without a
// clock. What comes in was sent by workloads and by machines of the physical
// network, so that every function takes any bytes; none keeps or changes the
// frame that it is given. Frames are untagged Ethernet that carries IPv4, and
// addresses are IPv4; anything else is answered with false or an error.
//
// internal/agent calls it for packets that Open vSwitch hands to it, and
// internal/trace for those that it follows.
package packet
