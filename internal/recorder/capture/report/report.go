package report

import (
	"bytes"
	_ "embed" // the page
	"encoding/json"
	"fmt"
	"html/template"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

// Assets are the script and the style of the web view. Both are trusted: they
// are written into the page as they are.
type Assets interface {
	ReportScript() string
	ReportStyle() string
}

// Data is what a page shows.
type Data struct {
	Manifest *bundle.Manifest `json:"manifest"`
	Marks    []Mark           `json:"marks,omitempty"`
	Plots    []Plot           `json:"plots,omitempty"`
	// Snapshots are only drawn: as JSON they are members of the capture.
	Snapshots []*state.Snapshot `json:"-"`
}

// Mark is one moment on the time line.
type Mark struct {
	At time.Time `json:"at"`
	// Kind is the name of an event or trigger.
	Kind string `json:"kind"`
	// Who is the container's name, Text one sentence.
	Who  string `json:"who,omitempty"`
	Text string `json:"text,omitempty"`
}

// Plot is one picture with lines over the same time.
type Plot struct {
	Title string `json:"title"`
	// Unit is that of the values: By, s, 1, ...
	Unit  string `json:"unit,omitempty"`
	Lines []Line `json:"lines"`
}

// Line is one series.
type Line struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
}

// Point is a value at a time. A value that is not a number cannot be written
// as JSON: leave such points out.
type Point struct {
	// At is in milliseconds since 1970.
	At    int64   `json:"t"`
	Value float64 `json:"v"`
}

//go:embed page.html
var page string

// view is what the template gets beside the data.
type view struct {
	Data
	// JSON is the data: encoding/json writes < and > so that no element can end.
	JSON     template.JS
	Style    template.CSS
	Script   template.JS
	Facts    []fact
	Line     timeline
	Figures  []figure
	Pictures []picture
}

// Render writes the page. Assets may be nil.
func Render(data Data, assets Assets) ([]byte, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("render report: %w", err)
	}
	v := view{
		Data: data, JSON: template.JS(text), Facts: facts(data.Manifest),
		Line: newTimeline(data.Manifest, data.Marks), Pictures: pictures(data),
	}
	if assets != nil {
		v.Style, v.Script = template.CSS(assets.ReportStyle()), template.JS(assets.ReportScript())
	}
	for _, p := range data.Plots {
		v.Figures = append(v.Figures, draw(p, data.Manifest))
	}
	tmpl, err := template.New("report").Funcs(template.FuncMap{"clock": clock, "day": day, "bytes": size, "what": what}).Parse(page)
	if err != nil {
		return nil, fmt.Errorf("parse report page: %w", err)
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, v); err != nil {
		return nil, fmt.Errorf("render report: %w", err)
	}
	return out.Bytes(), nil
}
