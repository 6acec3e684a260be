package openflow

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

// frame is an Ethernet frame of an experimental type whose content n tells
// apart.
func frame(n byte, size int) []byte {
	b := append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, size-14)...)
	b[14] = n
	return b
}

// receive makes a bridge receive a frame by one of its ports.
func receive(o *ovstest.OVS, port string, frame []byte) {
	o.Appctl("netdev-dummy/receive", port, fmt.Sprintf("%x", frame))
}

// received is what arrives at ReceivePackets, in copies.
type received struct {
	packets chan PacketIn
	errs    chan error
}

func receivePackets(t *testing.T, c *Conn) received {
	t.Helper()
	r := received{make(chan PacketIn, 16), make(chan error, 16)}
	err := c.ReceivePackets(t.Context(), func(p PacketIn) {
		p.Data, p.UserData, p.Held = slices.Clone(p.Data), slices.Clone(p.UserData), slices.Clone(p.Held)
		r.packets <- p
	}, func(err error) { r.errs <- err })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

func TestPacketIn(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	c := bridges(t, o, "br0")[0]
	o.Vsctl("add-port", "br0", "p5", "--", "set", "Interface", "p5", "ofport_request=5")
	// A connection that did not ask for packets.
	unasked := make(chan message, 16)
	other := dial(t, o.Mgmt("br0"))
	other.expect(&request{deliver: func(m message) { unasked <- m }})
	in := receivePackets(t, c)

	want := map[flows.Field]uint64{
		flows.InPort: 5, flows.Metadata: 0x123456, flows.TunID: 77, flows.Reg0: 0x0a000001, flows.Reg3: 0x01000009,
		flows.Reg4: 0x80000001, flows.Reg5: 0x00020001, flows.Reg7: 3, flows.Reg1: 0,
	}
	f := &flows.Flow{Table: 7, Priority: 1}
	for _, field := range []flows.Field{flows.Metadata, flows.TunID, flows.Reg0, flows.Reg3, flows.Reg4, flows.Reg5, flows.Reg7} {
		f.Actions = append(f.Actions, flows.Load{Dst: flows.All(field), Value: want[field]})
	}
	f.Actions = append(f.Actions, flows.Punt{Why: flows.TTLExceeded})
	entry := &flows.Flow{Actions: []flows.Action{flows.Resubmit{Table: 7}}}
	if err := c.Commit(t.Context(), []Mod{{Add, entry, 1}, {Add, f, 0x7e7_0000_0000_0002}}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{60, 1514, 9000} {
		sent := frame(byte(size), size)
		receive(o, "p5", sent)
		p := next(t, in.packets)
		if p.Table != 7 || p.Cookie != 0x7e7_0000_0000_0002 || p.FullLen != size ||
			!bytes.Equal(p.UserData, []byte{byte(flows.TTLExceeded)}) || !bytes.Equal(p.Data, sent) {
			t.Errorf("the frame of %d bytes came with %d of %d bytes, table %d, cookie %#x, user data %x", size, len(p.Data), p.FullLen, p.Table, p.Cookie, p.UserData)
		}
		for field, v := range want {
			if got := p.Field(field); got != v {
				t.Errorf("%s is %#x, want %#x", field, got, v)
			}
		}
		if p.Field(200) != 0 {
			t.Error("a field that does not exist has a value")
		}
	}
	if err := other.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(unasked) > 0 {
		t.Errorf("a connection that did not ask for packets received a message of type %d", (<-unasked).typ)
	}
}

func TestPacketOut(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	c := bridges(t, o, "br0")[0]
	file := filepath.Join(o.RunDir(), "p5.pcap")
	o.Vsctl("add-port", "br0", "p5", "--", "set", "Interface", "p5", "ofport_request=5", "options:tx_pcap="+file)
	in := receivePackets(t, c)
	// Through the tables, with a register set, and straight out.
	f := &flows.Flow{Table: 9, Priority: 1, Match: []flows.Match{flows.Exact(flows.Reg0, 7)}, Actions: []flows.Action{flows.Output{Port: 5}}}
	if err := c.Commit(t.Context(), []Mod{{Add, f, 1}}); err != nil {
		t.Fatal(err)
	}
	through, straight := frame(1, 60), frame(2, 1514)
	for _, out := range []struct {
		frame   []byte
		actions []flows.Action
	}{
		{through, []flows.Action{flows.Load{Dst: flows.All(flows.Reg0), Value: 7}, flows.Resubmit{Table: 9}}},
		{straight, []flows.Action{flows.Output{Port: 5}}},
	} {
		if err := c.PacketOut(t.Context(), out.frame, out.actions); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	pcap, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(pcap, through) || !bytes.Contains(pcap, straight) {
		t.Errorf("of the two frames there is %x (error %v)", pcap, err)
	}

	for name, refused := range map[string]struct {
		frame  []byte
		action flows.Action
		want   string
	}{
		"goto":     {through, flows.Goto{Table: 3}, "goto of table 3"},
		"meter":    {through, flows.LimitTo{Meter: 1}, "limit to meter 1"},
		"too long": {make([]byte, 65535), flows.Output{Port: 5}, "longer than an OpenFlow message"},
	} {
		err := c.PacketOut(t.Context(), refused.frame, []flows.Action{refused.action})
		if err == nil || !strings.Contains(err.Error(), refused.want) || !strings.Contains(err.Error(), "packet-out on "+o.Mgmt("br0")) {
			t.Errorf("%s: error is %v, want one with %q", name, err, refused.want)
		}
	}
	if err := c.PacketOut(t.Context(), through, []flows.Action{flows.Output{Port: 0xff12}}); err != nil {
		t.Fatal(err)
	}
	if err := next(t, in.errs); !strings.Contains(err.Error(), "OFPBAC_BAD_OUT_PORT") {
		t.Errorf("a port that cannot be is refused with %v", err)
	}
}

// packetIn is the content of a packet-in with all properties, in which one of
// a kind that is not known stands between the others.
func packetIn() []byte {
	var b []byte
	add := func(typ byte, content ...byte) {
		b = append(b, 0, typ, 0, byte(4+len(content)))
		b = append(b, content...)
		b = append(b, make([]byte, -len(b)&7)...)
	}
	add(packetInPacket, frame(1, 60)...)
	add(packetInFullLen, 0, 0, 0, 100)
	add(2, 0, 0, 0, 9)
	add(packetInTable, 7)
	add(packetInCookie, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	add(5, 1)
	add(99, 1, 2, 3)
	metadata := binary.BigEndian.AppendUint32(nil, oxm(0xffff, 3, 6)) // an experimenter's
	metadata = append(metadata, 0x4f, 0x4e, 0x46, 0, 1, 2)
	metadata = binary.BigEndian.AppendUint32(metadata, fieldHeaders[flows.Reg0])
	metadata = append(metadata, 0x0a, 0, 0, 1)
	add(packetInMetadata, metadata...)
	add(packetInUserData, 3)
	return b
}

func TestDecodePacketIn(t *testing.T) {
	p, err := decodePacketIn(packetIn())
	if err != nil || !bytes.Equal(p.Data, frame(1, 60)) || p.FullLen != 100 || p.Table != 7 || p.Cookie != 0x0102030405060708 ||
		p.Field(flows.Reg0) != 0x0a000001 || !bytes.Equal(p.UserData, []byte{3}) {
		t.Errorf("decoded %+v, error %v", p, err)
	}
	if p, err := decodePacketIn(nil); err != nil || p.FullLen != 0 {
		t.Errorf("a packet-in without properties is %+v, error %v", p, err)
	}
	for name, b := range map[string][]byte{
		"cut header":     {0, 0, 0},
		"short property": {0, 0, 0, 3, 0, 0, 0, 0},
		"long property":  {0, 0, 0, 9, 0, 0, 0, 0},
		"long table":     {0, packetInTable, 0, 6, 1, 2, 0, 0},
		"short cookie":   {0, packetInCookie, 0, 8, 0, 0, 0, 0},
		"short length":   {0, packetInFullLen, 0, 6, 0, 0, 0, 0},
		"cut field":      {0, packetInMetadata, 0, 7, 0, 1, 0, 0},
		"long field":     {0, packetInMetadata, 0, 8, 0, 1, 0, 4},
	} {
		if p, err := decodePacketIn(b); err == nil {
			t.Errorf("%s: decoded %+v", name, p)
		}
	}
}

// TestPacketInMalformed: one that cannot be read is reported, and the
// connection goes on.
func TestPacketInMalformed(t *testing.T) {
	c := dial(t, listen(t, func(p *peer) {
		p.hello()
		for _, typ := range []uint8{typeExperimenter, typeBarrierRequest, typeSetConfig, typeBarrierRequest} {
			if m := p.receive(typ); typ == typeBarrierRequest {
				p.send(version, typeBarrierReply, m.xid)
			}
		}
		header := []byte{0, 0, 0x23, 0x20, 0, 0, 0, niciraPacketIn2}
		p.send(version, typeExperimenter, 0, append(header, 0, 0, 0, 3)...)
		p.send(version, typeExperimenter, 0, 0, 0, 0x23)                 // no message of anybody's
		p.send(version, typeExperimenter, 0, append(header[:7:7], 1)...) // another one of Nicira's
		p.send(version, typeExperimenter, 0, append(header, packetIn()...)...)
	}))
	in := receivePackets(t, c)
	if err := next(t, in.errs); !strings.Contains(err.Error(), "packet-in on "+c.path+": malformed") {
		t.Errorf("the error is %v", err)
	}
	if p := next(t, in.packets); p.Table != 7 {
		t.Errorf("received %+v", p)
	}
	if len(in.errs) > 0 {
		t.Errorf("another error: %v", <-in.errs)
	}
}

// A packet that waits goes on with what follows, under the flags that the agent
// gives it, and not before.
func TestHold(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	c := bridges(t, o, "br0")[0]
	file := filepath.Join(o.RunDir(), "p6.pcap")
	o.Vsctl("add-port", "br0", "p5", "--", "set", "Interface", "p5", "ofport_request=5",
		"--", "add-port", "br0", "p6", "--", "set", "Interface", "p6", "ofport_request=6", "options:tx_pcap="+file)
	in := receivePackets(t, c)
	const traced, marked = flows.FlagTraced | 7<<16, flows.FlagTraced | 7<<16 | 9<<8
	for i, f := range []*flows.Flow{
		{Actions: []flows.Action{
			flows.Load{Dst: flows.All(flows.RegFlags), Value: traced}, flows.Hold{Why: flows.Traced, Table: 3}, flows.Resubmit{Table: 4}}},
		{Table: 4, Priority: 1, Match: []flows.Match{flows.Exact(flows.RegFlags, marked)}, Actions: []flows.Action{flows.Output{Port: 6}}},
	} {
		if err := c.Commit(t.Context(), []Mod{{Add, f, uint64(i + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	sent := frame(1, 60)
	receive(o, "p5", sent)
	p := next(t, in.packets)
	if p.Held == nil || !bytes.Equal(p.UserData, []byte{byte(flows.Traced), 3}) || p.Field(flows.RegFlags) != traced {
		t.Fatalf("held: %v, user data %x, flags %#x", p.Held != nil, p.UserData, p.Field(flows.RegFlags))
	}
	if err := c.Resume(t.Context(), p.Held, flows.Reg1, 1); err == nil {
		t.Error("a register that the packet does not have was changed")
	}
	if err := c.Resume(t.Context(), p.Held, flows.RegFlags, marked); err != nil {
		t.Fatal(err)
	}
	if err := c.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	pcap, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(pcap, sent) {
		t.Errorf("the frame did not go on: %x (error %v)", pcap, err)
	}
}
