// Package seal keeps secrets unreadable wherever they are kept. Values are
// sealed with their app's data key, data keys are wrapped with the cluster's
// key, and that key is a file on the nodes: who has only the database, a dump
// of it, or a node's copy of the catalog has nothing to open them with.
//
// Everything is XChaCha20-Poly1305 with a random nonce, bound to what it is by
// associated data: a data key works for its app alone, a value under its own
// name alone. A sealed blob is a version byte, the nonce and the ciphertext.
package seal
