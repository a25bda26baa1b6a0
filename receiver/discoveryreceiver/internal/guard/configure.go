package guard

import (
	"reflect"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configmiddleware"
	"go.opentelemetry.io/collector/confmap"
)

// middlewaresKey is the setting of confighttp that names the guard.
const middlewaresKey = "middlewares"

// Configure puts the guard into what is given for a receiver, in place of any
// middlewares that stand there. It returns whether all that this receiver does by
// HTTP is guarded then, as far as its configuration tells: the settings of one client
// stand at its top, and no other client's anywhere below. If not, given stays as it
// is. defaults is a fresh configuration, which is written to.
func Configure(given *confmap.Conf, defaults component.Config) bool {
	setting := confmap.NewFromStringMap(map[string]any{
		middlewaresKey: []any{map[string]any{"id": id().String()}},
	})
	if setting.Unmarshal(defaults) != nil { // it knows no such setting
		return false
	}
	client, others := clients(reflect.ValueOf(defaults))
	if client == nil || others || !slices.Equal(client.Middlewares, []configmiddleware.Config{{ID: id()}}) {
		return false
	}
	return given.Merge(setting) == nil
}

// clients returns the settings of the HTTP client that stand at the top of a
// configuration, nil if there are none, and whether there may be some elsewhere.
// A server's settings have middlewares as well, so that the name alone says nothing.
func clients(v reflect.Value) (top *confighttp.ClientConfig, others bool) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || !v.CanAddr() {
		return nil, false
	}
	if client, ok := v.Addr().Interface().(*confighttp.ClientConfig); ok {
		return client, false
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !isSquashed(field) {
			others = others || holdsClient(field.Type, map[reflect.Type]bool{})
			continue
		}
		client, more := clients(v.Field(i))
		others = others || more || client != nil && top != nil
		if client != nil {
			top = client
		}
	}
	return top, others
}

// isSquashed tells whether a field's settings stand among those around it.
func isSquashed(field reflect.StructField) bool {
	_, options, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
	return field.IsExported() && slices.Contains(strings.Split(options, ","), "squash")
}

// holdsClient looks at types, so that it also finds what a configuration may have
// and its default has not: in lists and maps, behind pointers, and in optionals.
func holdsClient(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == reflect.TypeFor[confighttp.ClientConfig]() {
		return true
	}
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return holdsClient(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsClient(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}
