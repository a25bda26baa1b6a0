package tags

import "strings"

// reserved begin keys that are not an application's to set on what others
// measure of it: the host, the orchestrator and the engine say these, or nobody
// does. linux. and datadog.host. are there because the next agent and Datadog's
// exporter tell by linux.cgroup.path and datadog.host.name whose data they see.
var reserved = []string{
	"host.", "os.", "cloud.", "k8s.", "aws.", "azure.", "gcp.", "faas.",
	"container.", "process.", "peer.", "telemetry.", "linux.", "datadog.host.",
}

// isReserved judges a key that an application carries with it. What the table
// reads of such (service., deployment.) is none of these. Some back ends take
// keys without regard to case.
func isReserved(key string) bool {
	key = strings.TrimSpace(key)
	for _, begin := range reserved {
		if len(key) >= len(begin) && strings.EqualFold(key[:len(begin)], begin) {
			return true
		}
	}
	return false
}
