package caddymodule

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddypki"
	"go.uber.org/zap"
)

// caRest is how long the root of the node's own CA must still be valid. Caddy refuses to
// start when that is less than the life of its intermediate certificate, a week.
const caRest = 30 * 24 * time.Hour

// ownCA is the folder of the CA that Caddy makes for certificates of the node's own.
func (h home) ownCA() string {
	return filepath.Join(h.storage(), "pki", "authorities", caddypki.DefaultCAID)
}

// retireCA puts the node's own CA aside when Caddy would not start with it, so that Caddy makes
// a new one: its root ran out, because the board's clock began in 1970 when it was made, or
// the power failed before all of its files were there.
func (h home) retireCA(now time.Time) error {
	dir := h.ownCA()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	why := caTrouble(dir, now)
	if why == nil {
		return nil
	}
	aside := dir + ".old-" + now.UTC().Format("20060102T150405")
	if err := os.Rename(dir, aside); err != nil {
		return fmt.Errorf("put the node's own CA aside: %w", err)
	}
	caddy.Log().Named("picloud").Warn("the node's own CA is made anew; who trusted its root has to trust the new one",
		zap.Error(why), zap.String("put_aside", aside))
	return nil
}

// caTrouble says what is wrong with a CA, nil if nothing is.
func caTrouble(dir string, now time.Time) error {
	for _, name := range []string{"root.crt", "root.key", "intermediate.crt", "intermediate.key"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrPermission) {
			return nil // Caddy says it
		}
		if err != nil {
			return err
		}
		block, rest := pem.Decode(raw)
		if block == nil || name == "root.crt" && len(bytes.TrimSpace(rest)) > 0 {
			return fmt.Errorf("%s is damaged", name)
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s is damaged: %w", name, err)
		}
		if name == "root.crt" && cert.NotAfter.Before(now.Add(caRest)) {
			return fmt.Errorf("its root is valid until %s", cert.NotAfter.Format(time.DateOnly))
		}
	}
	return nil
}
