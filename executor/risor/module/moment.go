package module

import (
	"strings"
	"sync"
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/data"
)

// moment is a time with a zone.
type moment struct {
	readonly
	t time.Time
}

var (
	_ object.Comparable = (*moment)(nil)
	_ object.Object     = (*moment)(nil)
	_ data.Texted       = (*moment)(nil)
)

func (m *moment) AsText() string { return m.t.Format(time.RFC3339Nano) }

// Type implements object.Object.
func (m *moment) Type() object.Type { return object.TIME }

// Inspect implements object.Object.
func (m *moment) Inspect() string { return m.AsText() }

// String is how it reads inside of text.
func (m *moment) String() string { return m.AsText() }

// Interface implements object.Object.
func (m *moment) Interface() any { return m.t }

// Compare implements object.Comparable.
func (m *moment) Compare(other object.Object) (int, error) {
	o, ok := other.(*moment)
	if !ok {
		return 0, object.TypeErrorf("unable to compare time and %s", other.Type())
	}
	return m.t.Compare(o.t), nil
}

// Equals implements object.Object: the same instant, in whatever zone.
func (m *moment) Equals(other object.Object) bool {
	o, ok := other.(*moment)
	return ok && m.t.Equal(o.t)
}

// Attrs implements object.Object.
func (m *moment) Attrs() []object.AttrSpec { return timeType().specs() }

// GetAttr implements object.Object.
func (m *moment) GetAttr(name string) (object.Object, bool) { return timeType().attr(m, name) }

var timeTypeOnce struct {
	sync.Once
	made *Type
}

func timeType() *Type {
	timeTypeOnce.Do(func() { timeTypeOnce.made = makeTimeType() })
	return timeTypeOnce.made
}

func makeTimeType() *Type {
	number := func(name, doc string, get func(time.Time) int64) Function {
		return Function{Name: name, Returns: "int", Doc: doc, Value: true, call: func(a *arguments) (object.Object, error) {
			return object.NewInt(get(a.self.(*moment).t)), nil
		}}
	}
	text := func(name, doc string, get func(*moment) string) Function {
		return Function{Name: name, Returns: "string", Doc: doc, Value: true, call: func(a *arguments) (object.Object, error) {
			return object.NewString(get(a.self.(*moment))), nil
		}}
	}
	return &Type{
		Name: "time",
		Self: "t",
		Doc:  "A time with a zone. `<`, `==` and their like compare instants; as data (JSON, `kv`, logs) it is text in RFC 3339, which `time.parse` reads.",
		Members: append([]Function{
			number("year", "", func(t time.Time) int64 { return int64(t.Year()) }),
			number("month", "1 to 12", func(t time.Time) int64 { return int64(t.Month()) }),
			number("day", "1 to 31", func(t time.Time) int64 { return int64(t.Day()) }),
			number("hour", "0 to 23", func(t time.Time) int64 { return int64(t.Hour()) }),
			number("minute", "0 to 59", func(t time.Time) int64 { return int64(t.Minute()) }),
			number("second", "0 to 59", func(t time.Time) int64 { return int64(t.Second()) }),
			number("ms", "milliseconds, 0 to 999", func(t time.Time) int64 { return int64(t.Nanosecond() / 1e6) }),
			number("weekday", "1 (Monday) to 7 (Sunday)", func(t time.Time) int64 { return int64((t.Weekday()+6)%7 + 1) }),
			number("yearday", "1 to 366", func(t time.Time) int64 { return int64(t.YearDay()) }),
			number("week", "of the year by ISO 8601, 1 to 53", func(t time.Time) int64 { _, w := t.ISOWeek(); return int64(w) }),
			number("unix", "seconds since 1970 began in UTC", func(t time.Time) int64 { return t.Unix() }),
			number("unix_ms", "milliseconds since then", func(t time.Time) int64 { return t.UnixMilli() }),
			number("offset", "of the zone, in seconds east of UTC", func(t time.Time) int64 { _, o := t.Zone(); return int64(o) }),
			text("zone", "name of the zone, or its offset", zoneOf),
			text("rfc3339", "as text, with as many decimals as it takes", (*moment).AsText),
		}, timeMethods()...),
		Example: example(`let t = time.parse("2026-03-28T23:30:00.25Z").in("Europe/Vienna")`, `[t.year, t.month, t.day, t.hour, t.minute, t.second, t.ms]   // → [2026,3,29,0,30,0,250]`,
			`[t.weekday, t.yearday, t.week, t.offset, t.zone]             // → [7,88,13,3600,"Europe/Vienna"]`, `[t.unix, t.unix_ms]                                          // → [1774740600,1774740600250]`,
			`t                                                            // → "2026-03-29T00:30:00.25+01:00"`, `t.add("4h") > t                                              // → true`),
	}
}

func zoneOf(m *moment) string {
	name := m.t.Location().String()
	if name == "" {
		return m.t.Format("-07:00")
	}
	return name
}

