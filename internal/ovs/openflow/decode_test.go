package openflow

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// flowStatsReply is a reply to a dump with two flows, the first of which has a
// match, padding and an instruction.
func flowStatsReply(more byte) []byte {
	entry := func(match, rest []byte) []byte {
		b := make([]byte, 48)
		b[2] = 7
		binary.BigEndian.PutUint16(b[12:], 300)
		binary.BigEndian.PutUint64(b[24:], 0x7e7)
		binary.BigEndian.PutUint64(b[32:], 5)
		binary.BigEndian.PutUint64(b[40:], 500)
		b = append(b, 0, 1, 0, byte(4+len(match)))
		b = append(append(b, match...), rest...)
		binary.BigEndian.PutUint16(b, uint16(len(b)))
		return b
	}
	b := []byte{0, multipartFlow, 0, more, 0, 0, 0, 0}
	b = append(b, entry([]byte{0x80, 0, 10, 2, 8, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 8, 9, 0, 0, 0})...)
	return append(b, entry(nil, make([]byte, 4))...)
}

func TestDecodeFlowStats(t *testing.T) {
	var got []FlowStat
	collect := func(s FlowStat) bool { got = append(got, s); return true }
	more, err := decodeFlowStats(message{typ: typeMultipartReply, body: flowStatsReply(multipartMore)}, collect)
	if err != nil || !more || len(got) != 2 {
		t.Fatalf("more %v, error %v, flows %+v", more, err, got)
	}
	if s := got[0]; s.Table != 7 || s.Priority != 300 || s.Cookie != 0x7e7 || s.Packets != 5 || s.Bytes != 500 ||
		!bytes.Equal(s.Match, []byte{0x80, 0, 10, 2, 8, 0}) || len(got[1].Match) != 0 {
		t.Errorf("decoded %+v", got)
	}
	if more, err := decodeFlowStats(message{typ: typeMultipartReply, body: flowStatsReply(0)}, collect); more || err != nil {
		t.Errorf("the last reply: more %v, error %v", more, err)
	}
	for cut := range len(flowStatsReply(0)) {
		if cut == 8 || cut == 8+72 {
			continue // between the parts
		}
		m := message{typ: typeMultipartReply, body: flowStatsReply(0)[:cut]}
		if _, err := decodeFlowStats(m, collect); err == nil {
			t.Errorf("a reply cut after %d bytes was taken", cut)
		}
	}
}

// FuzzDecode feeds whatever the socket can carry to all that reads it.
func FuzzDecode(f *testing.F) {
	seed := func(typ uint8, body []byte) {
		b := append(appendHeader(nil, typ, 1), body...)
		if err := endMessage(b, 0); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(typeHello, []byte{0, helloBitmap, 0, 8, 0, 0, 0, 0x7e})
	seed(typeHello, []byte{0, 9, 0, 5, 1, 0, 0, 0, 0, helloBitmap, 0, 8, 0, 0, 0, 0x5e})
	seed(typeError, []byte{0, 4, 0, 9})
	seed(typeError, []byte{0xff, 0xff, 0, 21, 0, 0, 0x23, 0x20})
	seed(typeMultipartReply, flowStatsReply(multipartMore))
	seed(typeExperimenter, append([]byte{0, 0, 0x23, 0x20, 0, 0, 0, niciraTLVReply, 0, 0, 1, 0, 0, 64},
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xee, 0, 8, 0, 0, 0, 0))
	seed(typeExperimenter, append([]byte{0, 0, 0x23, 0x20, 0, 0, 0, niciraPacketIn2}, packetIn()...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		buf := make([]byte, maxMessageLen)
		for {
			m, err := readMessage(r, buf)
			if err != nil {
				return
			}
			offers(m)
			if decodeError(m.body).Error() == "" {
				t.Error("an error without words")
			}
			total := 0
			decodeFlowStats(m, func(s FlowStat) bool {
				total += flowStatsLen + len(s.Match)
				return true
			})
			if total > len(m.body) {
				t.Errorf("flows of %d bytes in a message of %d", total, len(m.body))
			}
			if isPacketIn(m) {
				if p, err := decodePacketIn(m.body[niciraHeaderLen:]); err == nil && len(p.Data) > len(m.body) {
					t.Errorf("a packet of %d bytes in %d", len(p.Data), len(m.body))
				}
			}
			if ts, err := decodeTLVs(m.body); err == nil && len(ts) != (len(m.body)-24)/8 {
				t.Errorf("%d mappings in %d bytes", len(ts), len(m.body))
			}
		}
	})
}
