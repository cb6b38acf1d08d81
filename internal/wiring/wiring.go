// Package wiring finds what was forgotten when parts were put together.
package wiring

import (
	"fmt"
	"reflect"
)

// Check returns an error that names the first field of options, or of a struct
// within, that is required and not set: an interface, a pointer or a function
// without a tag `default`. The tag says what stands in for the field.
func Check(op string, options any) error {
	if field := missing(reflect.ValueOf(options)); field != "" {
		return fmt.Errorf("%s: Options.%s is nil", op, field)
	}
	return nil
}

func missing(v reflect.Value) string {
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		if _, optional := f.Tag.Lookup("default"); optional || !f.IsExported() {
			continue
		}
		switch value.Kind() {
		case reflect.Interface, reflect.Pointer, reflect.Func:
			if value.IsZero() {
				return f.Name
			}
		case reflect.Struct:
			if within := missing(value); within != "" {
				return f.Name + "." + within
			}
		}
	}
	return ""
}
