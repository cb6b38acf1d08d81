// Package broker answers what scripts ask of their node: secrets, keys of the
// key-value store, and requests to other servers. It also holds the cluster's key,
// which seals secrets (Vault).
//
// A function has Grants, which say what it may have. They belong to one life of its
// app: when the app is deleted, its life ends, and every host call under those grants
// is refused from then on. An app that comes back under the same name has a new life.
//
// The broker knows no database. The hall gives it the store of keys once the database
// is reached; until then kv calls are refused with kv_unavailable.
package broker
