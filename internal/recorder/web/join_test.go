package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestReport(t *testing.T) {
	view, err := New()
	require.NoError(t, err)
	script, style := view.Report().ReportScript(), view.Report().ReportStyle()
	if found := closesScript.FindString(script); found != "" {
		t.Errorf("the script ends its element: %q", found)
	}
	if strings.Contains(strings.ToLower(style), "</style") || strings.Contains(style, "@import") || strings.Contains(style, "url(") {
		t.Error("the style ends its element or loads something")
	}
	for _, want := range []string{"var uPlot=", `modules["js/plot.mjs"]`, `modules["js/report.mjs"]`, `modules["vendor/preact-htm.mjs"]`} {
		if !strings.Contains(script, want) {
			t.Errorf("the script lacks %s", want)
		}
	}
	// What needs a server has no place in a page without one.
	for _, name := range []string{"js/api.mjs", "js/session.mjs", "js/app.mjs"} {
		if strings.Contains(script, name) {
			t.Errorf("the script has %s", name)
		}
	}
	if loads := regexp.MustCompile(`\bfetch\(|EventSource|\bimport\(`).FindString(script); loads != "" {
		t.Errorf("the script loads something: %s", loads)
	}
	// The target for the whole report.html is 400 KB; data need their share.
	if size := len(script) + len(style); size > 200_000 {
		t.Errorf("script and style have %d bytes", size)
	}
}

// TestReportRuns lets node run the joined script in a bare document, where it
// finds no data and must end without an error.
func TestReportRuns(t *testing.T) {
	testkit.NeedCommand(t, "node")
	view, err := New()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "report.js")
	bare := `globalThis.window = globalThis; globalThis.devicePixelRatio = 1;
Object.defineProperty(globalThis, "navigator", { value: { language: "en" } });
globalThis.matchMedia = () => ({ addEventListener() {} }); globalThis.addEventListener = () => {}; globalThis.dispatchEvent = () => true; globalThis.CustomEvent ??= class {};
let asked = 0;
globalThis.document = { getElementById() { asked++; return null; }, querySelector() { return null; } };
`
	check := "\nif (asked === 0) throw new Error('the last module did not run');\n"
	require.NoError(t, os.WriteFile(file, []byte(bare+view.Report().ReportScript()+check), 0o600))
	if out, err := exec.Command("node", file).CombinedOutput(); err != nil {
		t.Errorf("run report script: %v\n%s", err, out[max(0, len(out)-1000):]) // before that stands the minified line
	}
}

func TestJoin(t *testing.T) {
	check := func(name, want string, modules map[string]string) {
		t.Helper()
		report, err := join(tree(modules))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if !strings.Contains(report.script, want) {
			t.Errorf("%s: no %q in\n%s", name, want, report.script)
		}
	}
	check("names", `const { a, b: c } = modules["js/x.mjs"];`, map[string]string{
		"js/report.mjs": "import { a, b as c } from \"./x.mjs\";\n",
		"js/x.mjs":      "export const a = 1;\nexport function b() {}\n",
	})
	check("all", `const x = modules["js/x.mjs"];`, map[string]string{
		"js/report.mjs": "import * as x from \"./x.mjs\";\n",
		"js/x.mjs":      "export class A {}\n",
	})
	check("list at the end of a line", `return { h: a, html };`, map[string]string{
		"js/report.mjs": "import { h } from \"../vendor/v.mjs\";\n",
		"vendor/v.mjs":  "var a=1,html=2;export{a as h,html};",
	})
	check("end of the element", `"<\/script><\!--"`, map[string]string{
		"js/report.mjs": "const x = \"</script><!--\";\n",
	})
}

func TestJoinRefuses(t *testing.T) {
	check := func(name, want string, modules map[string]string) {
		t.Helper()
		if _, err := join(tree(modules)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	check("circle", "circle", map[string]string{
		"js/report.mjs": "import { a } from \"./x.mjs\";\nexport const b = 1;\n",
		"js/x.mjs":      "import { b } from \"./report.mjs\";\nexport const a = 1;\n",
	})
	check("missing", "x.mjs", map[string]string{"js/report.mjs": "import { a } from \"./x.mjs\";\n"})
	check("default", "cannot be joined", map[string]string{"js/report.mjs": "export default 1;\n"})
	check("let", "cannot be joined", map[string]string{"js/report.mjs": "export let a = 1;\n"})
	check("bare", "cannot be joined", map[string]string{"js/report.mjs": "import \"./x.mjs\";\n"})
}

// tree adds the files that every report has.
func tree(modules map[string]string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, text := range modules {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	for _, name := range []string{plotScript, "vendor/uPlot.min.css", "app.css"} {
		files[name] = &fstest.MapFile{}
	}
	return files
}
