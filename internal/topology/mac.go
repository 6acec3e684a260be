package topology

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// MAC is an Ethernet address. It is comparable, unlike net.HardwareAddr.
type MAC [6]byte

// OuterIP and OuterMAC mark a switch's outer port, to which traffic for
// addresses that the switch does not know is delivered.
var (
	OuterIP  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	OuterMAC = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xee}
)

// ParseMAC parses six colon-separated pairs of hex digits.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return MAC{}, fmt.Errorf("invalid MAC %q, want six pairs of hex digits such as f2:01:00:00:00:01", s)
	}
	return MAC(hw), nil
}

// MACFromIP makes the MAC that belongs to an IPv4 address for which nobody
// chose one: f2:01 and the four bytes of the address.
func MACFromIP(ip netip.Addr) MAC {
	b := ip.As4()
	return MAC{0xf2, 0x01, b[0], b[1], b[2], b[3]}
}

// MarshalText implements encoding.TextMarshaler with what String returns.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with what ParseMAC reads.
func (m *MAC) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMAC(string(text))
	return err
}

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Uint64 returns the address as a number, its first byte the most significant.
func (m MAC) Uint64() uint64 {
	return uint64(binary.BigEndian.Uint16(m[:2]))<<32 | uint64(binary.BigEndian.Uint32(m[2:]))
}

// IsMulticast reports whether the address names a group, as the broadcast
// address does; such an address cannot belong to a port.
func (m MAC) IsMulticast() bool { return m[0]&1 == 1 }
