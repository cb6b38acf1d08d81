package wire

// CountItems returns how many values there are in an encoded one, nested ones
// and the keys of maps included: what it takes when it is decoded grows with
// that. Of what Unmarshal refuses it counts a part.
func CountItems(b []byte) int {
	items := 0
	for len(b) > 0 {
		items++
		major, info := b[0]&0xe0, b[0]&0x1f
		if info > 27 {
			return items // of indefinite length, or none
		}
		c := cursor{b: b}
		n := c.head(major)
		if c.bad {
			return items
		}
		b = c.b
		if major == majorBytes || major == majorText {
			if n > uint64(len(b)) {
				return items
			}
			b = b[n:]
		}
	}
	return items
}
