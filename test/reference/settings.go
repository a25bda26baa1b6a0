package main

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.opentelemetry.io/collector/config/configopaque"
)

// module is where types are ours, and are described key by key.
const module = "github.com/tallymanhq/tallyman/"

// row is one setting.
type row struct{ key, typ, fallback, text string }

// elsewhere are keys that docs/metrics.md has.
var elsewhere = map[string]bool{"metrics": true, "events": true, "resource_attributes": true}

// settings are the rows of a component's default configuration.
func settings(config any, c *comments) ([]row, error) {
	value := reflect.Indirect(reflect.ValueOf(config))
	if !value.IsValid() {
		return nil, nil
	}
	w := walker{comments: c}
	err := w.fields("", value)
	return w.rows, err
}

type walker struct {
	comments *comments
	rows     []row
}

// fields adds the rows of one struct.
func (w *walker) fields(prefix string, value reflect.Value) error {
	texts, err := w.comments.of(value.Type())
	if err != nil {
		return err
	}
	for i := range value.NumField() {
		field := value.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
		switch {
		case !field.IsExported(), name == "-":
			continue
		case strings.Contains(options, "squash"):
			err = w.fields(prefix, value.Field(i))
		case name == "":
			return fmt.Errorf("%s.%s has no mapstructure name", value.Type(), field.Name)
		case elsewhere[name] && strings.Contains(field.Type.PkgPath(), "/metadata"):
			continue
		default:
			err = w.field(row{key: prefix + name, text: texts[field.Name]}, value.Field(i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// field adds a setting, or those below it: of a block of ours, and of each entry of
// a list of such blocks.
func (w *walker) field(r row, value reflect.Value) error {
	typ := value.Type()
	r.fallback = fallback(value)
	r.typ = typeName(typ)
	below := typ
	list := typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map
	if list || typ.Kind() == reflect.Pointer {
		below = typ.Elem()
	}
	if below.Kind() != reflect.Struct || !ours(below) {
		if r.text == "" && strings.HasSuffix(r.key, ".enabled") {
			r.text = "switches it on."
		}
		w.rows = append(w.rows, r)
		return nil
	}
	if r.text == "" {
		said, err := w.comments.block(below)
		if err != nil {
			return err
		}
		r.text = said
	}
	if typ.Kind() == reflect.Struct {
		r.fallback = ""
	}
	r.typ = "block"
	if list {
		r.typ = "list of blocks"
		r.key += "[]"
	}
	w.rows = append(w.rows, r)
	inner := value
	if typ.Kind() != reflect.Struct {
		inner = reflect.New(below).Elem()
	}
	return w.fields(r.key+".", inner)
}

func ours(t reflect.Type) bool { return strings.HasPrefix(t.PkgPath(), module) }

var text = reflect.TypeFor[encoding.TextUnmarshaler]()

// typeName is what a person writing YAML has to know of a type.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[configopaque.String]():
		return "text, secret"
	case t.Implements(text), reflect.PointerTo(t).Implements(text):
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Struct:
		return "[" + t.String() + "](https://pkg.go.dev/" + t.PkgPath() + ")"
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "map to " + typeName(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true, false"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Interface:
		return "anything"
	}
	return "integer"
}

// fallback is a default, as YAML has it; nothing where there is none.
func fallback(value reflect.Value) string {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Struct:
		return ""
	case reflect.Slice, reflect.Map:
		if value.Len() == 0 {
			return ""
		}
		var all []string
		if value.Kind() == reflect.Map {
			return fmt.Sprintf("%d entries", value.Len())
		}
		for i := range value.Len() {
			all = append(all, fmt.Sprint(value.Index(i).Interface()))
		}
		return "`[" + strings.Join(all, ", ") + "]`"
	case reflect.String:
		if value.Len() == 0 {
			return ""
		}
	}
	return "`" + fmt.Sprint(value.Interface()) + "`"
}
