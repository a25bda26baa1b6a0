package request

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
)

// operationOf says which operation a row has to be read as, where this package
// does not refuse it. Rows that others refuse with 403 are there because they
// need an opt-in, or because the client is refused.
var operationOf = map[string]Operation{
	"E001": ContainerList, "E003": ContainerInspect, "E004": ContainerTop, "E005": ContainerLogs,
	"E008": ContainerStats, "E026": ImageList, "E030": ImageInspect, "E032": ImageHistory,
	"E039": Info, "E040": Version, "E041": Ping, "E042": Ping, "E044": Events, "E045": SystemDF,
	"E053": VolumeList, "E055": VolumeInspect, "E059": NetworkList, "E060": NetworkInspect,
	"E066": PluginList, "E069": PluginInspect, "E077": NodeList, "E078": NodeInspect,
	"E081": SwarmInspect, "E088": ServiceList, "E090": ServiceInspect, "E093": ServiceLogs,
	"E096": TaskLogs,
	"A036": ContainerList, "A063": Version, "A075": Events, "A076": ContainerTop,
	"A078": ContainerList, "A079": ContainerList, "A081": ContainerList,
	"A080": ContainerList, "A082": Events, "A083": ContainerList, "A085": ImageList,
	"A086": Version, "A087": Version, "A088": ContainerInspect, "A089": ContainerInspect,
	"A092": NetworkInspect, "A095": ContainerInspect, "A097": Events, "A098": ContainerList,
	"A099": ContainerInspect, "A102": ContainerList, "A103": ContainerList, "A104": ContainerList,
	"A105": ContainerList, "A107": Events,
}

// answer is what a client without opt-ins gets for a row when everything
// behind this package says yes.
func answer(r *Request, refusal *Refusal) int {
	needsOptIn := r.Operation != "" && r.Spec().OptIn != ""
	switch {
	case refusal != nil && refusal.Early:
		return refusal.Status
	case r.Operation != "" && (needsOptIn || r.NeedsSizes):
		return http.StatusForbidden
	case refusal != nil:
		return refusal.Status
	case r.Spec().Local:
		return http.StatusNotFound
	}
	return http.StatusOK
}

// decidedHere are the answers that this package can come to with the opt-ins
// of the table. Rows with other answers (visibility, the engine, the client)
// pass here, and so do the rows of clientRows.
func decidedHere(v vectors.Vector) string {
	clientRows := map[string]bool{"A102": true, "A103": true, "A104": true, "A105": true}
	isVisibility := v.Verdict == "404" && operationOf[v.ID] != PluginInspect
	if clientRows[v.ID] || isVisibility || v.Verdict == "502" || v.Verdict == "connection" || v.Verdict == "upstream" {
		return "200"
	}
	return v.Verdict
}

func TestVectors(t *testing.T) {
	for _, v := range append(vectors.Endpoints(t), vectors.Attacks(t)...) {
		t.Run(v.ID, func(t *testing.T) {
			end, _, found := headEnd([]byte(v.Head), 0)
			if !found {
				t.Fatalf("no head in %.100q", v.Head)
			}
			r, refusal, _ := Parse([]byte(v.Head[:end]))
			if got := fmt.Sprint(answer(r, refusal)); got != decidedHere(v) {
				t.Errorf("%.100q: %s, want %s (%v)", v.Head, got, decidedHere(v), refusal)
			}
			if r.Operation != operationOf[v.ID] {
				t.Errorf("%.100q: operation %q, want %q", v.Head, r.Operation, operationOf[v.ID])
			}
		})
	}
}

// The tables say that an opt-in is needed with the words of the constants.
func TestVectorsNameTheOptIn(t *testing.T) {
	found := 0
	for _, row := range vectors.Rows(t, "docker-endpoints.tsv") {
		_, name, ok := strings.Cut(row[5], "opt-in `")
		if !ok {
			continue
		}
		found++
		name, _, _ = strings.Cut(name, "`")
		r, refusal, _ := Parse([]byte(vectors.PlainHead(row[1], row[2])))
		if refusal != nil || string(r.Spec().OptIn) != name {
			t.Errorf("%s: opt-in %q, %v; want %q", row[0], r.Spec().OptIn, refusal, name)
		}
	}
	if found < 9 {
		t.Errorf("only %d rows name an opt-in", found)
	}
}
