package module

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
)

var (
	timeInvalid = Fault{"time_invalid", "the time does not exist, or it is outside the years 1 to 9999"}
	zoneUnknown = Fault{"time_zone_unknown", "the zone does not exist"}
)

const layoutDoc = "A layout is written as the reference time Mon Jan 2 15:04:05 2006 -0700 would be (`2006-01-02 15:04`), or is `rfc3339` (the default), `date` (2006-01-02), " +
	"`time` (15:04:05), `datetime` (2006-01-02 15:04:05), `http` or `rfc1123` (Mon, 02 Jan 2006 15:04:05 GMT), `rfc1123z` or `rfc2822` (… -0700). " +
	"A layout of another kind, such as `YYYY-MM-DD` or `%Y-%m-%d`, is `invalid_arguments`."

func timeModule() Module {
	zone := Arg{Name: "zone", Type: "string", Optional: true}
	return Module{
		Name: "time",
		Doc: "Times and durations. A zone is `UTC` (the default), a name of the IANA database such as `Europe/Vienna`, or an offset such as `+02:00`. " +
			"Durations are seconds, or text: `\"1h30m\"`, `\"250ms\"`, `\"7d\"`, `\"2w\"`; a day has 24 hours.",
		Functions: []Function{
			{
				Name: "now", Args: []Arg{zone}, Returns: "time",
				Doc:     "The current time, to the microsecond.",
				Errors:  []Fault{zoneUnknown},
				Example: example(`time.now() > time.date(2026, 1, 1)   // → true`, `time.now().rfc3339                   // → "2…Z"`, `time.now("Mars/Base")                // → error time_zone_unknown`),
				call: func(a *arguments) (object.Object, error) {
					return a.at(time.Now().UTC().Truncate(time.Microsecond), a.textOr(0, ""))
				},
			},
			{
				Name: "parse", Args: []Arg{{Name: "text", Type: "string"}, {Name: "layout", Type: "string", Optional: true}, zone}, Returns: "time",
				Doc:     "Read a time. Text without an offset is in the zone. Without a layout: RFC 3339, or a date. " + layoutDoc,
				Errors:  []Fault{timeInvalid, zoneUnknown},
				Example: example(`time.parse("2026-03-29T10:00:00+02:00").unix                            // → 1774771200`, `time.parse("2026-03-29").rfc3339                                        // → "2026-03-29T00:00:00Z"`, `time.parse("29.3.2026 4:05", "2.1.2006 15:04", "Europe/Vienna").rfc3339   // → "2026-03-29T04:05:00+02:00"`, `time.parse("2026-02-30")                                                // → error time_invalid`),
				call:    parseTime,
			},
			{
				Name: "unix", Args: []Arg{{Name: "seconds", Type: "int|float"}, zone}, Returns: "time",
				Doc:     "The time that many seconds after 1970 began in UTC.",
				Errors:  []Fault{timeInvalid, zoneUnknown},
				Example: example(`time.unix(1774771200).rfc3339         // → "2026-03-29T08:00:00Z"`, `time.unix(0.25).rfc3339               // → "1970-01-01T00:00:00.25Z"`),
				call:    unixTime,
			},
			{
				Name: "unix_ms", Args: []Arg{{Name: "milliseconds", Type: "int"}, zone}, Returns: "time",
				Doc:     "The time that many milliseconds after 1970 began in UTC.",
				Errors:  []Fault{timeInvalid, zoneUnknown},
				Example: `time.unix_ms(1774771200500).rfc3339   // → "2026-03-29T08:00:00.5Z"`,
				call: func(a *arguments) (object.Object, error) {
					return a.at(time.UnixMilli(a.int(0, 0)).UTC(), a.textOr(1, ""))
				},
			},
			{
				Name: "date", Args: []Arg{{Name: "year", Type: "int"}, {Name: "month", Type: "int"}, {Name: "day", Type: "int"}, {Name: "options", Type: "map", Optional: true}}, Returns: "time",
				Doc:     "A time by its parts. Options: `hour`, `minute`, `second`, `zone`.",
				Errors:  []Fault{timeInvalid, zoneUnknown},
				Example: example(`time.date(2026, 3, 29, {hour: 9, zone: "Europe/Vienna"}).rfc3339   // → "2026-03-29T09:00:00+02:00"`, `time.date(2026, 2, 29)                                             // → error time_invalid`),
				call:    dateTime,
			},
			{
				Name: "seconds", Args: []Arg{{Name: "duration", Type: "string|int|float"}}, Returns: "float",
				Doc:     "A duration in seconds.",
				Example: example(`time.seconds("1h30m")     // → 5400`, `time.seconds("1w2d")      // → 777600`, `time.seconds("soon")      // → error invalid_arguments`),
				call: func(a *arguments) (object.Object, error) {
					return object.NewFloat(a.duration().Seconds()), nil
				},
			},
			{
				Name: "sleep", Args: []Arg{{Name: "duration", Type: "string|int|float"}}, Returns: "null",
				Doc:     "Wait, at most until the call's time is up. It costs time and one of the function's `concurrency`, but no processor.",
				Example: `time.sleep("10ms")   // → null`,
				call: func(a *arguments) (object.Object, error) {
					d := a.duration()
					if a.fault != nil || d <= 0 {
						return object.Nil, nil
					}
					return object.Nil, AccessOf(a.ctx).Host.Sleep(d)
				},
			},
		},
		Types: []*Type{timeType()},
	}
}

