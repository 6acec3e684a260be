package packet

import (
	"encoding/binary"
	"slices"
)

// macsLen is where in a frame a VLAN tag stands: behind its two MACs, in bytes.
const macsLen = 12

// Tagged returns an Ethernet frame with a VLAN tag of that id (IEEE 802.1Q)
// around it, and what is too short to be one as it is.
func Tagged(frame []byte, id uint16) []byte {
	if len(frame) < macsLen {
		return frame
	}
	return slices.Insert(slices.Clone(frame), macsLen, binary.BigEndian.AppendUint16([]byte{0x81, 0}, id)...)
}
