package openflow

import (
	"encoding/binary"
	"fmt"
	"io"
)

// helloBitmap is the type of the element of a HELLO that lists versions.
const helloBitmap = 1

// hello negotiates the version on a fresh connection to bridge.
func hello(bridge string, w io.Writer, r io.Reader, buf []byte) error {
	b := appendHeader(nil, typeHello, 0)
	b = append(b, 0, helloBitmap, 0, 8)
	b = binary.BigEndian.AppendUint32(b, 1<<version)
	if err := endMessage(b, 0); err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	m, err := readMessage(r, buf)
	switch {
	case err != nil:
		return err
	case m.typ == typeError:
		return decodeError(m.body)
	case m.typ != typeHello:
		return fmt.Errorf("message of type %d in the place of a HELLO", m.typ)
	case !offers(m):
		return fmt.Errorf("it does not offer OpenFlow 1.4; `ovs-vsctl add bridge %s protocols OpenFlow14` makes it", bridge)
	}
	return nil
}

// offers reports whether the HELLO of the other side leaves room for our
// version: it has a bitmap with it, or, without a bitmap, ours is the lower.
func offers(m message) bool {
	for b := m.body; len(b) >= 4; {
		typ, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			break
		}
		if typ == helloBitmap && n >= 8 {
			return binary.BigEndian.Uint32(b[4:])&(1<<version) != 0
		}
		b = b[min(len(b), (n+7)&^7):]
	}
	return m.version >= version
}
