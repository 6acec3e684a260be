package packet

import (
	"errors"
	"fmt"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// DontFragment reports whether frame carries an IPv4 packet that routers must
// not fragment.
func DontFragment(frame []byte) bool {
	d, err := decode(frame)
	return err == nil && d.ip.Flags&layers.IPv4DontFragment != 0
}

// Fragment splits the IPv4 packet in frame into packets of at most mtu bytes
// each, IP header included, in order (RFC 791, section 3.2). All have the
// Ethernet addresses of frame. A packet that fits comes back as it is, and a
// fragment may be split further. It is an error if the packet must not be
// fragmented, is malformed or not all of it is there, or if mtu is less than
// the 68 bytes that any link takes.
func Fragment(frame []byte, mtu int) ([][]byte, error) {
	d, err := decode(frame)
	switch {
	case err != nil:
		return nil, fmt.Errorf("fragment a packet: %w", err)
	case !d.whole:
		return nil, fmt.Errorf("fragment a packet: only %d of its %d bytes are there", len(d.eth.Payload), d.ip.Length)
	case mtu < minMTU:
		return nil, fmt.Errorf("fragment a packet: no link has an MTU of %d, the least is %d", mtu, minMTU)
	case int(d.ip.Length) <= mtu:
		return [][]byte{frame}, nil
	case d.ip.Flags&layers.IPv4DontFragment != 0:
		return nil, fmt.Errorf("fragment a packet of %d bytes: its sender has forbidden it", d.ip.Length)
	case int(d.ip.FragOffset)*8+len(d.ip.Payload) > 0xffff:
		return nil, errors.New("fragment a fragment: it reaches beyond the longest packet")
	}
	header, data := d.ip, d.ip.Payload
	headerBytes := len(d.ip.Contents)
	var fragments [][]byte
	for {
		size := (mtu - headerBytes) &^ 7 // offsets count in 8 bytes
		last := headerBytes+len(data) <= mtu
		if last {
			size = len(data)
			header.Flags = d.ip.Flags // this one ends where the packet ended
		} else {
			header.Flags = d.ip.Flags | layers.IPv4MoreFragments
		}
		fragments = append(fragments, serialize(
			&layers.Ethernet{SrcMAC: d.eth.SrcMAC, DstMAC: d.eth.DstMAC, EthernetType: layers.EthernetTypeIPv4},
			&header, gopacket.Payload(data[:size])))
		if last {
			return fragments, nil
		}
		data = data[size:]
		header.FragOffset += uint16(size / 8)
		if len(fragments) == 1 {
			header.Options, header.Padding = copied(d.ip.Options), nil
			headerBytes = headerLen + optionBytes(header.Options)
		}
	}
}

// copied returns those of the options that every fragment has to carry: they
// have the uppermost bit of their type set.
func copied(options []layers.IPv4Option) []layers.IPv4Option {
	var kept []layers.IPv4Option
	for _, o := range options {
		if o.OptionType&0x80 != 0 {
			kept = append(kept, o)
		}
	}
	return kept
}

// optionBytes returns how much of a header the options take, which is a
// multiple of 4.
func optionBytes(options []layers.IPv4Option) int {
	n := 0
	for _, o := range options {
		n += int(o.OptionLength)
	}
	return (n + 3) &^ 3
}
