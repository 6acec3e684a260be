package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"tuplenet/flows"
)

// version is OpenFlow 1.4, as headers have it.
const version = 5

// Message types (ofp_type).
const (
	typeHello            = 0
	typeError            = 1
	typeEchoRequest      = 2
	typeEchoReply        = 3
	typeExperimenter     = 4
	typeSetConfig        = 9
	typePacketOut        = 13
	typeFlowMod          = 14
	typeMultipartRequest = 18
	typeMultipartReply   = 19
	typeBarrierRequest   = 20
	typeBarrierReply     = 21
	typeMeterMod         = 29
	typeBundleControl    = 33
	typeBundleAdd        = 34
)

// Nicira's messages, which are experimenter messages.
const (
	niciraSetPacketInFormat = 16
	niciraTLVMod            = 24
	niciraTLVRequest        = 25
	niciraTLVReply          = 26
	niciraResume            = 28
	niciraCTFlushZone       = 29
	niciraPacketIn2         = 30
	niciraCTFlush           = 32
)

// Numbers that stand for everything, or for nothing.
const (
	noBuffer     = 0xffffffff
	anyPort      = 0xffffffff
	anyGroup     = 0xffffffff
	allTables    = 0xff
	portIn       = 0xfffffff8
	portIn16     = 0xfff8 // portIn where Nicira's actions have 16 bits for a port
	portLocal    = 0xfffffffe
	niciraVendor = 0x00002320
)

const (
	headerLen     = 8
	maxMessageLen = 65535
)

// message is an OpenFlow message, without its header's length.
type message struct {
	version uint8
	typ     uint8
	xid     uint32
	body    []byte // what follows the header
}

// readMessage reads the next message. Its body is a part of buf, which holds
// at least maxMessageLen bytes.
func readMessage(r io.Reader, buf []byte) (message, error) {
	h := buf[:headerLen]
	if _, err := io.ReadFull(r, h); err != nil {
		return message{}, err
	}
	n := int(binary.BigEndian.Uint16(h[2:]))
	if n < headerLen {
		return message{}, fmt.Errorf("a message claims to be %d bytes long, less than its header", n)
	}
	m := message{version: h[0], typ: h[1], xid: binary.BigEndian.Uint32(h[4:]), body: buf[headerLen:n]}
	if _, err := io.ReadFull(r, m.body); err != nil {
		return message{}, err
	}
	return m, nil
}

// appendHeader begins a message, and endMessage, given where in b it began,
// sets its length.
func appendHeader(b []byte, typ uint8, xid uint32) []byte {
	b = append(b, version, typ, 0, 0)
	return binary.BigEndian.AppendUint32(b, xid)
}

var errTooLong = errors.New("longer than an OpenFlow message can be")

func endMessage(b []byte, start int) error {
	n := len(b) - start
	if n > maxMessageLen {
		return errTooLong
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	return nil
}

// oxm makes the header by which the wire knows a field: its class, its number
// there, and its size in bytes.
func oxm(class, field, size uint32) uint32 { return class<<16 | field<<9 | size }

// The classes of fields: Nicira's two and OpenFlow's two.
const (
	classNXM0       = 0x0000
	classNXM1       = 0x0001
	classBasic      = 0x8000
	classPacketRegs = 0x8001
)

// A field's header has this bit when a mask of the field's size follows the
// value; the header's size then covers both.
const oxmHasMask = 1 << 8

// fieldHeaders are the headers of the fields, without a mask. No field is
// longer than 8 bytes.
var fieldHeaders = [...]uint32{
	flows.InPort:       oxm(classBasic, 0, 4),
	flows.Metadata:     oxm(classBasic, 2, 8),
	flows.Reg0:         oxm(classNXM1, 0, 4),
	flows.Reg1:         oxm(classNXM1, 1, 4),
	flows.Reg2:         oxm(classNXM1, 2, 4),
	flows.Reg3:         oxm(classNXM1, 3, 4),
	flows.Reg4:         oxm(classNXM1, 4, 4),
	flows.Reg5:         oxm(classNXM1, 5, 4),
	flows.Reg6:         oxm(classNXM1, 6, 4),
	flows.Reg7:         oxm(classNXM1, 7, 4),
	flows.XReg2:        oxm(classPacketRegs, 2, 8),
	flows.TunID:        oxm(classBasic, 38, 8),
	flows.TunSrc:       oxm(classNXM1, 31, 4),
	flows.TunDst:       oxm(classNXM1, 32, 4),
	flows.TunMetadata0: oxm(classNXM1, 40, 8),
	flows.CTState:      oxm(classNXM1, 105, 4),
	flows.EthDst:       oxm(classBasic, 3, 6),
	flows.EthSrc:       oxm(classBasic, 4, 6),
	flows.EthType:      oxm(classBasic, 5, 2),
	flows.IPProto:      oxm(classBasic, 10, 1),
	flows.IPTTL:        oxm(classNXM1, 29, 1),
	flows.IPSrc:        oxm(classBasic, 11, 4),
	flows.IPDst:        oxm(classBasic, 12, 4),
	flows.ICMPType:     oxm(classBasic, 19, 1),
	flows.ICMPCode:     oxm(classBasic, 20, 1),
	flows.ARPOp:        oxm(classBasic, 21, 2),
	flows.ARPSpa:       oxm(classBasic, 22, 4),
	flows.ARPTpa:       oxm(classBasic, 23, 4),
	flows.ARPSha:       oxm(classBasic, 24, 6),
	flows.ARPTha:       oxm(classBasic, 25, 6),
	flows.VLAN:         oxm(classBasic, 6, 2),
}

func fieldHeader(f flows.Field) (uint32, error) {
	if int(f) >= len(fieldHeaders) || fieldHeaders[f] == 0 {
		return 0, fmt.Errorf("no encoding of %s is known", f)
	}
	return fieldHeaders[f], nil
}
