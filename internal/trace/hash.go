package trace

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"tuplenet/flows"
)

// preference returns the numbers below n in the order in which Open vSwitch
// prefers them for a packet, by highest random weight. Of the hashes of ports of
// TCP and UDP it does not know the order: then it is that of the numbers.
//
// The functions below are Open vSwitch's (lib/jhash.c, lib/hash.h) on x86 and
// other machines whose least significant byte comes first.
func preference(fields flows.Hash, s *flows.State, n int, weight func(i, hash uint32) uint32) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	hash, known := hashOf(fields, s)
	if !known {
		return order
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(weight(uint32(b), hash), weight(uint32(a), hash))
	})
	return order
}

// portWeight is the weight of a member of a bundle, memberWeight that of a link
// of multipath.
func portWeight(i, hash uint32) uint32   { return hashWords(i, hash) }
func memberWeight(i, hash uint32) uint32 { return hashWords(hash, i) }

// hashOf hashes fields of a packet with basis 0, as flow_hash_fields does.
func hashOf(fields flows.Hash, s *flows.State) (hash uint32, known bool) {
	var b []byte
	field := flows.IPDst
	switch fields {
	case flows.HashEthSrc:
		b = binary.BigEndian.AppendUint64(nil, s.Get(flows.All(flows.EthSrc)))[2:]
		return jhash(b), true
	case flows.HashIPDst:
	case flows.HashIPSrc:
		field = flows.IPSrc
	default:
		return 0, false
	}
	if s.Get(flows.All(flows.EthType)) != etherIPv4 {
		return 0, true
	}
	return jhash(binary.BigEndian.AppendUint32(nil, uint32(s.Get(flows.All(field))))), true
}

// jhash is Jenkins' lookup3 of up to 12 bytes.
func jhash(data []byte) uint32 {
	var words [12]byte
	copy(words[:], data)
	start := 0xdeadbeef + uint32(len(data))
	a := start + binary.LittleEndian.Uint32(words[0:])
	b := start + binary.LittleEndian.Uint32(words[4:])
	c := start + binary.LittleEndian.Uint32(words[8:])
	mix := func(x *uint32, y uint32, n int) {
		*x ^= y
		*x -= bits.RotateLeft32(y, n)
	}
	mix(&c, b, 14)
	mix(&a, c, 11)
	mix(&b, a, 25)
	mix(&c, b, 16)
	mix(&a, c, 4)
	mix(&b, a, 14)
	mix(&c, b, 24)
	return c
}

// hashWords is MurmurHash3 of two words, the first one as its seed (hash_2words).
func hashWords(x, y uint32) uint32 {
	add := func(hash, data uint32) uint32 {
		data = bits.RotateLeft32(data*0xcc9e2d51, 15) * 0x1b873593
		return bits.RotateLeft32(hash^data, 13)*5 + 0xe6546b64
	}
	h := add(add(x, 0), y) ^ 8
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
