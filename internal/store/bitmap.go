package store

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

// decodeBitmap reads a set of numbers as the store keeps it: base64 of
// Roaring's portable format (https://github.com/RoaringBitmap/RoaringFormatSpec).
// An empty text is an empty set.
func decodeBitmap(text string) (bits *roaring.Bitmap, err error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	bits = roaring.New()
	if len(raw) == 0 {
		return bits, nil
	}
	// The library trusts offsets that it reads; others write these values.
	defer func() {
		if r := recover(); r != nil {
			bits, err = nil, fmt.Errorf("broken Roaring bitmap: %v", r)
		}
	}()
	n, err := bits.ReadFrom(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if n != int64(len(raw)) {
		return nil, errors.New("broken Roaring bitmap: bytes are left over")
	}
	return bits, bits.Validate()
}

// encodeBitmap is decodeBitmap's inverse.
func encodeBitmap(bits *roaring.Bitmap) string {
	raw, err := bits.ToBytes()
	if err != nil {
		panic(err) // it is written to memory
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// lowestFree returns the first number from low to high that is not in bits.
func lowestFree(bits *roaring.Bitmap, low, high uint32) (uint32, bool) {
	for n := low; n <= high; n++ {
		if !bits.Contains(n) {
			return n, true
		}
	}
	return 0, false
}
