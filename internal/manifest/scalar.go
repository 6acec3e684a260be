package manifest

import (
	"net/netip"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tuplenet/internal/topology"
)

// outer is the address of a port to the physical network, as people write it.
const outer = "outer"

// text reads a value as it is written; whether YAML takes it for a number or a
// date does not matter.
func (r *reader) text(n *yaml.Node, of string) string {
	if isNull(n) || !r.is(n, yaml.ScalarNode, of) {
		return ""
	}
	return strings.TrimSpace(n.Value)
}

func (r *reader) id(n *yaml.Node) uint32 {
	if isNull(n) {
		return 0
	}
	text := r.text(n, "id")
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == 0 || id > topology.MaxID {
		r.fail(n, "invalid id %q, want a number from 1 to %d, or no id for the lowest that is free", text, topology.MaxID)
	}
	return uint32(id)
}

// tag reads the VLAN id of a child port.
func (r *reader) tag(n *yaml.Node, of string) uint16 {
	text := r.text(n, of+": tag")
	if text == "" {
		return 0
	}
	tag, err := strconv.ParseUint(text, 10, 16)
	if err != nil || tag == 0 || tag > topology.MaxTag {
		r.fail(n, "%s: invalid tag %q, want a VLAN id from 1 to %d", of, text, topology.MaxTag)
	}
	return uint16(tag)
}

// isOn reads what is on or off, true or false.
func (r *reader) isOn(n *yaml.Node, of string) bool {
	switch text := r.text(n, of); text {
	case "true", "on":
		return true
	case "false", "off":
	default:
		r.fail(n, "%s: want true or false, not %q", of, text)
	}
	return false
}

func (r *reader) address(n *yaml.Node, of string) netip.Addr {
	return value(r, n, of, topology.ParseAddr)
}

func (r *reader) network(n *yaml.Node, of string) netip.Prefix {
	return value(r, n, of, topology.ParsePrefix)
}

func (r *reader) mac(n *yaml.Node, of string) topology.MAC {
	if isNull(n) {
		return topology.MAC{}
	}
	return value(r, n, of+": mac", topology.ParseMAC)
}

// portAddress reads the address of a switch port: an IPv4 address, or that
// which stands for the physical network by its name.
func (r *reader) portAddress(n *yaml.Node, of string) netip.Addr {
	return value(r, n, of+": ip", func(text string) (netip.Addr, error) {
		if text == outer {
			return topology.OuterIP, nil
		}
		return topology.ParseAddr(text)
	})
}

func value[T any](r *reader, n *yaml.Node, of string, parse func(string) (T, error)) T {
	var none T
	before := len(r.problems)
	text := r.text(n, of)
	if len(r.problems) > before {
		return none
	}
	v, err := parse(text)
	if err != nil {
		r.fail(n, "%s: %s", of, err)
		return none
	}
	return v
}
