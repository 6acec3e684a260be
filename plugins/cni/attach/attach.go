// Package attach is what plugins and the agent of their host say to each other:
// a plugin owns the network device of a workload, the agent owns everything
// else, the address and the port in etcd, the port of the bridge and the flows.
// So a plugin starts in no time, needs no connection but one to a socket, and
// what is attached to what is known in one place.
//
// The agent listens on a Unix socket in its run directory (SocketName), which
// root alone can use. A connection is one conversation: requests and answers in
// turns, each one JSON value on a line. All operations but Reserve take one
// request.
//
// To attach a workload takes three requests on one connection:
//
//	plugin                                          agent
//	Reserve  ──▶  an address and a port, in etcd
//	         ◀──  address, MAC, gateway, MTU        meanwhile the plugin makes the device
//	Plug     ──▶  a port of the bridge for the device
//	         ◀──  once the flows for it are in      meanwhile the plugin configures the device
//	Keep     ──▶  the attachment stays
//	         ◀──
//
// Until Keep is answered, the end of the connection takes everything back that
// was made, however the plugin ended.
//
// The package uses the standard library only: see package cni, why.
package attach

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// SocketName is the name of the agent's socket in its run directory.
const SocketName = "attach.sock"

// Op is what a request asks for.
type Op string

// The operations.
const (
	Reserve Op = "reserve" // see the package's comment; needs ID, Switches and Device
	Plug    Op = "plug"    // the device that Reserve named is there; needs nothing
	Keep    Op = "keep"    // needs nothing
	Release Op = "release" // takes an attachment back, whatever there is of it; needs ID and Device
	Check   Op = "check"   // says what is wrong with an attachment; needs ID, Device, IP and MAC
	Collect Op = "collect" // releases all attachments of the network ID.Network, but those in Valid
	Status  Op = "status"  // says whether Reserve has a chance, and whose agent this is; needs Switches
)

// The plugins.
const (
	CNI = "cni"
	CNM = "cnm" // Docker's
)

// ID names an attachment, as the CNI specification does. For Docker, Container is
// the id of the endpoint, and Ifname what its interface's name begins with.
type ID struct {
	Network   string `json:"network"`
	Container string `json:"container"`
	Ifname    string `json:"ifname"` // name of the interface in the container
}

// Owner returns the attachment as the store names it, in the value of its port.
// Plugin says whose it is, as Request.Plugin.
func (id ID) Owner(plugin string) string {
	return fmt.Sprintf("%s:%s/%s/%s", plugin, id.Network, id.Container, id.Ifname)
}

// ParseOwner is Owner's inverse.
func ParseOwner(owner string) (plugin string, id ID, ok bool) {
	plugin, rest, _ := strings.Cut(owner, ":")
	parts := strings.Split(rest, "/")
	if len(parts) != 3 {
		return "", ID{}, false
	}
	return plugin, ID{Network: parts[0], Container: parts[1], Ifname: parts[2]}, true
}

// Device returns the name of the attachment's network device on the host. Names
// of interfaces have at most 15 bytes.
func (id ID) Device() string {
	sum := sha256.Sum256([]byte(id.Network + "/" + id.Container + "/" + id.Ifname))
	return "tp" + hex.EncodeToString(sum[:])[:13]
}

// Port returns the name of the attachment's logical switch port, unless that was
// made in advance: for Docker that of the endpoint, see docs/compat.md.
func (id ID) Port(plugin string) string {
	if plugin == CNM {
		return id.Container
	}
	return "lsp-" + id.Ifname + "-" + id.Container
}

// Request is what a plugin says.
type Request struct {
	Op Op `json:"op"`
	ID ID `json:"id,omitzero"`

	// Plugin says whose attachment it is: CNI or CNM.
	Plugin string `json:"plugin,omitempty"`
	// Bridge is the bridge of Open vSwitch that the attachment has to be in; empty:
	// the agent's. Reserve and Status refuse another.
	Bridge string `json:"bridge,omitempty"`
	// Etcd is where the plugin's configuration says that the topology is. The
	// agent's own access is used if it leads to the same place.
	Etcd *Etcd `json:"etcd,omitempty"`
	// Switches are where an address may come from, the first that has one.
	Switches []Switch `json:"switches,omitempty"`
	// Device is the end of the veth pair on the host.
	Device string `json:"device,omitempty"`
	// IP and MAC are those wanted, empty: any. For Check those that there are.
	IP  string `json:"ip,omitempty"`
	MAC string `json:"mac,omitempty"`
	// Secured asks for port security: only packets with the port's own MAC and
	// address may come from it.
	Secured bool `json:"secured,omitempty"`
	// Valid are the attachments that Collect leaves.
	Valid []ID `json:"valid,omitempty"`
	// Wait bounds how long Plug waits for the flows, in milliseconds; 0: 10 s.
	Wait int `json:"wait,omitempty"`
}