func timeMethods() []Function {
	return []Function{
		{
			Name: "format", Args: []Arg{{Name: "layout", Type: "string"}}, Returns: "string",
			Doc:     "As text, in a layout of `time.parse`.",
			Example: example(`let t = time.parse("2026-03-29T10:00:00Z")`, `t.format("Monday, 2 January 2006")   // → "Sunday, 29 March 2026"`, `t.format("http")                      // → "Sun, 29 Mar 2026 10:00:00 GMT"`, `t.format("YYYY-MM-DD")                // → error invalid_arguments`),
			call:    formatTime,
		},
		{
			Name: "in", Args: []Arg{{Name: "zone", Type: "string"}}, Returns: "time",
			Doc:     "The same instant in another zone.",
			Errors:  []Fault{zoneUnknown},
			Example: example(`let t = time.parse("2026-07-01T10:00:00Z")`, `t.in("America/New_York")   // → "2026-07-01T06:00:00-04:00"`, `t.in("+05:30")             // → "2026-07-01T15:30:00+05:30"`),
			call:    func(a *arguments) (object.Object, error) { return a.at(a.self.(*moment).t, a.text(0)) },
		},
		{
			Name: "add", Args: []Arg{{Name: "duration", Type: "string|int|float|map"}}, Returns: "time",
			Doc: "A time later by a duration, or by a map of `years`, `months`, `days` of the calendar and `hours`, `minutes`, `seconds`. Negative ones go back. " +
				"A day that the month does not have runs over into the next.",
			Errors:  []Fault{timeInvalid},
			Example: example(`let t = time.parse("2026-03-28T12:00:00+01:00").in("Europe/Vienna")`, `t.add("24h")                // → "2026-03-29T13:00:00+02:00"`, `t.add({days: 1})            // → "2026-03-29T12:00:00+02:00"`, `t.add({months: -1, days: 1})   // → "2026-03-01T12:00:00+01:00"`),
			call:    addTime,
		},
		{
			Name: "sub", Args: []Arg{{Name: "other", Type: "time"}}, Returns: "float",
			Doc:     "Seconds since another time.",
			Example: `time.parse("2026-03-29T10:00:00Z").sub(time.parse("2026-03-29"))   // → 36000`,
			call: func(a *arguments) (object.Object, error) {
				o, ok := a.values[0].(*moment)
				if !ok {
					return nil, a.wrong(0, "a time")
				}
				t := a.self.(*moment).t
				return object.NewFloat(float64(t.Unix()-o.t.Unix()) + float64(t.Nanosecond()-o.t.Nanosecond())/1e9), nil
			},
		},
		{
			Name: "truncate", Args: []Arg{{Name: "unit", Type: "string|int|float"}}, Returns: "time",
			Doc:     "The beginning of the `second`, `minute`, `hour`, `day`, `week` (Monday), `month` or `year` in its zone, or the last multiple of a duration.",
			Example: example(`let t = time.parse("2026-03-29T10:47:31Z")`, `t.truncate("hour")    // → "2026-03-29T10:00:00Z"`, `t.truncate("week")    // → "2026-03-23T00:00:00Z"`, `t.truncate("month")   // → "2026-03-01T00:00:00Z"`, `t.truncate("15m")     // → "2026-03-29T10:45:00Z"`),
			call:    truncateTime,
		},
	}
}

func formatTime(a *arguments) (object.Object, error) {
	layout, t := a.text(0), a.self.(*moment).t
	if len(layout) > 200 {
		return nil, a.invalid("the layout is longer than 200 bytes")
	}
	if layout == "http" || layout == "rfc1123" {
		t = t.UTC()
	}
	if known, ok := layouts[layout]; ok {
		layout = known
	} else if !isLayout(layout) {
		return nil, a.invalid(notLayout(layout))
	}
	return object.NewString(t.Format(layout)), nil
}

func addTime(a *arguments) (object.Object, error) {
	t := a.self.(*moment).t
	if _, ok := asMap(a.values[0]); !ok {
		return timeValue(t.Add(a.duration()))
	}
	o := a.options(0, "years", "months", "days", "hours", "minutes", "seconds")
	const most = 1 << 32
	years, months, days := o.int("years", 0, -10_000, 10_000), o.int("months", 0, -120_000, 120_000), o.int("days", 0, -4_000_000, 4_000_000)
	clock := time.Duration(0)
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"hours", time.Hour}, {"minutes", time.Minute}, {"seconds", time.Second}} {
		n := o.int(unit.name, 0, -most, most)
		if limit := int64(maxDuration / unit.length); n > limit || n < -limit {
			_ = a.invalid(unit.name + " is more than 200 years")
			continue
		}
		clock += time.Duration(n) * unit.length
		if clock > maxDuration || clock < -maxDuration {
			return nil, a.invalid("the duration is more than 200 years")
		}
	}
	if years != 0 || months != 0 || days != 0 {
		t = t.AddDate(int(years), int(months), int(days))
	}
	return timeValue(t.Add(clock))
}

func truncateTime(a *arguments) (object.Object, error) {
	t := a.self.(*moment).t
	year, month, day := t.Date()
	unit, _ := a.values[0].(*object.String)
	name := ""
	if unit != nil {
		name = strings.ToLower(unit.Value())
	}
	switch name {
	case "year":
		month, day = 1, 1
	case "month":
		day = 1
	case "week":
		day -= int(t.Weekday()+6) % 7
	case "day":
	case "hour", "minute", "second":
		// Offsets of zones are whole seconds only: take the rest off.
		rest := time.Duration(t.Nanosecond())
		if name != "second" {
			rest += time.Duration(t.Second()) * time.Second
		}
		if name == "hour" {
			rest += time.Duration(t.Minute()) * time.Minute
		}
		return timeValue(t.Add(-rest))
	default:
		d := a.duration()
		if d <= 0 {
			return nil, a.wrong(0, "a unit such as \"day\", or a duration such as \"15m\"")
		}
		return timeValue(t.Truncate(d))
	}
	return timeValue(time.Date(year, month, day, 0, 0, 0, 0, t.Location()))
}
