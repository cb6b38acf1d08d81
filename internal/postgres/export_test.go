package postgres

// SetBounds makes the bounds of tables small.
func (d *DB) SetBounds(deployments, tombstones int) {
	d.maxDeployments, d.maxTombstones = deployments, tombstones
}

// Explained is what an operation makes of an error of the driver.
func Explained(err error) error { return subject{"do", "it"}.wrap(err) }

// Sealing is how much longer a sealed value is taken to be than the value.
const Sealing = sealing

// PrefixEnd is the end of the range of keys with a prefix.
func PrefixEnd(prefix string) string { return prefixEnd(prefix) }

// ReadInteger and AppendInteger are the CBOR of integers.
var (
	ReadInteger   = readInteger
	AppendInteger = appendInteger
)
