package web

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// reportEntry is the module that report.html runs.
const reportEntry = "js/report.mjs"

// plotScript is the one vendored file that is no module; it sets uPlot.
const plotScript = "vendor/uPlot.iife.min.js"

// Report is the script and the style of report.html, which has no server.
type Report struct{ script, style string }

// Report returns what report.html of a capture puts inline.
func (v *View) Report() Report { return v.report }

// ReportScript returns one script, without a module or an address in it, that
// may stand between <script> and </script>.
func (r Report) ReportScript() string { return r.script }

// ReportStyle returns one style sheet that may stand between <style> and
// </style>.
func (r Report) ReportStyle() string { return r.style }

// The forms in which our modules import and export. What else begins with
// import or export is an error: the joined script would lack it.
//
//	import { a, b as c } from "./x.mjs";
//	import * as x from "./x.mjs";
//	export function f ...   export async function f ...   export class C ...   export const K ...
//	export { a, b as c };   (also at the end of the minified module)
var (
	importForm   = regexp.MustCompile(`(?m)^import (?:\{([^}]*)\}|\* as (\w+)) from "([^"]+)";$`)
	exportForm   = regexp.MustCompile(`(?m)^export (async function|function|class|const) (\w+)`)
	exportList   = regexp.MustCompile(`\bexport ?\{([^}]*)\};?`)
	leftOver     = regexp.MustCompile(`(?m)^\s*(?:import|export)\b`)
	closesScript = regexp.MustCompile(`(?i)<(/script|!--)`)
)

// joiner puts modules behind each other, each after what it imports.
type joiner struct {
	root fs.FS
	// state of a module: absent, open (its imports are being read), done.
	state map[string]string
	out   strings.Builder
}

// join builds the report's script and style from the files of the view.
func join(root fs.FS) (Report, error) {
	plot, err := fs.ReadFile(root, plotScript)
	if err != nil {
		return Report{}, fmt.Errorf("join report: %w", err)
	}
	j := &joiner{root: root, state: map[string]string{}}
	j.out.WriteString("(() => {\n\"use strict\";\nconst modules = {};\n")
	if err := j.add(reportEntry); err != nil {
		return Report{}, fmt.Errorf("join report: %w", err)
	}
	j.out.WriteString("})();\n")
	var style strings.Builder
	for _, name := range []string{"vendor/uPlot.min.css", "app.css"} {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return Report{}, fmt.Errorf("join report: %w", err)
		}
		style.Write(text)
		style.WriteByte('\n')
	}
	// "<\/script" and "<\!--" mean the same within strings and patterns, and end
	// nothing.
	script := closesScript.ReplaceAllString(string(plot)+"\n"+j.out.String(), `<\$1`)
	return Report{script: script, style: style.String()}, nil
}

// add writes a module after those that it imports.
func (j *joiner) add(name string) error {
	switch j.state[name] {
	case "done":
		return nil
	case "open":
		return fmt.Errorf("module %s imports itself in a circle", name)
	}
	j.state[name] = "open"
	text, err := fs.ReadFile(j.root, name)
	if err != nil {
		return err
	}
	source := string(text)
	for _, m := range importForm.FindAllStringSubmatch(source, -1) {
		if err := j.add(resolve(name, m[3])); err != nil {
			return err
		}
	}
	body, err := asFunction(name, source)
	if err != nil {
		return err
	}
	fmt.Fprintf(&j.out, "modules[%q] = (() => {\n%s\n})();\n", name, body)
	j.state[name] = "done"
	return nil
}

func resolve(from, address string) string { return path.Join(path.Dir(from), address) }

// asFunction turns a module into the body of a function that returns its
// exports.
func asFunction(name, source string) (string, error) {
	var exports []string
	body := importForm.ReplaceAllStringFunc(source, func(line string) string {
		m := importForm.FindStringSubmatch(line)
		names := m[2]
		if names == "" {
			names = "{" + strings.ReplaceAll(m[1], " as ", ": ") + "}"
		}
		return fmt.Sprintf("const %s = modules[%q];", names, resolve(name, m[3]))
	})
	body = exportForm.ReplaceAllStringFunc(body, func(head string) string {
		m := exportForm.FindStringSubmatch(head)
		exports = append(exports, m[2])
		return m[1] + " " + m[2]
	})
	body = exportList.ReplaceAllStringFunc(body, func(list string) string {
		exports = append(exports, exported(exportList.FindStringSubmatch(list)[1])...)
		return ""
	})
	if at := leftOver.FindString(body); at != "" {
		return "", fmt.Errorf("module %s has a line that begins with %q in a form that cannot be joined", name, strings.TrimSpace(at))
	}
	slices.Sort(exports)
	return body + "\nreturn { " + strings.Join(exports, ", ") + " };", nil
}

// exported turns `a as h, html` into the members `h: a` and `html`.
func exported(list string) []string {
	var members []string
	for item := range strings.SplitSeq(list, ",") {
		local, public, isRenamed := strings.Cut(strings.TrimSpace(item), " as ")
		switch {
		case isRenamed:
			members = append(members, public+": "+local)
		case local != "":
			members = append(members, local)
		}
	}
	return members
}
