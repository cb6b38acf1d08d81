// Package seal encrypts secrets (envelope encryption). A value is sealed with its
// app's data key. A data key is wrapped with the cluster's key, which is a file on
// each node. The database, a dump of it, or a node's copy of the catalog is not
// enough to open a secret.
//
// The cipher is XChaCha20-Poly1305 with a random nonce. Associated data binds a data
// key to its app, and a value to its name. A sealed blob is a version byte, the nonce
// and the ciphertext.
package seal