// Switch is a logical switch that addresses may come from.
type Switch struct {
	Name string `json:"name"`
	// Subnet is the network that addresses are taken from, with the gateway as
	// its host part, or the first address if it has none: 10.20.1.1/24. Empty:
	// that of the router which is linked to the switch.
	Subnet string `json:"subnet,omitempty"`
	// Reserved are addresses, or networks, of the subnet that are not given out
	// unless they are asked for.
	Reserved []string `json:"reserved,omitempty"`
}

// Etcd is access to etcd.
type Etcd struct {
	Endpoints []string `json:"endpoints"`
	Prefix    string   `json:"prefix,omitempty"`
	CAFile    string   `json:"ca_file,omitempty"`
	CertFile  string   `json:"cert_file,omitempty"`
	KeyFile   string   `json:"key_file,omitempty"`
	Username  string   `json:"username,omitempty"`
	Password  string   `json:"password,omitempty"`
}

// Answer is what the agent says. Error is set, or what the operation returns.
type Answer struct {
	Error *Error `json:"error,omitempty"`

	// Of Reserve.
	Switch  string `json:"switch,omitempty"`
	Port    string `json:"port,omitempty"`    // of the logical switch
	IP      string `json:"ip,omitempty"`      // with the prefix length: 10.20.1.5/24
	MAC     string `json:"mac,omitempty"`     //
	Gateway string `json:"gateway,omitempty"` // empty: there is none
	MTU     int    `json:"mtu,omitempty"`     // that the workload can have, as the host's tunnels allow; 0: unknown
	// NoOffload says that the workload has to compute its checksums itself: the
	// bridge's datapath would lose packets whose checksum a NIC is to complete.
	NoOffload bool `json:"no_offload,omitempty"`

	// Of Status.
	Chassis string `json:"chassis,omitempty"` // system-id of this host
	Bridge  string `json:"bridge,omitempty"`  // the agent's bridge of Open vSwitch

	// Routed says, of Status, that a port of the last of the switches has the address
	// of its gateway.
	Routed bool `json:"routed,omitempty"`

	// Pending says that Release, or Collect, could not do all of it, as etcd is away
	// or denies it: the agent goes on by itself. Why is what it failed at.
	Pending bool   `json:"pending,omitempty"`
	Why     string `json:"why,omitempty"`
	// Released are the attachments that Collect has taken back.
	Released []ID `json:"released,omitempty"`
}

// Error is an error as the CNI specification has it ("Error", section 5).
type Error struct {
	Code    Code   `json:"code"`
	Msg     string `json:"msg"`
	Details string `json:"details,omitempty"`
}

// Error implements error.
func (e *Error) Error() string {
	if e.Details == "" {
		return e.Msg
	}
	return e.Msg + "; " + e.Details
}

// Code tells kinds of errors apart: those below 100 are the CNI specification's.
type Code uint

// The codes in use.
const (
	CodeUnsupported Code = 2   // a field of the network configuration is not supported
	CodeUnknown     Code = 3   // the container does not exist
	CodeEnvironment Code = 4   // an environment variable is missing or wrong
	CodeIO          Code = 5   // what has to be read or written cannot be
	CodeDecode      Code = 6   // the network configuration cannot be decoded
	CodeConfig      Code = 7   // the network configuration is wrong
	CodeTryLater    Code = 11  // what is wrong will pass
	CodeUnavailable Code = 50  // Status: Reserve cannot succeed
	CodeLimited     Code = 51  // as CodeUnavailable, and what is attached may be cut off, too
	CodeFull        Code = 100 // no address is free
	CodeTaken       Code = 101 // the address or MAC that was asked for belongs to another
	CodeAttached    Code = 102 // the attachment is there already
	CodeNotAttached Code = 103 // Check: something of the attachment is missing, or wrong
	CodeAgent       Code = 104 // the agent failed
	CodeDenied      Code = 105 // etcd's authorization denies it
)
