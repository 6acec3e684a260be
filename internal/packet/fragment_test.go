package packet

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"
)

// options of which the first and the third are copied into every fragment.
var options = []layers.IPv4Option{
	{OptionType: 0x94, OptionLength: 4, OptionData: []byte{0, 0}},          // router alert
	{OptionType: 0x07, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}}, // record route
	{OptionType: 0x82, OptionLength: 3, OptionData: []byte{9}},
	{OptionType: 0, OptionLength: 1},
}

func withOptions(_ *layers.Ethernet, ip *layers.IPv4) { ip.Options = options }

// reassemble returns the IP payload of fragments, which come in any order.
func reassemble(t *testing.T, fragments [][]byte) []byte {
	t.Helper()
	defragmenter := ip4defrag.NewIPv4Defragmenter()
	for i, f := range fragments {
		d, err := decode(f)
		if err != nil || !d.whole {
			t.Fatalf("fragment %d: %v\n%x", i, err, f)
		}
		done, err := defragmenter.DefragIPv4WithTimestamp(&d.ip, time.Unix(1, 0))
		if err != nil {
			t.Fatalf("fragment %d: %v", i, err)
		}
		if last := i == len(fragments)-1; (done != nil) != last {
			t.Fatalf("fragment %d of %d: reassembled is %v", i, len(fragments), done != nil)
		} else if last {
			return done.Payload
		}
	}
	t.Fatal("no fragments")
	return nil
}

// TestFragmentReassembles sends random packets through two links of falling
// MTU and puts them together again.
func TestFragmentReassembles(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var edit []func(*layers.Ethernet, *layers.IPv4)
		if random.IntN(2) == 0 {
			edit = append(edit, withOptions)
		}
		frame := udp(random.IntN(6000), edit...)
		d, err := decode(frame)
		if err != nil {
			t.Fatal(err)
		}
		first := 200 + random.IntN(1500)
		second := max(minMTU, first-random.IntN(200))
		var pieces [][]byte
		once, err := Fragment(frame, first)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range once {
			twice, err := Fragment(f, second)
			if err != nil {
				t.Fatal(err)
			}
			pieces = append(pieces, twice...)
		}
		for _, f := range pieces {
			p, err := decode(f)
			switch {
			case err != nil:
				t.Fatal(err)
			case int(p.ip.Length) > second:
				t.Fatalf("a fragment of %d bytes for an MTU of %d", p.ip.Length, second)
			case p.ip.Id != d.ip.Id, p.ip.TTL != d.ip.TTL, p.ip.TOS != d.ip.TOS, !bytes.Equal(f[:14], frame[:14]):
				t.Fatalf("a header that is not the packet's:\n%x\n%x", f, frame)
			}
		}
		if len(pieces) == 1 {
			continue
		}
		random.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		if got := reassemble(t, pieces); !bytes.Equal(got, d.ip.Payload) {
			t.Fatalf("MTU %d, then %d: reassembled\n%x, want\n%x", first, second, got, d.ip.Payload)
		}
	}
}

func TestFragmentOptions(t *testing.T) {
	fragments, err := Fragment(udp(200, withOptions), 100)
	if err != nil {
		t.Fatal(err)
	}
	const all, kept = "94040000 070704 00000000 820309 00 00", "94040000 820309 00"
	for i, f := range fragments {
		want := kept
		if i == 0 {
			want = all
		}
		d, err := decode(f)
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, d.ip.Contents[headerLen:], want)
	}
}

func TestFragmentFits(t *testing.T) {
	frame := udp(1472, df)
	got, err := Fragment(frame, 1500)
	if err != nil || len(got) != 1 || !bytes.Equal(got[0], frame) {
		t.Errorf("%v, %x", err, got)
	}
}

func TestFragmentRefuses(t *testing.T) {
	beyond := udp(2000, func(_ *layers.Ethernet, ip *layers.IPv4) { ip.FragOffset = 8191 })
	for want, refused := range map[string]struct {
		frame []byte
		mtu   int
	}{
		"sender has forbidden it":    {udp(1472, df), 1438},
		"only 986 of its 1500 bytes": {udp(1472)[:1000], 1438},
		"an MTU of 67":               {udp(1472), 67},
		"longest packet":             {beyond, 1438},
		"not IPv4's":                 {ARPRequest(hostMAC, hostIP, routerIP), 1438},
		"total length is 0":          {zeroLength(), 1438},
		"Ethernet header":            {nil, 1438},
	} {
		if got, err := Fragment(refused.frame, refused.mtu); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d fragments and %v, want an error with %q", len(got), err, want)
		}
	}
}

func TestDontFragment(t *testing.T) {
	if !DontFragment(udp(8, df)) || DontFragment(udp(8)) || DontFragment(nil) || DontFragment(ARPRequest(hostMAC, hostIP, routerIP)) {
		t.Error("DF is not what the header says")
	}
}

func FuzzFragment(f *testing.F) {
	f.Add(udp(1472), 1438)
	f.Add(udp(200, withOptions), 68)
	f.Add(udp(60), 68)
	f.Fuzz(func(t *testing.T, frame []byte, mtu int) {
		mend(frame)
		given := slices.Clone(frame)
		fragments, err := Fragment(frame, mtu)
		if !bytes.Equal(frame, given) {
			t.Error("the argument was changed")
		}
		if err != nil {
			return
		}
		var payload []byte
		for _, f := range fragments {
			d, err := decode(f)
			if err != nil {
				t.Fatalf("%x: %v", f, err)
			}
			if int(d.ip.Length) > mtu {
				t.Errorf("%d bytes for an MTU of %d", d.ip.Length, mtu)
			}
			payload = append(payload, d.ip.Payload...)
		}
		if d, err := decode(frame); err != nil || !bytes.Equal(payload, d.ip.Payload) {
			t.Errorf("%v: fragments carry\n%x, want\n%x", err, payload, d.ip.Payload)
		}
	})
}
