package packet

import (
	"bytes"
	"testing"
)

func TestTagged(t *testing.T) {
	frame := []byte("destinsourceXXpayload")
	if got := Tagged(frame, 0x123); string(got) != "destinsource\x81\x00\x01\x23XXpayload" {
		t.Errorf("the frame with a tag is %q", got)
	}
	if string(frame) != "destinsourceXXpayload" {
		t.Errorf("the frame that was given has become %q", frame)
	}
	if short := []byte("short"); !bytes.Equal(Tagged(short, 1), short) {
		t.Errorf("what is no frame has a tag")
	}
}
