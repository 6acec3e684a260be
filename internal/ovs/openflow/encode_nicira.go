package openflow

import (
	"encoding/binary"
	"fmt"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Properties of the controller action (nx_action_controller2_prop_type).
const (
	controllerMaxLen   = 0
	controllerUserData = 3
	controllerPause    = 4
)

// appendController adds the action that sends the packet to the agent, with one
// or two bytes of user data, and if pause is set waits for its answer.
func appendController(b []byte, pause bool, userData ...byte) []byte {
	size := uint8(32)
	if pause {
		size += 8
	}
	b = appendNicira(b, niciraController2, size)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = append(b, 0, controllerMaxLen, 0, 6, 0xff, 0xff, 0, 0) // the whole packet
	b = append(b, 0, controllerUserData, 0, byte(4+len(userData)))
	b = append(append(b, userData...), 0, 0, 0)[:len(b)+4]
	if pause {
		b = append(b, 0, controllerPause, 0, 4, 0, 0, 0, 0)
	}
	return b
}

// hashFields are the hashes' numbers (nx_hash_fields).
var hashFields = [...]uint16{
	flows.HashEthSrc:           0,
	flows.HashSymmetricL4:      1,
	flows.HashSymmetricL3L4:    2,
	flows.HashSymmetricL3L4UDP: 3,
	flows.HashIPSrc:            4,
	flows.HashIPDst:            5,
}

func hashNumber(h flows.Hash) (uint16, error) {
	if int(h) >= len(hashFields) {
		return 0, fmt.Errorf("no encoding of hash %d is known", h)
	}
	return hashFields[h], nil
}

// Highest random weight has a number of its own in each of the two actions.
const (
	bundleHRW    = 1 // nx_bd_algorithm
	multipathHRW = 2 // nx_mp_algorithm
)

// inPort16 is the header of Nicira's in_port. In a bundle it says that the
// members are ports.
const inPort16 = classNXM0<<16 | 2

func appendBundleLoad(b []byte, a flows.Choose) ([]byte, error) {
	dst, err := bitsHeader(a.Dst)
	if err != nil {
		return nil, err
	}
	hash, err := hashNumber(a.Fields)
	if err != nil {
		return nil, err
	}
	start := len(b)
	b = appendNicira(b, niciraBundleLoad, 0) // the length is set below
	b = binary.BigEndian.AppendUint16(b, bundleHRW)
	b = binary.BigEndian.AppendUint16(b, hash)
	b = append(b, 0, 0) // basis
	b = binary.BigEndian.AppendUint32(b, inPort16)
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.Ports)))
	b = binary.BigEndian.AppendUint16(b, ofsBits(a.Dst))
	b = binary.BigEndian.AppendUint32(b, dst)
	b = append(b, 0, 0, 0, 0)
	for _, p := range a.Ports {
		if p > 0xffff {
			return nil, fmt.Errorf("choice of port %d, more than a bundle's 16 bits hold", p)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(p))
	}
	return endAction(b, start)
}

func appendMultipath(b []byte, a flows.Spread) ([]byte, error) {
	dst, err := bitsHeader(a.Dst)
	if err != nil {
		return nil, err
	}
	hash, err := hashNumber(a.Fields)
	if err != nil {
		return nil, err
	}
	if a.N == 0 {
		return nil, fmt.Errorf("spread over nothing into %s", a.Dst.Field)
	}
	b = appendNicira(b, niciraMultipath, 32)
	b = binary.BigEndian.AppendUint16(b, hash)
	b = append(b, 0, 0, 0, 0) // basis, padding
	b = binary.BigEndian.AppendUint16(b, multipathHRW)
	b = binary.BigEndian.AppendUint16(b, a.N-1)
	b = append(b, 0, 0, 0, 0, 0, 0) // argument, padding
	b = binary.BigEndian.AppendUint16(b, ofsBits(a.Dst))
	return binary.BigEndian.AppendUint32(b, dst), nil
}

