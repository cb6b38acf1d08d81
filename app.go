package picloud

import "time"

// DefaultApp is the app that the CLI uses when none is named.
const DefaultApp = "default"

// App is a group of functions that share members, executor processes and
// memory. Its name is its identity.
type App struct {
	Name      string      `json:"name"`
	Settings  AppSettings `json:"settings"`
	Rev       int64       `json:"rev"` // catalog revision of the last change of settings, env or secrets; the ETag
	CreatedAt time.Time   `json:"created_at"`
}

// AppContents counts what an app holds, and so what goes with it when it is deleted.
type AppContents struct {
	Functions int `json:"functions"`
	Members   int `json:"members"`
	Variables int `json:"variables"` // of the app; a function's own go with the function
	Secrets   int `json:"secrets"`
	Keys      int `json:"keys"` // in the key-value store, those that have expired and are not yet removed among them
}

// AppSettings are what an app's functions have in common.
type AppSettings struct {
	// Limits stand below those of the app's functions.
	Limits Limits `json:"limits,omitzero"`
	// KV bounds the app's key-value store.
	KV KVQuota `json:"kv,omitzero"`
}

// Check returns an error that lists every setting that is out of its range.
func (s AppSettings) Check() error {
	fields := s.Limits.fields()
	if s.KV.Bytes < 0 || s.KV.Bytes > 16<<30 {
		fields = append(fields, FieldError{"kv.bytes", "must be between 1B and 16GiB"})
	}
	if s.KV.Keys < 0 || s.KV.Keys > 10_000_000 {
		fields = append(fields, FieldError{"kv.keys", "must be between 1 and 10000000"})
	}
	return checked("check settings", fields)
}

// AppConfig is what nodes need of an app beside its functions. Without the cluster's
// key only names, settings and variables in it are readable.
type AppConfig struct {
	App      string      `json:"app"`
	Settings AppSettings `json:"settings,omitzero"`
	Env      Env         `json:"env,omitempty"`
	// Key is the app's data key, wrapped by the cluster's; empty: it has none yet.
	Key []byte `json:"key,omitempty"`
	// Secrets are the sealed values by name.
	Secrets map[string][]byte `json:"secrets,omitempty"`
	Rev     int64             `json:"rev"`
}
