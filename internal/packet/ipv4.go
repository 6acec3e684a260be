package packet

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// headerLen is the length of an IPv4 header without options.
const headerLen = 20

// datagram is a frame that carries IPv4. The IP header's Payload ends where
// the datagram ends, so that the padding of a short frame is no part of it.
type datagram struct {
	eth layers.Ethernet
	ip  layers.IPv4
	// whole is false when the frame ends before the datagram does, as that of
	// a packet that was cut short on its way to the controller.
	whole bool
}

// decode takes a frame apart whose IP header passes the tests of RFC 1812,
// section 5.2.2.
func decode(frame []byte) (d *datagram, err error) {
	defer func() { // gopacket has panicked on what strangers send before
		if p := recover(); p != nil {
			d, err = nil, fmt.Errorf("decode the frame: %v", p)
		}
	}()
	d = &datagram{whole: true}
	if err := d.eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback); err != nil {
		return nil, fmt.Errorf("decode the Ethernet header: %w", err)
	}
	if d.eth.EthernetType != layers.EthernetTypeIPv4 {
		return nil, fmt.Errorf("the frame's EtherType is %#04x, not IPv4's", uint16(d.eth.EthernetType))
	}
	if err := d.ip.DecodeFromBytes(d.eth.Payload, feedback{&d.whole}); err != nil {
		return nil, fmt.Errorf("decode the IP header: %w", err)
	}
	_, sum := d.ip.VerifyChecksum()
	switch {
	case d.ip.Version != 4:
		return nil, fmt.Errorf("the IP version is %d", d.ip.Version)
	case !sum.Valid:
		return nil, errors.New("the IP header's checksum is wrong")
	case binary.BigEndian.Uint16(d.ip.Contents[2:]) == 0: // gopacket's leniency towards offloads
		return nil, errors.New("the IP header's total length is 0")
	}
	return d, nil
}

// feedback is told by gopacket of data that ends early.
type feedback struct{ whole *bool }

func (f feedback) SetTruncated() { *f.whole = false }

// laterFragment reports whether the datagram is a fragment other than the first,
// and so begins in the midst of what it carries.
func (d *datagram) laterFragment() bool { return d.ip.FragOffset != 0 }

// serialize makes a frame of layers, the outermost first, with their lengths
// and checksums. It is for layers whose sizes are known to fit.
func serialize(parts ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(fmt.Sprintf("packet: made a frame that cannot be: %v", err))
	}
	return b.Bytes()
}