// at returns a time in a zone, for the script.
func (a *arguments) at(t time.Time, zone string) (object.Object, error) {
	if zone != "" {
		place, err := zoneNamed(zone)
		if err != nil {
			return nil, err
		}
		t = t.In(place)
	}
	return timeValue(t)
}

// timeValue refuses years that have no form in RFC 3339.
func timeValue(t time.Time) (object.Object, error) {
	if year := t.Year(); year < 1 || year > 9999 {
		return nil, hostcall.Errorf("time_invalid", "the time is outside the years 1 to 9999")
	}
	return &moment{t: t}, nil
}

var layouts = map[string]string{
	"":     time.RFC3339Nano,
	"date": time.DateOnly, "time": time.TimeOnly, "datetime": time.DateTime, "rfc3339": time.RFC3339Nano,
	"http": "Mon, 02 Jan 2006 15:04:05 GMT", "rfc1123": "Mon, 02 Jan 2006 15:04:05 GMT", "rfc1123z": time.RFC1123Z, "rfc2822": time.RFC1123Z,
}

// otherLayouts are parts of layouts as other languages write them. In a layout of ours
// they would be text.
var otherLayouts = []string{"YYYY", "yyyy", "DD", "HH:", "hh:", ":mm", ":ss", "%Y", "%y", "%m", "%d", "%H", "%M", "%S"}

// Two times that differ in everything that a layout can show.
var (
	layoutProbe1 = time.Date(2001, 1, 1, 1, 1, 1, 111111111, time.UTC)
	layoutProbe2 = time.Date(2012, 12, 22, 22, 22, 22, 222222222, time.FixedZone("PROBE", 5*3600+1800))
)

// isLayout reports whether a layout shows anything of a time, and nothing in the way
// of other languages.
func isLayout(layout string) bool {
	for _, part := range otherLayouts {
		if strings.Contains(layout, part) {
			return false
		}
	}
	return layoutProbe1.Format(layout) != layoutProbe2.Format(layout)
}

func notLayout(layout string) string {
	return fmt.Sprintf("the layout %q is not written with the reference time: write how 2006-01-02 15:04:05 would look, such as \"02.01.2006\"", data.Shorten(layout, 80))
}

func parseTime(a *arguments) (object.Object, error) {
	text, layout := a.text(0), a.textOr(1, "")
	place, err := zoneNamed(a.textOr(2, ""))
	if err != nil {
		return nil, err
	}
	form := layout
	if known, ok := layouts[layout]; ok {
		form = known
	} else if !isLayout(layout) {
		return nil, a.invalid(notLayout(layout))
	}
	if layout == "" && len(text) == len(time.DateOnly) {
		form = time.DateOnly
	}
	if len(text) > 200 || len(form) > 200 {
		return nil, hostcall.Errorf("time_invalid", "the text or the layout is too long to be a time")
	}
	t, err := time.ParseInLocation(form, text, place)
	if err != nil {
		return nil, hostcall.Errorf("time_invalid", "%s", data.Shorten(err.Error(), 300))
	}
	if name, offset := t.Zone(); t.Location() != place && offset == 0 {
		// Go takes any abbreviation that the zone does not have for UTC.
		if name != "" && name != "UTC" && name != "GMT" {
			return nil, hostcall.Errorf("time_invalid", "the zone does not know %s; name the zone, or write the offset", data.Shorten(name, 20))
		}
		t = t.UTC()
	}
	return timeValue(t)
}

func unixTime(a *arguments) (object.Object, error) {
	const most = 1 << 38 // beyond the year 9999
	var t time.Time
	switch v := a.values[0].(type) {
	case *object.Int:
		t = time.Unix(min(max(v.Value(), -most), most), 0)
	case *object.Float:
		if f := v.Value(); math.IsNaN(f) || math.Abs(f) > most {
			return nil, hostcall.Errorf("time_invalid", "the time is outside the years 1 to 9999")
		}
		whole, part := math.Modf(v.Value())
		t = time.Unix(int64(whole), int64(math.Round(part*1e6))*1000)
	default:
		return nil, a.wrong(0, "a number")
	}
	return a.at(t.UTC(), a.textOr(1, ""))
}

func dateTime(a *arguments) (object.Object, error) {
	year, month, day := a.int(0, 0), a.int(1, 0), a.int(2, 0)
	o := a.options(3, "hour", "minute", "second", "zone")
	hour, minute, second := o.int("hour", 0, 0, 23), o.int("minute", 0, 0, 59), o.int("second", 0, 0, 59)
	place, err := zoneNamed(o.text("zone", ""))
	switch {
	case err != nil:
		return nil, err
	case a.fault != nil:
		return nil, a.fault
	case year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31:
		return nil, hostcall.Errorf("time_invalid", "the date does not exist")
	}
	t := time.Date(int(year), time.Month(month), int(day), int(hour), int(minute), int(second), 0, place)
	if t.Day() != int(day) {
		return nil, hostcall.Errorf("time_invalid", "the month has fewer days")
	}
	return timeValue(t)
}