func appendCheckLarger(b []byte, a flows.CheckLarger) ([]byte, error) {
	dst, err := bitsHeader(a.Dst)
	if err != nil {
		return nil, err
	}
	if a.Dst.N != 1 {
		return nil, fmt.Errorf("check of the size into %d bits of %s, want one", a.Dst.N, a.Dst.Field)
	}
	b = appendNicira(b, niciraCheckLarger, 24)
	b = binary.BigEndian.AppendUint16(b, a.Size)
	b = binary.BigEndian.AppendUint16(b, a.Dst.Ofs)
	b = binary.BigEndian.AppendUint32(b, dst)
	return append(b, 0, 0, 0, 0, 0, 0), nil
}

// ctCommit makes a connection (NX_CT_F_COMMIT).
const ctCommit = 1

// Flags of the NAT action (NX_NAT_F_*), and of what follows it
// (nx_nat_range).
const (
	natSource = 1 << 0
	natDest   = 1 << 1
	natRandom = 1 << 4

	natMinAddr = 1 << 0
	natMinPort = 1 << 4
	natMaxPort = 1 << 5
)

// appendTrack adds the conntrack action, in which the NAT action is nested.
func appendTrack(b []byte, a flows.Track) ([]byte, error) {
	var flags uint16
	if a.Commit {
		flags = ctCommit
	}
	start := len(b)
	b = appendNicira(b, niciraCT, 0) // the length is set below
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, 0, 0, 0, 0) // no field that holds the zone
	b = binary.BigEndian.AppendUint16(b, a.Zone)
	b = append(b, byte(a.Table), 0, 0, 0, 0, 0) // padding, no helper
	if translates(a) {
		var err error
		if b, err = appendNAT(b, a); err != nil {
			return nil, err
		}
	}
	return endAction(b, start)
}

func appendNAT(b []byte, a flows.Track) ([]byte, error) {
	flags, ranges, err := natFlags(a)
	if err != nil {
		return nil, err
	}
	start := len(b)
	b = appendNicira(b, niciraNAT, 0) // the length is set below
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, ranges)
	if ranges&natMinAddr != 0 {
		b = append(b, a.NAT.Addr.AsSlice()...)
	}
	if ranges&natMinPort != 0 {
		b = binary.BigEndian.AppendUint16(b, a.NAT.MinPort)
		b = binary.BigEndian.AppendUint16(b, a.NAT.MaxPort)
	}
	return endAction(b, start)
}

// translates reports whether packets are to be translated: as their connection
// is, or as the one is that they make. A connection that is made without
// addresses has no translation. (Open vSwitch would take zeros for them.)
func translates(a flows.Track) bool { return !a.Commit || a.NAT != flows.Translation{} }

// natFlags returns the flags of the NAT action in a, and says what follows it.
func natFlags(a flows.Track) (flags, ranges uint16, err error) {
	switch n := a.NAT; {
	case n == flows.Translation{}:
		return 0, 0, nil
	case !a.Commit:
		return 0, 0, fmt.Errorf("translation to %s in zone %d without commit", n.Addr, a.Zone)
	case !n.Addr.Is4():
		return 0, 0, fmt.Errorf("translation to %s, which is no IPv4 address", n.Addr)
	case n.MinPort > n.MaxPort:
		return 0, 0, fmt.Errorf("translation to ports %d to %d", n.MinPort, n.MaxPort)
	case n.Type == topology.SNAT:
		flags = natSource
	case n.Type == topology.DNAT:
		flags = natDest
	default:
		return 0, 0, fmt.Errorf("no encoding of translation type %q is known", n.Type)
	}
	ranges = natMinAddr
	if a.NAT.MinPort != 0 {
		flags |= natRandom
		ranges |= natMinPort | natMaxPort
	}
	return flags, ranges, nil
}

// endAction pads the action that began at start, and sets its length.
func endAction(b []byte, start int) ([]byte, error) {
	b = append(b, make([]byte, -(len(b)-start)&7)...)
	n := len(b) - start
	if n > maxMessageLen {
		return nil, errTooLong
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	return b, nil
}
