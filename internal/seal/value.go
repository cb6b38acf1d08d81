package seal

import "encoding/hex"

// Seal returns the sealed form of a value of the cluster's own, which opens only for the
// same purpose: "ca-key".
func (k *ClusterKey) Seal(purpose string, value []byte) []byte {
	return k.box.seal(value, "picloud/cluster/"+purpose)
}

// Open returns the value that was sealed for a purpose, or ErrOpen.
func (k *ClusterKey) Open(purpose string, sealed []byte) ([]byte, error) {
	return k.box.open(sealed, "picloud/cluster/"+purpose)
}

// Text returns the key as its file holds it, for a node that joins the cluster.
func (k *ClusterKey) Text() string { return prefix + hex.EncodeToString(k.raw[:]) + "\n" }

// Parse reads the text of a key. It reports whether the text is one.
func Parse(text string) (*ClusterKey, bool) { return parse(text) }
