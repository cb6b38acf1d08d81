package keys

// PrefixEnd is the end of the range of keys with a prefix.
func PrefixEnd(prefix string) string { return prefixEnd(prefix) }

// ReadInteger and AppendInteger are the CBOR of integers.
var (
	ReadInteger   = readInteger
	AppendInteger = appendInteger
)

// SQLList is the query of a list.
const SQLList = sqlKVList
