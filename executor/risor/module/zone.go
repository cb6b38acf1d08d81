package module

import (
	"errors"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // the worker can open no files; it is read where it lies, when a zone is asked for

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
)

// maxZones bounds the zones that are kept.
const maxZones = 64

// zones keeps what was looked up. Zones are immutable.
var zones = struct {
	sync.Mutex
	known map[string]*time.Location
}{known: map[string]*time.Location{}}

// zoneNamed returns the zone of a name or an offset; UTC for "".
func zoneNamed(name string) (*time.Location, error) {
	if name == "" || name == "UTC" || name == "Z" {
		return time.UTC, nil
	}
	zones.Lock()
	defer zones.Unlock()
	if known, ok := zones.known[name]; ok {
		return known, nil
	}
	place, ok := offsetZone(name)
	if !ok {
		var err error
		// "Local" is the node's, and nobody's business.
		if len(name) > 64 || strings.EqualFold(name, "local") {
			err = errors.New("no zone")
		} else {
			place, err = time.LoadLocation(name)
		}
		if err != nil {
			return nil, hostcall.Errorf("time_zone_unknown", "the zone %q does not exist", data.Shorten(strings.ToValidUTF8(name, "�"), 80))
		}
	}
	if len(zones.known) >= maxZones {
		clear(zones.known)
	}
	zones.known[name] = place
	return place, nil
}

// offsetZone reads "+02:00".
func offsetZone(name string) (*time.Location, bool) {
	if len(name) != len("+02:00") || name[0] != '+' && name[0] != '-' {
		return nil, false
	}
	t, err := time.Parse("-07:00", name)
	if err != nil {
		return nil, false
	}
	_, offset := t.Zone()
	if offset == 0 {
		return time.UTC, true
	}
	return time.FixedZone("", offset), true
}
