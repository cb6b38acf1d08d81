package api

import "github.com/picloud/picloud/internal/seal"

// sealKey is the cluster key of every test's node.
var sealKey = seal.Generate()

// FreshKey is the Sealer's, with a real key.
func (f *fakeAgent) FreshKey(app string) ([]byte, error) {
	if f.sealErr != nil {
		return nil, f.sealErr
	}
	return sealKey.NewDataKey(app), nil
}

// Seal is the Sealer's.
func (f *fakeAgent) Seal(app, name string, wrapped, value []byte) ([]byte, error) {
	key, err := sealKey.Unwrap(app, wrapped)
	if err != nil {
		return nil, err
	}
	return key.Seal(name, value), nil
}
