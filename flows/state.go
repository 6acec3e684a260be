package flows

// State is what flows can see of a packet: its header fields and what it
// carries along, by Field. All of them have 64 bits at most. A field that the
// packet does not have is 0.
type State [numFields]uint64

// Get returns some bits of a field.
func (s *State) Get(b Bits) uint64 { return s[b.Field] >> b.Ofs & mask(b.N) }

// Set changes some bits of a field, and of the fields that overlap with it.
func (s *State) Set(b Bits, value uint64) {
	s[b.Field] = s[b.Field]&^(mask(b.N)<<b.Ofs) | value&mask(b.N)<<b.Ofs
	switch b.Field {
	case RegOption:
		s[RegFlags], s[RegPorts] = s[RegOption]>>32, s[RegOption]&mask(32)
	case RegFlags, RegPorts:
		s[RegOption] = s[RegFlags]<<32 | s[RegPorts]
	}
}

// Matches reports whether a flow matches the packet.
func (s *State) Matches(f *Flow) bool {
	for _, m := range f.Match {
		if s[m.Field]&m.Mask.Lo != m.Value.Lo {
			return false
		}
	}
	return true
}

func mask(bits uint16) uint64 { return 1<<bits - 1 }
